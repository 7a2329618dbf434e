package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vzreconciler/vzreconciler/internal/printer"
	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

func (a *app) applyCmd() *cobra.Command {
	var (
		paths  []string
		dryRun bool
	)
	cmd := &cobra.Command{
		Use:   "apply -f FILE",
		Short: "Write manifests into the daemon's folder",
		Long: `Check manifests and write them into the folder that the daemon watches, which
then makes them true. In a file of the same name, documents of the same objects
are replaced and others stay; an object that another file there holds is refused.`,
		Example: `  vzctl apply -f web.yaml
  vzctl apply -f manifests/ --dry-run
  cat web.yaml | vzctl apply -f -`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if len(paths) == 0 {
				return usagef("say what to apply: -f FILE, -f DIR or -f -")
			}
			files, err := a.readManifests(paths)
			if err != nil {
				return err
			}
			// All are checked before the first is written.
			for i, f := range files {
				objects, err := parseManifests(files[i : i+1])
				if err != nil {
					return err
				}
				if len(objects) == 0 {
					return fmt.Errorf("%s holds no object", f.path)
				}
				files[i].name = fileName(f, objects[0])
			}
			client, err := a.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			return a.apply(cmd.Context(), client, files, dryRun)
		},
	}
	addFilenames(cmd, &paths, "file or directory of manifests, or - for standard input; may be repeated")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only say what would be done")
	return cmd
}

func (a *app) apply(ctx context.Context, client *api.Client, files []manifestFile, dryRun bool) error {
	suffix := ""
	if dryRun {
		suffix = " (dry run)"
	}
	var failed error
	for _, f := range files {
		resp, err := client.Apply(ctx, &api.ApplyRequest{FileName: f.name, Data: f.data, DryRun: dryRun})
		if err != nil {
			if errors.Is(err, api.ErrUnreachable) {
				return errors.Join(failed, err)
			}
			failed = errors.Join(failed, err)
			continue
		}
		for _, r := range resp.GetResults() {
			for _, w := range r.GetWarnings() {
				fmt.Fprintf(a.stderr, "Warning: %s: %s\n", refName(r.GetObject()), printer.Sanitize(w))
			}
			if err := a.printf("%s %s%s\n", refName(r.GetObject()), r.GetResult(), suffix); err != nil {
				return err
			}
		}
	}
	return failed
}

// fileName returns the name that a file has in the daemon's folder: its own,
// with the directories it was found in, or that of the first object in it.
func fileName(f manifestFile, first manifests.Object) string {
	if f.name == "" {
		name := first.Key.Name
		if first.Key.Namespace != manifests.DefaultNamespace {
			name = first.Key.Namespace + "-" + name
		}
		return strings.ToLower(first.Kind) + "-" + name + ".yaml"
	}
	name := strings.ReplaceAll(filepath.ToSlash(f.name), "/", "-")
	if !manifests.IsManifestFile(name) {
		name = strings.TrimLeft(name, ".#~") + ".yaml"
	}
	return name
}
