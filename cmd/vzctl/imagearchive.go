package main

import (
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/vzreconciler/vzreconciler/internal/printer"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

func (a *app) imageSaveCmd() *cobra.Command {
	var (
		req    api.SaveImagesRequest
		output string
		quiet  bool
	)
	cmd := &cobra.Command{
		Use:   "save REFERENCE…",
		Short: "Write images as one archive",
		Long: `Write images of this host as one tar archive, with their names. It is an OCI layout
and what docker save writes at once: vzctl image load, docker, podman and skopeo
read it, and a manifest can name it as oci-archive:FILE.`,
		Example: `  vzctl image save docker.io/library/nginx:alpine -o nginx.tar
  vzctl image save app:v1 db:v1 | ssh other vzctl image load`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completeImages,
		RunE: func(cmd *cobra.Command, args []string) error {
			if output == "-" && printer.IsTerminal(a.stdout) {
				return usagef("standard output is a terminal, which an archive would garble: redirect it, or use --output")
			}
			for _, arg := range args {
				reference, err := absoluteReference(arg)
				if err != nil {
					return err
				}
				req.References = append(req.References, reference)
			}
			client, err := a.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			progress := a.newTransfer(quiet)
			defer progress.end()
			save := func(w io.Writer) error { return client.SaveImages(cmd.Context(), &req, progress.writer(w)) }
			if output == "-" {
				return save(a.stdout)
			}
			return writeWhole(output, save)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&output, "output", "o", "-", "file to write; - is standard output")
	f.StringVar(&req.Platform, "platform", "", "platform of the images, as linux/arm64 (default the host's)")
	f.BoolVarP(&quiet, "quiet", "q", false, "show no progress")
	return cmd
}

func (a *app) imageLoadCmd() *cobra.Command {
	var (
		req   api.LoadImagesStart
		input string
		quiet bool
	)
	cmd := &cobra.Command{
		Use:   "load",
		Short: "Bring in the images of an archive",
		Long: `Bring in the images of an archive that vzctl image save, docker save, podman save or
skopeo wrote, under the names that it has for them. One that has no name there needs
--name.

A container whose imagePullPolicy is IfNotPresent or Never then runs without asking
a registry. With a tag of latest, Kubernetes' default is Always.`,
		Example: `  vzctl image load -i app.tar
  docker save app:v1 | vzctl image load`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			archive := a.stdin
			if input == "-" {
				if printer.IsTerminal(a.stdin) {
					return usagef("standard input is a terminal, not an archive: use --input FILE")
				}
			} else {
				f, err := os.Open(input)
				if err != nil {
					return err
				}
				defer f.Close()
				archive = f
			}
			client, err := a.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			progress := a.newTransfer(quiet)
			if f, ok := archive.(*os.File); ok {
				progress.expect(func() int64 { return fileSize(f) })
			}
			loaded, err := client.LoadImages(cmd.Context(), &req, progress.reader(archive))
			progress.end()
			if err != nil {
				return err
			}
			for _, image := range loaded {
				if err := a.printf("%s %s\n", image.GetReference(), image.GetDigest()); err != nil {
					return err
				}
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVarP(&input, "input", "i", "-", "archive to read; - is standard input")
	f.StringVar(&req.Name, "name", "", "what the archive's only image is to be called")
	f.StringVar(&req.Platform, "platform", "", "platform of the images, as linux/arm64 (default the host's)")
	f.BoolVarP(&quiet, "quiet", "q", false, "show no progress")
	return cmd
}

// fileSize returns the size of a regular file; 0 for what is none.
func fileSize(f *os.File) int64 {
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
		return info.Size()
	}
	return 0
}
