package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/internal/printer"
	"github.com/vzreconciler/vzreconciler/internal/treetar"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

// copyOptions are the flags of cp.
type copyOptions struct {
	container string
	archive   bool
	follow    bool
	parents   bool
	keepLinks bool
	quiet     bool
}

func (a *app) cpCmd() *cobra.Command {
	var (
		sel selection
		o   copyOptions
	)
	cmd := &cobra.Command{
		Use:   "cp SRC DST",
		Short: "Copy files and directories into a sandbox or out of it",
		Long: `Copy a file or a directory between this host and a container of a sandbox. The
one in a sandbox is given as NAME:PATH or NAMESPACE/NAME:PATH, the other as a path
or as -, which is a tar archive on standard input or output.

What is copied goes into DST if that is a directory; else it becomes DST, and the
directory above must be there. SRC/. means what is in a directory, without it.
Files have their name only once they are whole; those that are there are replaced.
The sandbox must be up; its containers need not run, and volumes are reached too.

Files belong to root in the sandbox, to you here, unless --archive is given. What
comes from a sandbox is not trusted: links in it that lead out of DST are left out
unless --keep-links is given, and so are devices and pipes.`,
		Example: `  vzctl cp ./site web:/srv
  vzctl cp web:/var/log/app.log .
  vzctl cp prod/web:/etc/nginx/. ./nginx -c proxy
  tar c . | vzctl cp - web:/srv
  vzctl cp web:/data - > data.tar`,
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: a.completePlace,
		RunE: func(cmd *cobra.Command, args []string) error {
			src, err := parsePlace(args[0], sel.namespace)
			if err != nil {
				return err
			}
			dst, err := parsePlace(args[1], sel.namespace)
			if err != nil {
				return err
			}
			switch {
			case src.ref == nil && dst.ref == nil:
				return usagef("one of the two must be in a sandbox: NAME:PATH")
			case src.ref != nil && dst.ref != nil:
				return usagef("one of the two must be on this host; from one sandbox to another use: vzctl cp %s - | vzctl cp - %s", args[0], args[1])
			}
			var from source
			if src.ref == nil && src.path != "-" {
				if from, err = openSource(src.path, o.follow); err != nil {
					return err
				}
				defer from.root.Close()
			}
			client, err := a.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			if src.ref == nil {
				return a.copyIn(cmd.Context(), client, from, dst, o)
			}
			return a.copyOut(cmd.Context(), client, src, dst.path, o)
		},
	}
	sel.addNamespace(cmd)
	f := cmd.Flags()
	f.StringVarP(&o.container, "container", "c", "", "container to copy from or to (default the annotated one, else the first)")
	f.BoolVarP(&o.archive, "archive", "a", false, "keep owners by number, and set-user-ID bits")
	f.BoolVarP(&o.follow, "follow-link", "L", false, "copy what SRC leads to if it is a symbolic link")
	f.BoolVarP(&o.parents, "parents", "p", false, "make the directories above DST that are missing")
	f.BoolVar(&o.keepLinks, "keep-links", false, "keep symbolic links from a sandbox that lead out of DST")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "show no progress")
	return cmd
}

// completePlace completes the name of a sandbox, with the colon that follows it;
// what begins like a path is left to the shell.
func (a *app) completePlace(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 1 || strings.HasPrefix(word, ".") || strings.HasPrefix(word, "/") {
		return nil, cobra.ShellCompDirectiveDefault
	}
	names := a.names(cmd, "sandbox")
	for i := range names {
		names[i] += ":"
	}
	return names, cobra.ShellCompDirectiveNoSpace
}

// place is one side of a copy.
type place struct {
	ref  *api.Ref // nil: this host
	path string
}

// parsePlace reads NAME:PATH, NAMESPACE/NAME:PATH or a path of this host. A path
// that has a colon in it must begin with "/" or ".".
func parsePlace(arg, namespace string) (place, error) {
	name, p, ok := strings.Cut(arg, ":")
	if !ok || arg == "-" || filepath.IsAbs(arg) || strings.HasPrefix(arg, ".") || strings.Count(name, "/") > 1 {
		if arg == "" {
			return place{}, usagef("a path is empty")
		}
		return place{path: arg}, nil
	}
	if space, rest, ok := strings.Cut(name, "/"); ok {
		if _, isKind := findKind(space); !isKind {
			namespace, name = space, rest
		}
	}
	if name == "" || namespace == "" {
		return place{}, usagef("%q names no sandbox", arg)
	}
	ref, err := parseSandbox(name, namespace)
	if err != nil {
		return place{}, err
	}
	if p == "" {
		return place{}, usagef("say which file of the sandbox: %s:PATH", name)
	}
	if !path.IsAbs(p) {
		p = "/" + p
	}
	return place{ref: ref, path: p}, nil
}

// source is what is copied from this host: a name in a directory, and what it is
// called in the archive. The zero value is an archive on standard input.
type source struct {
	root     *os.Root
	name, as string
}

// copyIn copies from this host into a sandbox.
func (a *app) copyIn(ctx context.Context, client *api.Client, from source, dst place, o copyOptions) error {
	req := drivers.CopyInRequest{
		Container: o.container, Path: dst.path, KeepOwner: o.archive, Parents: o.parents, Unpack: from.root == nil,
	}
	progress := a.newTransfer(o.quiet)
	defer progress.end()
	if from.root == nil {
		if printer.IsTerminal(a.stdin) {
			return usagef("standard input is a terminal, not an archive")
		}
		return client.CopyIn(ctx, dst.ref, req, progress.reader(a.stdin))
	}
	progress.expect(func() int64 { return treetar.Size(ctx, from.root, from.name) })

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	pr, pw := io.Pipe()
	packed := make(chan struct{})
	go func() {
		defer close(packed)
		w := a.newWarner()
		defer w.end()
		_ = pw.CloseWithError(treetar.Pack(ctx, pw, from.root, from.name, from.as, treetar.PackOptions{Warn: w.warn}))
	}()
	err := client.CopyIn(ctx, dst.ref, req, progress.reader(pr))
	_ = pr.CloseWithError(io.ErrClosedPipe) // nobody reads any more
	<-packed
	return err
}

// openSource finds a file or directory of this host.
func openSource(file string, follow bool) (source, error) {
	as := treetar.SourceName(filepath.ToSlash(file))
	if as == "." || strings.HasSuffix(file, "/") {
		root, err := os.OpenRoot(file)
		return source{root, ".", as}, err
	}
	if follow {
		var err error
		if file, err = filepath.EvalSymlinks(file); err != nil {
			return source{}, err
		}
	}
	file = filepath.Clean(file)
	if _, err := os.Lstat(file); err != nil {
		return source{}, err
	}
	root, err := os.OpenRoot(filepath.Dir(file))
	return source{root, filepath.Base(file), as}, err
}

// copyOut copies from a sandbox to this host.
func (a *app) copyOut(ctx context.Context, client *api.Client, src place, dest string, o copyOptions) error {
	req := drivers.CopyOutRequest{Container: o.container, Path: src.path, FollowLink: o.follow}
	progress := a.newTransfer(o.quiet)
	defer progress.end()
	if dest == "-" {
		if printer.IsTerminal(a.stdout) {
			return usagef("standard output is a terminal, which an archive would garble: redirect it")
		}
		return client.CopyOut(ctx, src.ref, req, progress.writer(a.stdout))
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	pr, pw := io.Pipe()
	received := make(chan struct{})
	go func() {
		defer close(received)
		_ = pw.CloseWithError(client.CopyOut(ctx, src.ref, req, progress.writer(pw)))
	}()
	err := a.unpack(ctx, pr, dest, o)
	if err == nil {
		// The end of the archive is not the end of what may go wrong.
		_, err = io.Copy(io.Discard, pr)
	}
	cancel()
	_ = pr.CloseWithError(io.ErrClosedPipe)
	<-received
	return err
}

// unpack unpacks an archive from a sandbox, which may hold anything.
func (a *app) unpack(ctx context.Context, r io.Reader, dest string, o copyOptions) error {
	archive, err := treetar.Open(r)
	if err != nil {
		return err
	}
	if archive.Empty() {
		return errors.New("the sandbox sent an empty archive")
	}
	w := a.newWarner()
	defer w.end()
	opts := treetar.UnpackOptions{KeepOwner: o.archive, SafeLinks: !o.keepLinks, Warn: w.warn}
	if o.archive && os.Geteuid() != 0 {
		opts.KeepOwner = false
		w.warn("owners are not kept: only root can give files away")
	}
	d := treetar.Destination{Path: filepath.ToSlash(dest)}
	if info, err := os.Stat(dest); err == nil {
		d.Exists, d.IsDir = true, info.IsDir()
	}
	where, err := treetar.Place(d, archive.IsDir())
	if err != nil {
		return err
	}
	into := dest
	if !where.Inside {
		into, opts.As = filepath.Dir(filepath.Clean(dest)), where.Base
	}
	if o.parents {
		if err := os.MkdirAll(into, 0o777); err != nil { //nolint:gosec // as mkdir does: the umask decides
			return err
		}
	}
	root, err := os.OpenRoot(into)
	if err != nil {
		return err
	}
	defer root.Close()
	return archive.Unpack(ctx, root, opts)
}

// warner tells of what was left out, but not of all of it when it is much.
type warner struct {
	app *app
	n   int
}

const maxWarnings = 20

func (a *app) newWarner() *warner { return &warner{app: a} }

func (w *warner) warn(text string) {
	if w.n++; w.n <= maxWarnings {
		fmt.Fprintf(w.app.stderr, "vzctl: warning: %s\n", printer.Sanitize(text))
	}
}

func (w *warner) end() {
	if w.n > maxWarnings {
		fmt.Fprintf(w.app.stderr, "vzctl: warning: %d more\n", w.n-maxWarnings)
	}
}
