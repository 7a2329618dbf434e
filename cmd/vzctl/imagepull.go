package main

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/spf13/cobra"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/vzreconciler/vzreconciler/internal/printer"
	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

func (a *app) imagePullCmd() *cobra.Command {
	var platform string
	cmd := &cobra.Command{
		Use:   "pull REFERENCE",
		Short: "Fetch an image, so that a sandbox need not wait for it",
		Example: `  vzctl image pull docker.io/library/nginx:alpine
  vzctl image pull oci-archive:app.tar`,
		Args: cobra.ExactArgs(1),
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
			return a.pullImage(cmd.Context(), client, &api.PullImageRequest{Reference: reference, Platform: platform})
		},
	}
	cmd.Flags().StringVar(&platform, "platform", "", "platform of the image, as linux/arm64 (default the host's)")
	return cmd
}

// pullProgress shows how far a pull is.
type pullProgress interface {
	update(p *api.PullImageResponse) error
	// end leaves the output fit for what comes next.
	end()
}

func (a *app) pullImage(ctx context.Context, client *api.Client, req *api.PullImageRequest) error {
	stream, err := client.PullImage(ctx, req)
	if err != nil {
		return err
	}
	var progress pullProgress = &plainProgress{app: a}
	if printer.IsTerminal(a.stderr) {
		progress = newBarProgress(a.stderr)
	}
	image, err := receivePull(stream.Recv, progress)
	progress.end()
	if err != nil {
		return err
	}
	return a.printf("%s %s\n", image.GetReference(), image.GetDigest())
}

func receivePull(recv func() (*api.PullImageResponse, error), progress pullProgress) (*api.Image, error) {
	var image *api.Image
	for {
		p, err := recv()
		if errors.Is(err, io.EOF) {
			if image == nil {
				return nil, errors.New("the pull ended without an image")
			}
			return image, nil
		}
		if err != nil {
			return nil, err
		}
		if p.GetImage() != nil {
			image = p.GetImage()
		}
		if err := progress.update(p); err != nil {
			return nil, err
		}
	}
}

// plainProgress writes a line for each stage.
type plainProgress struct {
	app   *app
	stage string
}

func (p *plainProgress) update(m *api.PullImageResponse) error {
	if m.GetStage() == p.stage {
		return nil
	}
	p.stage = m.GetStage()
	size := ""
	if m.GetTotalBytes() > 0 {
		size = " " + bytesText(uint64(m.GetTotalBytes()))
	}
	_, err := io.WriteString(p.app.stderr, printer.Sanitize(p.stage+size)+"\n")
	return err
}

func (p *plainProgress) end() {}

// barProgress draws a bar, one for all stages: each starts it anew.
type barProgress struct {
	container *mpb.Progress
	bar       *mpb.Bar
	stage     atomic.Value // string; the bar draws itself in a goroutine
}

func newBarProgress(w io.Writer) *barProgress {
	p := &barProgress{container: mpb.New(mpb.WithOutput(w), mpb.WithWidth(50))}
	p.stage.Store("")
	p.bar = p.container.AddBar(0,
		mpb.PrependDecorators(decor.Any(func(decor.Statistics) string { return p.stage.Load().(string) }, decor.WCSyncSpaceR)),
		mpb.AppendDecorators(decor.CountersKibiByte("% .1f / % .1f")),
	)
	return p
}

func (p *barProgress) update(m *api.PullImageResponse) error {
	p.stage.Store(printer.Sanitize(m.GetStage()))
	p.bar.SetTotal(m.GetTotalBytes(), false)
	p.bar.SetCurrent(m.GetCompleteBytes())
	return nil
}

// end removes the bar: what was pulled is said below.
func (p *barProgress) end() {
	p.bar.Abort(true)
	p.container.Wait()
}

// absoluteReference makes the path in a reference to a local image absolute: the
// daemon works in another directory.
func absoluteReference(image string) (string, error) {
	ref, err := manifests.ParseImage(image)
	if err != nil {
		return "", usagef("%s: %w", image, err)
	}
	if ref.Transport == manifests.ImageRegistry || filepath.IsAbs(ref.Path) {
		return image, nil
	}
	_, path, _ := strings.Cut(image, ":") // with the tag, if any
	abs, err := filepath.Abs(path)
	return string(ref.Transport) + ":" + abs, err
}
