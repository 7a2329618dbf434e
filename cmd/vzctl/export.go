package main

import (
	"context"
	"io"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"

	"github.com/vzreconciler/vzreconciler/internal/printer"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

func (a *app) exportCmd() *cobra.Command {
	var (
		sel    selection
		req    api.ExportRequest
		output string
		quiet  bool
	)
	cmd := &cobra.Command{
		Use:   "export NAME",
		Short: "Write a container's root file system as a tar archive",
		Long: `Write the whole root file system of a container, image and changes, as a tar
archive. It is that of one moment: the sandbox's disk is copied, and a VM of its
own, in which nothing is started, reads the copy. While the disk is copied what
writes to it stands still; where the host's file system can share blocks (btrfs,
xfs) that is a moment. A sandbox that is stopped can be exported too.

Volumes are not part of it, nor is what lies in memory (/tmp may).`,
		Example: `  vzctl export web -o web.tar
  vzctl export web -c proxy > proxy.tar`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeSandbox,
		RunE: func(cmd *cobra.Command, args []string) error {
			ref, err := parseSandbox(args[0], sel.namespace)
			if err != nil {
				return err
			}
			req.Object = ref
			if output == "-" && printer.IsTerminal(a.stdout) {
				return usagef("standard output is a terminal, which an archive would garble: redirect it, or use --output")
			}
			client, err := a.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			return a.export(cmd.Context(), client, &req, output, quiet)
		},
	}
	sel.addNamespace(cmd)
	f := cmd.Flags()
	f.StringVarP(&output, "output", "o", "-", "file to write; - is standard output")
	f.StringVarP(&req.Container, "container", "c", "", "container to export (default the annotated one, else the first)")
	f.BoolVarP(&quiet, "quiet", "q", false, "show no progress")
	return cmd
}

func (a *app) export(ctx context.Context, client *api.Client, req *api.ExportRequest, output string, quiet bool) error {
	progress := a.newTransfer(quiet)
	defer progress.end()
	if output == "-" {
		return client.Export(ctx, req, progress.writer(a.stdout))
	}
	return writeWhole(output, func(w io.Writer) error {
		return client.Export(ctx, req, progress.writer(w))
	})
}

// writeWhole makes a file that has its name only when it is whole. What is no
// file (/dev/null, a pipe) is written to as it is.
func writeWhole(path string, write func(io.Writer) error) error {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := write(f); err != nil {
			return err
		}
		return f.Close()
	}
	f, err := renameio.NewPendingFile(path, renameio.WithTempDir(filepath.Dir(path)),
		renameio.WithPermissions(0o666), renameio.WithExistingPermissions())
	if err != nil {
		return err
	}
	defer func() { _ = f.Cleanup() }()
	if err := write(f); err != nil {
		return err
	}
	return f.CloseAtomicallyReplace()
}
