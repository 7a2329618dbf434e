package main

import (
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/vzreconciler/vzreconciler/internal/printer"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

func (a *app) imageCmd() *cobra.Command {
	return group("image", "Pull, push, list and remove images", `  vzctl image pull docker.io/library/nginx:alpine
  vzctl image list
  docker save app:v1 | vzctl image load
  vzctl image push registry.example.org/team/app:v1`,
		a.imagePullCmd(), a.imagePushCmd(), a.imageListCmd(), a.imageInspectCmd(), a.imageTagCmd(),
		a.imageSaveCmd(), a.imageLoadCmd(), a.imageRmCmd())
}

func (a *app) imageListCmd() *cobra.Command {
	var out output
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "Show the images on this host",
		Example: `  vzctl image list
  vzctl image list -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			format, err := out.format()
			if err != nil {
				return err
			}
			client, err := a.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			resp, err := client.ListImages(cmd.Context(), &api.ListImagesRequest{})
			if err != nil {
				return err
			}
			if format != nil {
				return printList(a, format, resp.GetImages())
			}
			return a.table().Write(imageRows(time.Now(), resp.GetImages())...)
		},
	}
	a.addOutput(cmd, &out, "table")
	return cmd
}

func imageRows(now time.Time, images []*api.Image) [][]printer.Cell {
	table := [][]printer.Cell{printer.Header("REFERENCE", "DIGEST", "PLATFORM", "SIZE", "UNPACKED", "PULLED", "USED BY")}
	for _, i := range images {
		pulled := "<unknown>"
		if t := i.GetPulledAt(); t != nil {
			pulled = age(now, t.AsTime()) + " ago"
		}
		row := []printer.Cell{{Text: i.GetReference()}}
		for _, text := range []string{
			shortDigest(i.GetDigest()), i.GetPlatform(),
			limitText(uint64(max(i.GetSizeBytes(), 0))), limitText(uint64(max(i.GetUnpackedBytes(), 0))),
			pulled, strings.Join(i.GetUsedBy(), ","),
		} {
			row = append(row, printer.Cell{Text: text})
		}
		table = append(table, row)
	}
	return table
}

// shortDigest returns the part of a digest that people compare.
func shortDigest(digest string) string {
	const length = 12
	if _, hex, ok := strings.Cut(digest, ":"); ok && len(hex) > length {
		return hex[:length]
	}
	return digest
}

func (a *app) imageRmCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "rm REFERENCE…",
		Aliases: []string{"remove", "delete"},
		Short:   "Remove images that no sandbox uses",
		Example: `  vzctl image rm docker.io/library/nginx:alpine`,
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := a.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			for _, reference := range args {
				resp, err := client.RemoveImage(cmd.Context(), &api.RemoveImageRequest{Reference: reference})
				if err != nil {
					return err
				}
				if err := a.printf("%s removed, %s freed\n", reference, bytesText(uint64(max(resp.GetFreedBytes(), 0)))); err != nil {
					return err
				}
			}
			return nil
		},
	}
}
