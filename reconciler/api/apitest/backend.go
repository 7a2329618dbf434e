// Package apitest serves a control API made of functions, for tests of whoever
// talks to it.
package apitest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

// Backend is an api.Backend. What has no function is drivers.ErrUnsupported.
type Backend struct {
	StatusFunc             func(ctx context.Context) (*api.StatusResponse, error)
	GetFunc                func(ctx context.Context, req *api.GetRequest) ([]json.RawMessage, error)
	WatchFunc              func(ctx context.Context, req *api.GetRequest, send func(*api.WatchResponse) error) error
	EventsFunc             func(ctx context.Context, req *api.EventsRequest, send func(*api.Event) error) error
	ApplyFunc              func(ctx context.Context, req *api.ApplyRequest) (*api.ApplyResponse, error)
	DeleteFunc             func(ctx context.Context, req *api.DeleteRequest) (*api.DeleteResponse, error)
	ConfirmPruneFunc       func(ctx context.Context) (*api.ConfirmPruneResponse, error)
	DiffFunc               func(ctx context.Context, files []api.File, prune bool) ([]json.RawMessage, error)
	ReadDocumentFunc       func(ctx context.Context, req *api.ReadDocumentRequest) (*api.ReadDocumentResponse, error)
	ReplaceDocumentFunc    func(ctx context.Context, req *api.ReplaceDocumentRequest) (*api.ReplaceDocumentResponse, error)
	PlanFunc               func(ctx context.Context, req *api.PlanRequest) (*api.PlanResponse, error)
	SuspendReconcilingFunc func(ctx context.Context, req *api.SuspendReconcilingRequest) error
	ResumeReconcilingFunc  func(ctx context.Context, req *api.ResumeReconcilingRequest) error
	ReconcileNowFunc       func(ctx context.Context, req *api.ReconcileNowRequest) error
	StopFunc               func(ctx context.Context, req *api.StopRequest) error
	StartFunc              func(ctx context.Context, req *api.StartRequest) error
	RestartFunc            func(ctx context.Context, req *api.RestartRequest) error
	AttachFunc             func(ctx context.Context, req *api.AttachStart, stdio drivers.Stdio) (drivers.ExitStatus, error)
	PauseFunc              func(ctx context.Context, req *api.PauseRequest) error
	ResumeFunc             func(ctx context.Context, req *api.ResumeRequest) error
	KillFunc               func(ctx context.Context, req *api.KillRequest) error
	DialFunc               func(ctx context.Context, object *api.Ref, to drivers.Address) (drivers.Conn, error)
	ExecFunc               func(ctx context.Context, req *api.ExecStart, stdio drivers.Stdio, started func(pid int, at time.Time)) (drivers.ExitStatus, error)
	LogsFunc               func(ctx context.Context, req *api.LogsRequest, send func(data []byte) error) error
	StatisticsFunc         func(ctx context.Context, req *api.StatisticsRequest) (*api.StatisticsResponse, error)
	CopyInFunc             func(ctx context.Context, ref *api.Ref, req drivers.CopyInRequest, archive io.Reader) error
	CopyOutFunc            func(ctx context.Context, ref *api.Ref, req drivers.CopyOutRequest, w io.Writer) error
	ExportFunc             func(ctx context.Context, req *api.ExportRequest, w io.Writer) error
	PullImageFunc          func(ctx context.Context, req *api.PullImageRequest, send func(*api.PullImageResponse) error) error
	ListImagesFunc         func(ctx context.Context) (*api.ListImagesResponse, error)
	RemoveImageFunc        func(ctx context.Context, req *api.RemoveImageRequest) (*api.RemoveImageResponse, error)
	InspectImageFunc       func(ctx context.Context, req *api.InspectImageRequest) (*api.InspectImageResponse, error)
	TagImageFunc           func(ctx context.Context, req *api.TagImageRequest) error
	PushImageFunc          func(ctx context.Context, req *api.PushImageRequest, send func(*api.PushImageResponse) error) error
	SaveImagesFunc         func(ctx context.Context, req *api.SaveImagesRequest, w io.Writer) error
	LoadImagesFunc         func(ctx context.Context, req *api.LoadImagesStart, archive io.Reader) (*api.LoadImagesResponse, error)
	ListVolumesFunc        func(ctx context.Context, req *api.ListVolumesRequest) (*api.ListVolumesResponse, error)
	RemoveVolumeFunc       func(ctx context.Context, req *api.RemoveVolumeRequest) (*api.RemoveVolumeResponse, error)
	ListNetworksFunc       func(ctx context.Context, req *api.ListNetworksRequest) (*api.ListNetworksResponse, error)
}

var _ api.Backend = (*Backend)(nil)

func unset(name string) error { return fmt.Errorf("%s: %w in this test", name, drivers.ErrUnsupported) }

// Status calls StatusFunc.
func (b *Backend) Status(ctx context.Context) (*api.StatusResponse, error) {
	if b.StatusFunc == nil {
		return nil, unset("status")
	}
	return b.StatusFunc(ctx)
}

// Get calls GetFunc.
func (b *Backend) Get(ctx context.Context, req *api.GetRequest) ([]json.RawMessage, error) {
	if b.GetFunc == nil {
		return nil, unset("get")
	}
	return b.GetFunc(ctx, req)
}

// Watch calls WatchFunc.
func (b *Backend) Watch(ctx context.Context, req *api.GetRequest, send func(*api.WatchResponse) error) error {
	if b.WatchFunc == nil {
		return unset("watch")
	}
	return b.WatchFunc(ctx, req, send)
}

// Events calls EventsFunc.
func (b *Backend) Events(ctx context.Context, req *api.EventsRequest, send func(*api.Event) error) error {
	if b.EventsFunc == nil {
		return unset("events")
	}
	return b.EventsFunc(ctx, req, send)
}

// Apply calls ApplyFunc.
func (b *Backend) Apply(ctx context.Context, req *api.ApplyRequest) (*api.ApplyResponse, error) {
	if b.ApplyFunc == nil {
		return nil, unset("apply")
	}
	return b.ApplyFunc(ctx, req)
}

// Delete calls DeleteFunc.
func (b *Backend) Delete(ctx context.Context, req *api.DeleteRequest) (*api.DeleteResponse, error) {
	if b.DeleteFunc == nil {
		return nil, unset("delete")
	}
	return b.DeleteFunc(ctx, req)
}

// ConfirmPrune calls ConfirmPruneFunc.
func (b *Backend) ConfirmPrune(ctx context.Context) (*api.ConfirmPruneResponse, error) {
	if b.ConfirmPruneFunc == nil {
		return nil, unset("confirm prune")
	}
	return b.ConfirmPruneFunc(ctx)
}

// Diff calls DiffFunc.
func (b *Backend) Diff(ctx context.Context, files []api.File, prune bool) ([]json.RawMessage, error) {
	if b.DiffFunc == nil {
		return nil, unset("diff")
	}
	return b.DiffFunc(ctx, files, prune)
}

// ReadDocument calls ReadDocumentFunc.
func (b *Backend) ReadDocument(ctx context.Context, req *api.ReadDocumentRequest) (*api.ReadDocumentResponse, error) {
	if b.ReadDocumentFunc == nil {
		return nil, unset("read document")
	}
	return b.ReadDocumentFunc(ctx, req)
}

// ReplaceDocument calls ReplaceDocumentFunc.
func (b *Backend) ReplaceDocument(ctx context.Context, req *api.ReplaceDocumentRequest) (*api.ReplaceDocumentResponse, error) {
	if b.ReplaceDocumentFunc == nil {
		return nil, unset("replace document")
	}
	return b.ReplaceDocumentFunc(ctx, req)
}

// Plan calls PlanFunc.
func (b *Backend) Plan(ctx context.Context, req *api.PlanRequest) (*api.PlanResponse, error) {
	if b.PlanFunc == nil {
		return nil, unset("plan")
	}
	return b.PlanFunc(ctx, req)
}

// SuspendReconciling calls SuspendReconcilingFunc.
func (b *Backend) SuspendReconciling(ctx context.Context, req *api.SuspendReconcilingRequest) error {
	if b.SuspendReconcilingFunc == nil {
		return unset("suspend reconciling")
	}
	return b.SuspendReconcilingFunc(ctx, req)
}

// ResumeReconciling calls ResumeReconcilingFunc.
func (b *Backend) ResumeReconciling(ctx context.Context, req *api.ResumeReconcilingRequest) error {
	if b.ResumeReconcilingFunc == nil {
		return unset("resume reconciling")
	}
	return b.ResumeReconcilingFunc(ctx, req)
}

// ReconcileNow calls ReconcileNowFunc.
func (b *Backend) ReconcileNow(ctx context.Context, req *api.ReconcileNowRequest) error {
	if b.ReconcileNowFunc == nil {
		return unset("reconcile now")
	}
	return b.ReconcileNowFunc(ctx, req)
}

// Stop calls StopFunc.
func (b *Backend) Stop(ctx context.Context, req *api.StopRequest) error {
	if b.StopFunc == nil {
		return unset("stop")
	}
	return b.StopFunc(ctx, req)
}

// Start calls StartFunc.
func (b *Backend) Start(ctx context.Context, req *api.StartRequest) error {
	if b.StartFunc == nil {
		return unset("start")
	}
	return b.StartFunc(ctx, req)
}

// Restart calls RestartFunc.
func (b *Backend) Restart(ctx context.Context, req *api.RestartRequest) error {
	if b.RestartFunc == nil {
		return unset("restart")
	}
	return b.RestartFunc(ctx, req)
}

// Attach calls AttachFunc.
func (b *Backend) Attach(ctx context.Context, req *api.AttachStart, stdio drivers.Stdio) (drivers.ExitStatus, error) {
	if b.AttachFunc == nil {
		return drivers.ExitStatus{}, unset("attach")
	}
	return b.AttachFunc(ctx, req, stdio)
}

// Pause calls PauseFunc.
func (b *Backend) Pause(ctx context.Context, req *api.PauseRequest) error {
	if b.PauseFunc == nil {
		return unset("pause")
	}
	return b.PauseFunc(ctx, req)
}

// Resume calls ResumeFunc.
func (b *Backend) Resume(ctx context.Context, req *api.ResumeRequest) error {
	if b.ResumeFunc == nil {
		return unset("resume")
	}
	return b.ResumeFunc(ctx, req)
}

// Kill calls KillFunc.
func (b *Backend) Kill(ctx context.Context, req *api.KillRequest) error {
	if b.KillFunc == nil {
		return unset("kill")
	}
	return b.KillFunc(ctx, req)
}

// Dial calls DialFunc.
func (b *Backend) Dial(ctx context.Context, object *api.Ref, to drivers.Address) (drivers.Conn, error) {
	if b.DialFunc == nil {
		return nil, unset("dial")
	}
	return b.DialFunc(ctx, object, to)
}

// Exec calls ExecFunc.
func (b *Backend) Exec(ctx context.Context, req *api.ExecStart, stdio drivers.Stdio, started func(pid int, at time.Time)) (drivers.ExitStatus, error) {
	if b.ExecFunc == nil {
		return drivers.ExitStatus{}, unset("exec")
	}
	return b.ExecFunc(ctx, req, stdio, started)
}

// Logs calls LogsFunc.
func (b *Backend) Logs(ctx context.Context, req *api.LogsRequest, send func(data []byte) error) error {
	if b.LogsFunc == nil {
		return unset("logs")
	}
	return b.LogsFunc(ctx, req, send)
}

// Statistics calls StatisticsFunc.
func (b *Backend) Statistics(ctx context.Context, req *api.StatisticsRequest) (*api.StatisticsResponse, error) {
	if b.StatisticsFunc == nil {
		return nil, unset("statistics")
	}
	return b.StatisticsFunc(ctx, req)
}

// CopyIn calls CopyInFunc.
func (b *Backend) CopyIn(ctx context.Context, ref *api.Ref, req drivers.CopyInRequest, archive io.Reader) error {
	if b.CopyInFunc == nil {
		return unset("copy in")
	}
	return b.CopyInFunc(ctx, ref, req, archive)
}

// CopyOut calls CopyOutFunc.
func (b *Backend) CopyOut(ctx context.Context, ref *api.Ref, req drivers.CopyOutRequest, w io.Writer) error {
	if b.CopyOutFunc == nil {
		return unset("copy out")
	}
	return b.CopyOutFunc(ctx, ref, req, w)
}

// Export calls ExportFunc.
func (b *Backend) Export(ctx context.Context, req *api.ExportRequest, w io.Writer) error {
	if b.ExportFunc == nil {
		return unset("export")
	}
	return b.ExportFunc(ctx, req, w)
}

// PullImage calls PullImageFunc.
func (b *Backend) PullImage(ctx context.Context, req *api.PullImageRequest, send func(*api.PullImageResponse) error) error {
	if b.PullImageFunc == nil {
		return unset("pull image")
	}
	return b.PullImageFunc(ctx, req, send)
}

// ListImages calls ListImagesFunc.
func (b *Backend) ListImages(ctx context.Context) (*api.ListImagesResponse, error) {
	if b.ListImagesFunc == nil {
		return nil, unset("list images")
	}
	return b.ListImagesFunc(ctx)
}

// RemoveImage calls RemoveImageFunc.
func (b *Backend) RemoveImage(ctx context.Context, req *api.RemoveImageRequest) (*api.RemoveImageResponse, error) {
	if b.RemoveImageFunc == nil {
		return nil, unset("remove image")
	}
	return b.RemoveImageFunc(ctx, req)
}

// ListVolumes calls ListVolumesFunc.
func (b *Backend) ListVolumes(ctx context.Context, req *api.ListVolumesRequest) (*api.ListVolumesResponse, error) {
	if b.ListVolumesFunc == nil {
		return nil, unset("list volumes")
	}
	return b.ListVolumesFunc(ctx, req)
}

// RemoveVolume calls RemoveVolumeFunc.
func (b *Backend) RemoveVolume(ctx context.Context, req *api.RemoveVolumeRequest) (*api.RemoveVolumeResponse, error) {
	if b.RemoveVolumeFunc == nil {
		return nil, unset("remove volume")
	}
	return b.RemoveVolumeFunc(ctx, req)
}

// Serve serves a backend until the test ends and returns its state directory
// and its socket, which lies where a daemon's would.
func Serve(t *testing.T, backend api.Backend) (stateDir, socket string) {
	t.Helper()
	// The name of a test's own directory may be too long for a socket's.
	stateDir, err := os.MkdirTemp("", "vzr") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(stateDir) })
	socket = filepath.Join(stateDir, "run", "vzreconciler.sock")
	l, err := api.Listen(t.Context(), socket, stateDir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	served := make(chan error, 1)
	go func() { served <- api.Serve(ctx, l, backend, slog.New(slog.DiscardHandler)) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return stateDir, socket
}

// ListNetworks calls ListNetworksFunc.
func (b *Backend) ListNetworks(ctx context.Context, req *api.ListNetworksRequest) (*api.ListNetworksResponse, error) {
	if b.ListNetworksFunc == nil {
		return nil, unset("list networks")
	}
	return b.ListNetworksFunc(ctx, req)
}

// InspectImage calls InspectImageFunc.
func (b *Backend) InspectImage(ctx context.Context, req *api.InspectImageRequest) (*api.InspectImageResponse, error) {
	if b.InspectImageFunc == nil {
		return nil, unset("inspect image")
	}
	return b.InspectImageFunc(ctx, req)
}

// TagImage calls TagImageFunc.
func (b *Backend) TagImage(ctx context.Context, req *api.TagImageRequest) error {
	if b.TagImageFunc == nil {
		return unset("tag image")
	}
	return b.TagImageFunc(ctx, req)
}

// PushImage calls PushImageFunc.
func (b *Backend) PushImage(ctx context.Context, req *api.PushImageRequest, send func(*api.PushImageResponse) error) error {
	if b.PushImageFunc == nil {
		return unset("push image")
	}
	return b.PushImageFunc(ctx, req, send)
}

// SaveImages calls SaveImagesFunc.
func (b *Backend) SaveImages(ctx context.Context, req *api.SaveImagesRequest, w io.Writer) error {
	if b.SaveImagesFunc == nil {
		return unset("save images")
	}
	return b.SaveImagesFunc(ctx, req, w)
}

// LoadImages calls LoadImagesFunc.
func (b *Backend) LoadImages(ctx context.Context, req *api.LoadImagesStart, archive io.Reader) (*api.LoadImagesResponse, error) {
	if b.LoadImagesFunc == nil {
		return nil, unset("load images")
	}
	return b.LoadImagesFunc(ctx, req, archive)
}
