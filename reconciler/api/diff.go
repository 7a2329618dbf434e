package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// Bounds of what Diff compares: far more than a host can run.
const (
	maxDiffFiles = 100_000
	maxDiffBytes = 256 << 20
)

// File is a file of manifests.
type File struct {
	// Name is its path in the directory it is in, or would be.
	Name string
	Data []byte
}

func (s *server) Diff(stream grpc.ClientStreamingServer[DiffRequest, DiffResponse]) error {
	var (
		files []File
		prune bool
		size  int
	)
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if size += len(req.GetData()); size > maxDiffBytes || len(files) == maxDiffFiles {
			return fmt.Errorf("diff: %w: more than %d files or %d MiB", drivers.ErrInvalidArgument, maxDiffFiles, maxDiffBytes>>20)
		}
		prune = prune || req.GetPrune()
		files = append(files, File{Name: req.GetFile(), Data: req.GetData()})
	}
	objects, err := s.backend.Diff(stream.Context(), files, prune)
	if err != nil {
		return err
	}
	resp := &DiffResponse{Objects: make([][]byte, len(objects))}
	for i, o := range objects {
		resp.Objects[i] = o
	}
	return stream.SendAndClose(resp)
}

// Diff asks what would change if the files were in the watched directory; each
// object that differs comes as the JSON of a diff.Object.
func (c *Client) Diff(ctx context.Context, files []File, prune bool) ([]json.RawMessage, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.ControlClient.Diff(ctx)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		// A failed send leaves the reason to CloseAndRecv.
		if stream.Send(&DiffRequest{File: f.Name, Data: f.Data, Prune: prune}) != nil {
			break
		}
	}
	resp, err := stream.CloseAndRecv()
	if err != nil {
		return nil, err
	}
	objects := make([]json.RawMessage, len(resp.GetObjects()))
	for i, o := range resp.GetObjects() {
		objects[i] = o
	}
	return objects, nil
}
