package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vzreconciler/vzreconciler/internal/printer"
	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
	"github.com/vzreconciler/vzreconciler/reconciler/diff"
	"github.com/vzreconciler/vzreconciler/reconciler/source/git"
)

// exitTrouble is diff's own: its 1 says that there are differences.
const exitTrouble = 2

func (a *app) diffCmd() *cobra.Command {
	var (
		paths   []string
		prune   bool
		offline bool
		rev     string
		out     output
		sops    sopsKeys
	)
	cmd := &cobra.Command{
		Use:   "diff -f FILE… | --offline OLD NEW | --git REV[..REV] [DIR]",
		Short: "Show what manifests would change, and what that costs",
		Long: `Show field by field what manifests would change, and what each change costs: live,
or recreate (the VM is made anew, with a new writable disk).

With -f, manifests are held against what the daemon has applied, as if they were
in its folder; --prune also shows what they lack, as if they were all of it. With
--offline, files or folders are held against others, and with --git a folder's
work tree against a commit, or a commit against another: neither needs a daemon.
No value of a Secret is shown.

Exit codes: 0 no difference, 1 there are some, more than 1 trouble: 2 a manifest
with an error or a wrong command line, 3 not found, 4 daemon unreachable.`,
		Example: `  vzctl diff -f web.yaml
  vzctl diff -f manifests/ --prune
  vzctl diff --git HEAD~1 manifests/
  vzctl diff --git origin/main..HEAD manifests/ -o github
  vzctl diff --offline old/ new/ -o json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			err := func() error {
				github := out.value == "github"
				format, err := out.format()
				if err != nil {
					return err
				}
				keys, err := sops.keys()
				if err != nil {
					return err
				}
				d := differences{app: a, github: github, keys: keys}
				switch {
				case rev != "" && (offline || len(paths) > 0 || prune), offline && (len(paths) > 0 || prune):
					return usagef("use one of -f, --offline and --git; --prune is for -f")
				case rev != "":
					err = d.ofCommits(rev, args)
				case offline:
					err = d.ofFolders(args)
				default:
					err = d.withDaemon(cmd.Context(), append(paths, args...), prune)
				}
				if err != nil {
					return err
				}
				return d.show(format)
			}()
			if code := exitCode(cmd.Context(), err); code == exitFailed && !errors.Is(err, exitError(exitFailed)) {
				return &codeError{err, exitTrouble}
			}
			return err
		},
	}
	addFilenames(cmd, &paths, "file or directory of manifests, or - for standard input; may be repeated")
	cmd.Flags().BoolVar(&prune, "prune", false, "what is not in the manifests would be removed")
	cmd.Flags().BoolVar(&offline, "offline", false, "compare two files or directories, without a daemon")
	cmd.Flags().StringVar(&rev, "git", "", "compare the work tree with this revision, or two revisions: A..B")
	a.addOutput(cmd, &out, "text", "github")
	sops.addTo(cmd)
	return cmd
}

// differences are what is shown.
type differences struct {
	*app
	github  bool
	keys    manifests.Keys
	objects []diff.Object
}

// withDaemon compares files with what the daemon has applied.
func (d *differences) withDaemon(ctx context.Context, paths []string, prune bool) error {
	if len(paths) == 0 {
		return usagef("say what to compare: -f FILE, -f DIR or -f -")
	}
	files, err := d.readManifests(paths)
	if err != nil {
		return err
	}
	if _, err := d.parse(files); err != nil {
		return err
	}
	client, err := d.dial(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	shown := map[string]string{} // a file's path here by its name there
	sent := make([]api.File, len(files))
	for i, f := range files {
		name := f.name
		if name == "" {
			name = "stdin.yaml"
		}
		if _, taken := shown[name]; taken {
			name = fmt.Sprintf("%d-%s", i, name)
		}
		shown[name] = f.path
		sent[i] = api.File{Name: name, Data: f.data}
	}
	raws, err := client.Diff(ctx, sent, prune)
	if err != nil {
		return err
	}
	d.objects = make([]diff.Object, len(raws))
	for i, raw := range raws {
		o := &d.objects[i]
		if err := json.Unmarshal(raw, o); err != nil {
			return fmt.Errorf("read the daemon's answer: %w", err)
		}
		if path, ok := shown[o.Position.File]; ok && o.Action != diff.Delete {
			o.Position.File = path
		}
	}
	return nil
}

// ofFolders compares two files or directories.
func (d *differences) ofFolders(args []string) error {
	if len(args) != 2 {
		return usagef("--offline takes two files or directories: OLD NEW")
	}
	var sides [2][]manifestFile
	for i, path := range args {
		var err error
		if sides[i], err = d.readSide(path); err != nil {
			return err
		}
	}
	return d.between(sides[0], sides[1])
}

// ofCommits compares a folder at a revision with the same folder at another, or
// as it is.
func (d *differences) ofCommits(rev string, args []string) error {
	dir := "."
	switch len(args) {
	case 0:
	case 1:
		dir = args[0]
	default:
		return usagef("--git takes one directory")
	}
	if strings.Contains(rev, "...") {
		return usagef("--git=%s: want REV or REV..REV", rev)
	}
	oldRev, newRev, two := strings.Cut(rev, "..")
	if oldRev == "" || two && newRev == "" {
		return usagef("--git=%s: want REV or REV..REV", rev)
	}
	folder, err := git.OpenFolder(dir)
	if err != nil {
		return err
	}
	from, err := d.commitFiles(folder, dir, oldRev)
	if err != nil {
		return err
	}
	if two {
		to, err := d.commitFiles(folder, dir, newRev)
		if err != nil {
			return err
		}
		return d.between(from, to)
	}
	to, err := d.readSide(dir)
	if err != nil {
		return err
	}
	return d.between(from, to)
}

func (d *differences) commitFiles(folder *git.Folder, dir, rev string) ([]manifestFile, error) {
	found, commit, err := folder.Files(rev, manifests.IsManifestFile)
	if err != nil {
		return nil, err
	}
	d.logf("%s is commit %s", rev, commit.Hash)
	files := make([]manifestFile, len(found))
	for i, f := range found {
		files[i] = manifestFile{path: filepath.Join(dir, filepath.FromSlash(f.Path)), name: filepath.FromSlash(f.Path), data: f.Data}
	}
	return files, nil
}

// readSide reads one of the two sides. A directory may be empty: that is a
// difference.
func (d *differences) readSide(path string) ([]manifestFile, error) {
	files, err := d.readManifests([]string{path})
	if errors.Is(err, errNoManifests) {
		return nil, nil
	}
	return files, err
}

// between compares two sets of files. Errors in the old one are nothing that the
// new one could mend by not being compared: they are warned of.
func (d *differences) between(old, latest []manifestFile) error {
	from, errs := parseSide(old, d.keys)
	for _, err := range errs {
		fmt.Fprintf(d.stderr, "Warning: before: %s: taken as not there\n", printer.Sanitize(err.Error()))
	}
	to, err := d.parse(latest)
	if err != nil {
		return err
	}
	d.objects = diff.Between(from, to)
	return nil
}

// parse reads the manifests that are to be, of which all must be good.
func (d *differences) parse(files []manifestFile) ([]manifests.Object, error) {
	objects, errs := parseSide(files, d.keys)
	if len(errs) == 0 {
		return objects, nil
	}
	all := make([]error, len(errs))
	for i, err := range errs {
		all[i] = err
		if d.github {
			if perr := d.annotate(annotationError, err.Position, "", withoutPosition(err)); perr != nil {
				return nil, perr
			}
		}
	}
	return nil, errors.Join(all...)
}

// parseSide reads files by their names in their folder, so that what is relative
// to a manifest is the same on both sides, and errors by their whole paths.
func parseSide(files []manifestFile, keys manifests.Keys) (objects []manifests.Object, errs []*manifests.Error) {
	first := map[manifests.Key]manifests.Position{}
	for _, f := range files {
		name := f.name
		if name == "" {
			name = f.path
		}
		found, bad := manifests.ParseWithKeys(name, f.data, keys)
		for _, err := range bad {
			err.File = f.path
			errs = append(errs, err)
		}
		for _, o := range found {
			o.Position.File = f.path
			if at, twice := first[o.Key]; twice {
				errs = append(errs, &manifests.Error{Position: o.Position, Key: &o.Key, Message: "is already in " + at.String()})
				continue
			}
			first[o.Key] = o.Position
			objects = append(objects, o)
		}
	}
	return objects, errs
}
