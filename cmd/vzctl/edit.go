package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/internal/printer"
	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

func (a *app) editCmd() *cobra.Command {
	var sel selection
	cmd := &cobra.Command{
		Use:   "edit NAME | KIND NAME | KIND/NAME",
		Short: "Edit an object's manifest where it is",
		Long: `Open an object's document, as it stands in its file in the daemon's folder, in
$VISUAL, $EDITOR or vi. What is saved is checked; if it has errors, the editor opens
again with them at the top. The rest of the file, its comments and its mode stay.
Nothing is written if nothing changed, or if the file was changed meanwhile by
somebody else: the edited text is then kept.

An object that comes from elsewhere, such as a Git repository, is edited there.`,
		Example: `  vzctl edit web
  vzctl edit configmap settings
  EDITOR="code --wait" vzctl edit sandbox/web`,
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: a.completeObjects,
		RunE: func(cmd *cobra.Command, args []string) error {
			ref, err := parseRef(strings.Join(args, "/"), sel.namespace)
			if err != nil {
				return err
			}
			client, err := a.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			doc, err := client.ReadDocument(cmd.Context(), &api.ReadDocumentRequest{Object: ref})
			if err != nil {
				return err
			}
			e := editing{app: a, ref: ref, doc: doc}
			defer e.close()
			return e.run(cmd.Context(), client)
		},
	}
	sel.addNamespace(cmd)
	return cmd
}

// editing is one document in an editor.
type editing struct {
	*app
	ref *api.Ref
	doc *api.ReadDocumentResponse
	// dir holds the file that the editor opens; kept says that it stays.
	dir  string
	kept bool
}

// notePrefix begins the lines that vzctl puts at the top and takes off again.
const notePrefix = "#: "

func (e *editing) run(ctx context.Context, client *api.Client) error {
	var (
		text   = e.doc.GetData()
		faults []string
	)
	for {
		edited, err := e.edit(ctx, text, faults)
		if err != nil {
			return err
		}
		switch {
		case len(bytes.TrimSpace(edited)) == 0:
			return e.printf("Edit cancelled: the file is empty.\n")
		case bytes.Equal(edited, e.doc.GetData()):
			return e.printf("Edit cancelled: nothing changed.\n")
		case len(faults) > 0 && bytes.Equal(edited, text):
			return e.keep(edited, errors.New("edit cancelled: the errors are still there"))
		}
		text = edited
		if faults = e.check(edited); len(faults) > 0 {
			continue
		}
		resp, err := client.ReplaceDocument(ctx, &api.ReplaceDocumentRequest{Object: e.ref, Data: edited, Version: e.doc.GetVersion()})
		switch {
		case errors.Is(err, drivers.ErrInvalidArgument):
			faults = strings.Split(err.Error(), "\n")
			continue
		case err != nil:
			return e.keep(edited, err)
		}
		for _, w := range resp.GetWarnings() {
			fmt.Fprintf(e.stderr, "Warning: %s: %s\n", refName(e.ref), printer.Sanitize(w))
		}
		return e.printf("%s edited\n", refName(e.ref))
	}
}

// check returns what is wrong with an edited document. Lines are those that the
// editor will show.
func (e *editing) check(edited []byte) []string {
	objects, errs := manifests.Parse(e.doc.GetFile(), edited)
	if len(errs) == 0 {
		key := manifests.Key{Kind: e.ref.GetKind(), Namespace: cmp.Or(e.ref.GetNamespace(), manifests.DefaultNamespace), Name: e.ref.GetName()}
		switch {
		case len(objects) != 1:
			return []string{"it must be one object: others go to a file of their own, or to vzctl apply"}
		case objects[0].Key != key:
			return []string{fmt.Sprintf("it was %s and is now %s: an edit cannot change what names the object", key, objects[0].Key)}
		}
		return nil
	}
	faults := make([]string, len(errs))
	notes := len(e.notes(make([]string, len(errs))))
	for i, err := range errs {
		faults[i] = fmt.Sprintf("line %d: %s", err.Line+notes, withoutPosition(err))
	}
	return faults
}

// notes are the lines at the top.
func (e *editing) notes(faults []string) []string {
	notes := []string{
		refName(e.ref) + " in " + e.doc.GetFile(),
		"Lines that begin as this one are removed. An empty file cancels the edit.",
	}
	if len(faults) > 0 {
		notes = append(notes, "", "What was saved has errors:")
		notes = append(notes, faults...)
	}
	return notes
}

// edit has a text edited, with notes at its top.
func (e *editing) edit(ctx context.Context, text []byte, faults []string) ([]byte, error) {
	var b bytes.Buffer
	for _, note := range e.notes(faults) {
		fmt.Fprintf(&b, "%s\n", strings.TrimRight(notePrefix+printer.Sanitize(note), " "))
	}
	b.Write(text)
	if e.dir == "" {
		dir, err := os.MkdirTemp("", "vzctl-edit-")
		if err != nil {
			return nil, err
		}
		e.dir = dir
	}
	path := e.path()
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		return nil, err
	}
	editor := cmp.Or(e.getenv("VISUAL"), e.getenv("EDITOR"), "vi")
	// The shell knows the words of "code --wait". An interrupt is the editor's.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), "sh", "-c", editor+` "$@"`, editor, path) //nolint:gosec // the user's own choice
	cmd.Stdin, cmd.Stdout, cmd.Stderr = e.stdin, e.stdout, e.stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("editor %q: %w: set $VISUAL or $EDITOR to another", editor, err)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	edited, err := readBounded(f)
	if err != nil {
		return nil, err
	}
	for bytes.HasPrefix(edited, []byte(strings.TrimRight(notePrefix, " "))) {
		_, edited, _ = bytes.Cut(edited, []byte("\n"))
	}
	return edited, nil
}

// path is the file that the editor opens: with the name of the real one it
// knows the language.
func (e *editing) path() string { return filepath.Join(e.dir, filepath.Base(e.doc.GetFile())) }

// keep says where the edited text is that could not be written.
func (e *editing) keep(edited []byte, why error) error {
	if err := os.WriteFile(e.path(), edited, 0o600); err != nil {
		return errors.Join(why, err)
	}
	e.kept = true
	return fmt.Errorf("%w; what you edited is in %s", why, e.path())
}

func (e *editing) close() {
	if e.dir != "" && !e.kept {
		_ = os.RemoveAll(e.dir)
	}
}
