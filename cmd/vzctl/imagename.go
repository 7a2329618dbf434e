package main

import (
	"encoding/json"
	"errors"
	"io"

	"github.com/spf13/cobra"

	"github.com/vzreconciler/vzreconciler/internal/printer"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

func (a *app) imageTagCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "tag REFERENCE NAME",
		Short: "Give an image one more name",
		Example: `  vzctl image tag docker-archive:app.tar registry.example.org/team/app:v1
  vzctl image push registry.example.org/team/app:v1`,
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: a.completeImages,
		RunE: func(cmd *cobra.Command, args []string) error {
			reference, err := absoluteReference(args[0])
			if err != nil {
				return err
			}
			client, err := a.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			_, err = client.TagImage(cmd.Context(), &api.TagImageRequest{Reference: reference, Name: args[1]})
			return err
		},
	}
}

func (a *app) imagePushCmd() *cobra.Command {
	var (
		req   api.PushImageRequest
		quiet bool
	)
	cmd := &cobra.Command{
		Use:   "push NAME",
		Short: "Send an image to its registry",
		Long: `Send an image to the registry that its name begins with; vzctl image tag gives it
such a name. The credentials are those of the user that runs the daemon: vzctl
registry login.`,
		Example:           `  vzctl image push registry.example.org/team/app:v1`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeImages,
		RunE: func(cmd *cobra.Command, args []string) error {
			req.Reference = args[0]
			client, err := a.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			stream, err := client.PushImage(cmd.Context(), &req)
			if err != nil {
				return err
			}
			progress := a.newTransfer(quiet)
			digest, err := receivePush(stream.Recv, progress)
			progress.end()
			if err != nil {
				return err
			}
			return a.printf("%s %s\n", args[0], digest)
		},
	}
	f := cmd.Flags()
	f.StringVar(&req.Platform, "platform", "", "platform of the image, as linux/arm64 (default the host's)")
	f.BoolVarP(&quiet, "quiet", "q", false, "show no progress")
	return cmd
}

func receivePush(recv func() (*api.PushImageResponse, error), progress *transfer) (digest string, err error) {
	var sent int64
	for {
		p, err := recv()
		switch {
		case errors.Is(err, io.EOF) && digest == "":
			return "", errors.New("the push ended without a digest")
		case errors.Is(err, io.EOF):
			return digest, nil
		case err != nil:
			return "", err
		}
		progress.expect(p.GetTotalBytes)
		progress.add(int(p.GetCompleteBytes() - sent))
		sent = p.GetCompleteBytes()
		digest = p.GetDigest()
	}
}

// imageDetails is what image inspect prints.
type imageDetails struct {
	Reference     string          `json:"reference"`
	Digest        string          `json:"digest"`
	Platform      string          `json:"platform"`
	SizeBytes     int64           `json:"sizeBytes"`
	UnpackedBytes int64           `json:"unpackedBytes"`
	PulledAt      string          `json:"pulledAt,omitempty"`
	UsedBy        []string        `json:"usedBy,omitempty"`
	Manifest      json.RawMessage `json:"manifest"`
	Config        json.RawMessage `json:"config"`
}

func (a *app) imageInspectCmd() *cobra.Command {
	var (
		out      output
		platform string
	)
	cmd := &cobra.Command{
		Use:   "inspect REFERENCE…",
		Short: "Show an image's manifest and config",
		Example: `  vzctl image inspect docker.io/library/nginx:alpine
  vzctl image inspect nginx -o jsonpath='{.config.config.Entrypoint}'`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completeImages,
		RunE: func(cmd *cobra.Command, args []string) error {
			format, err := out.format()
			if err != nil {
				return err
			}
			client, err := a.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			var all []imageDetails
			for _, arg := range args {
				reference, err := absoluteReference(arg)
				if err != nil {
					return err
				}
				resp, err := client.InspectImage(cmd.Context(), &api.InspectImageRequest{Reference: reference, Platform: platform})
				if err != nil {
					return err
				}
				all = append(all, detailsOf(resp))
			}
			if len(all) == 1 {
				return a.printThing(format, all[0])
			}
			return printList(a, format, all)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&out.value, "output", "o", "json", "json, yaml or jsonpath=TEMPLATE")
	f.StringVar(&platform, "platform", "", "platform of the image, as linux/arm64 (default the host's)")
	a.completeFlag(cmd, "output", "json", "yaml", "jsonpath=")
	return cmd
}

func detailsOf(resp *api.InspectImageResponse) imageDetails {
	image := resp.GetImage()
	d := imageDetails{
		Reference: image.GetReference(), Digest: image.GetDigest(), Platform: image.GetPlatform(),
		SizeBytes: image.GetSizeBytes(), UnpackedBytes: image.GetUnpackedBytes(), UsedBy: image.GetUsedBy(),
		Manifest: resp.GetManifest(), Config: resp.GetConfig(),
	}
	if t := image.GetPulledAt(); t != nil {
		d.PulledAt = t.AsTime().Format("2006-01-02T15:04:05Z07:00")
	}
	return d
}

// completeImages completes the names of images.
func (a *app) completeImages(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	client, err := a.dial(cmd.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer client.Close()
	resp, err := client.ListImages(cmd.Context(), &api.ListImagesRequest{})
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, image := range resp.GetImages() {
		names = append(names, printer.Sanitize(image.GetReference()))
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
