package reconciler

import (
	"context"
	"fmt"
	"io"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/internal/images"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

// InspectImage implements api.Backend.
func (m *Manager) InspectImage(_ context.Context, req *api.InspectImageRequest) (*api.InspectImageResponse, error) {
	img, err := m.opts.Images.Get(req.GetReference(), req.GetPlatform())
	if err != nil {
		return nil, imageKind(err)
	}
	manifest, config, err := m.opts.Images.Describe(req.GetReference(), req.GetPlatform())
	if err != nil {
		return nil, imageKind(err)
	}
	return &api.InspectImageResponse{Image: apiImage(img, m.imageUsers()), Manifest: manifest, Config: config}, nil
}

// TagImage implements api.Backend.
func (m *Manager) TagImage(ctx context.Context, req *api.TagImageRequest) error {
	return imageKind(m.opts.Images.Tag(ctx, req.GetReference(), req.GetName()))
}

// PushImage implements api.Backend.
func (m *Manager) PushImage(ctx context.Context, req *api.PushImageRequest, send func(*api.PushImageResponse) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	digest, err := m.opts.Images.Push(ctx, req.GetReference(), images.PushOptions{
		Platform: req.GetPlatform(),
		Progress: func(p images.Progress) {
			if err := send(&api.PushImageResponse{CompleteBytes: p.Complete, TotalBytes: p.Total}); err != nil {
				cancel() // nobody listens
			}
		},
	})
	if err != nil {
		return imageKind(err)
	}
	return send(&api.PushImageResponse{Digest: digest})
}

// SaveImages implements api.Backend.
func (m *Manager) SaveImages(ctx context.Context, req *api.SaveImagesRequest, w io.Writer) error {
	if len(req.GetReferences()) == 0 {
		return fmt.Errorf("%w: no image is named", drivers.ErrInvalidArgument)
	}
	return imageKind(m.opts.Images.Save(ctx, req.GetReferences(), req.GetPlatform(), w))
}

// LoadImages implements api.Backend.
func (m *Manager) LoadImages(ctx context.Context, req *api.LoadImagesStart, archive io.Reader) (*api.LoadImagesResponse, error) {
	loaded, err := m.opts.Images.Load(ctx, archive, images.LoadOptions{Name: req.GetName(), Platform: req.GetPlatform()})
	if err != nil {
		return nil, imageKind(err)
	}
	users := m.imageUsers()
	resp := &api.LoadImagesResponse{}
	for _, img := range loaded {
		resp.Images = append(resp.Images, apiImage(img, users))
	}
	return resp, nil
}
