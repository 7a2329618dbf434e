package reconciler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/internal/images"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

// PullImage implements api.Backend.
func (m *Manager) PullImage(ctx context.Context, req *api.PullImageRequest, send func(*api.PullImageResponse) error) error {
	if req.GetReference() == "" {
		return fmt.Errorf("%w: the image's name is missing", drivers.ErrInvalidArgument)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var sendErr error
	img, err := m.opts.Images.Ensure(ctx, req.GetReference(), images.EnsureOptions{
		Policy: images.Always, Platform: req.GetPlatform(),
		Progress: func(p images.Progress) {
			if sendErr != nil {
				return
			}
			sendErr = send(&api.PullImageResponse{Stage: p.Stage, CompleteBytes: p.Complete, TotalBytes: p.Total})
			if sendErr != nil {
				cancel()
			}
		},
	})
	if sendErr != nil {
		return sendErr
	}
	if err != nil {
		return imageKind(err)
	}
	return send(&api.PullImageResponse{Stage: images.StageDone, Image: apiImage(img, m.imageUsers())})
}

// imageKind gives an error of the image store its kind in the API.
func imageKind(err error) error {
	switch {
	case errors.Is(err, images.ErrNotFound):
		return fmt.Errorf("%w: %w", drivers.ErrNotFound, err)
	case errors.Is(err, images.ErrInvalid):
		return fmt.Errorf("%w: %w", drivers.ErrInvalidArgument, err)
	case errors.Is(err, images.ErrNoSpace):
		return fmt.Errorf("%w: %w", drivers.ErrExhausted, err)
	}
	return err
}

// ListImages implements api.Backend.
func (m *Manager) ListImages(context.Context) (*api.ListImagesResponse, error) {
	list, err := m.opts.Images.List()
	if err != nil {
		if len(list) == 0 {
			return nil, err
		}
		// One that is damaged must not hide the others.
		m.log.Warn("list images", "error", err)
	}
	users := m.imageUsers()
	resp := &api.ListImagesResponse{}
	for _, img := range list {
		resp.Images = append(resp.Images, apiImage(img, users))
	}
	return resp, nil
}

// RemoveImage implements api.Backend.
func (m *Manager) RemoveImage(_ context.Context, req *api.RemoveImageRequest) (*api.RemoveImageResponse, error) {
	ref := req.GetReference()
	users := m.imageUsers()
	by := slices.Clone(users[ref])
	// An image that is damaged is not found, and nothing can run on it.
	if img, err := m.opts.Images.Get(ref, ""); err == nil {
		by = append(by, users[img.Digest]...)
	}
	if len(by) > 0 {
		return nil, fmt.Errorf("image %s: %w: it is in use by %s", ref, drivers.ErrInvalidState, strings.Join(compact(by), ", "))
	}
	freed, err := m.opts.Images.Remove(ref)
	if err != nil {
		return nil, imageKind(err)
	}
	return &api.RemoveImageResponse{FreedBytes: freed}, nil
}

// imageUsers returns the sandboxes that use an image, by its digest and by the
// name they ask for.
func (m *Manager) imageUsers() map[string][]string {
	users := map[string][]string{}
	for _, o := range m.allObjects() {
		o.mu.Lock()
		if o.record != nil {
			name := o.key.Namespace + "/" + o.key.Name
			for ref := range o.record.Sandbox.Images() {
				users[ref] = append(users[ref], name)
			}
			if b := o.record.Built; b != nil {
				for _, digest := range b.Images {
					users[digest] = append(users[digest], name)
				}
			}
			if o.prepared != nil {
				for _, digest := range o.prepared.images {
					users[digest] = append(users[digest], name)
				}
			}
		}
		o.mu.Unlock()
	}
	return users
}

func apiImage(img *images.Image, users map[string][]string) *api.Image {
	return &api.Image{
		Reference: img.Reference, Digest: img.Digest, Platform: img.Platform,
		SizeBytes: img.SizeBytes, UnpackedBytes: img.UnpackedBytes, PulledAt: timestamppb.New(img.PulledAt),
		UsedBy: compact(slices.Concat(users[img.Reference], users[img.Digest])),
	}
}
