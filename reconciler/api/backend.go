package api

import (
	"context"
	"encoding/json"
	"io"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// Backend does what the control API is asked for. Its methods are safe for
// concurrent use. Errors are of the kinds of package drivers: an object that is
// not there is drivers.ErrNotFound, a request that can never succeed
// drivers.ErrInvalidArgument, one that the object's state does not allow
// drivers.ErrInvalidState.
//
// A method that takes a send function calls it from one goroutine at a time and
// returns its error at once; it returns, at the latest, when ctx is cancelled.
type Backend interface {
	// Status reports on the daemon as a whole.
	Status(ctx context.Context) (*StatusResponse, error)
	// Get returns objects as JSON, sorted by kind, namespace and name. A name
	// asked for that is not there is drivers.ErrNotFound.
	Get(ctx context.Context, req *GetRequest) ([]json.RawMessage, error)
	// Watch sends every object that fits, then SYNCED, then each change. Names
	// that are not there (yet) are no error.
	Watch(ctx context.Context, req *GetRequest, send func(*WatchResponse) error) error
	// Events sends the kept events, oldest first, then, when following, new ones.
	Events(ctx context.Context, req *EventsRequest, send func(*Event) error) error

	// Apply validates manifests and writes them into the watched directory.
	Apply(ctx context.Context, req *ApplyRequest) (*ApplyResponse, error)
	// Delete removes an object's document from the watched directory.
	Delete(ctx context.Context, req *DeleteRequest) (*DeleteResponse, error)
	// ConfirmPrune lets a held prune go on.
	ConfirmPrune(ctx context.Context) (*ConfirmPruneResponse, error)
	// Diff says what would change if the files were in the watched directory. Each
	// object that differs comes as the JSON of a diff.Object.
	Diff(ctx context.Context, files []File, prune bool) ([]json.RawMessage, error)
	// ReadDocument returns an object's document as it stands in its file.
	ReadDocument(ctx context.Context, req *ReadDocumentRequest) (*ReadDocumentResponse, error)
	// ReplaceDocument puts another in its place. It is drivers.ErrInvalidState when
	// the file has changed since it was read.
	ReplaceDocument(ctx context.Context, req *ReplaceDocumentRequest) (*ReplaceDocumentResponse, error)
	// Plan says what is done about a sandbox next, and what that waits for.
	Plan(ctx context.Context, req *PlanRequest) (*PlanResponse, error)

	// SuspendReconciling stops following the manifests of a sandbox, or, without
	// an object, any, until ResumeReconciling.
	SuspendReconciling(ctx context.Context, req *SuspendReconcilingRequest) error
	// ResumeReconciling has manifests followed again.
	ResumeReconciling(ctx context.Context, req *ResumeReconcilingRequest) error
	// ReconcileNow looks at the manifests and cuts back-offs short.
	ReconcileNow(ctx context.Context, req *ReconcileNowRequest) error

	// Stop ends a sandbox and holds it stopped until Start; it does not wait for
	// the end.
	Stop(ctx context.Context, req *StopRequest) error
	// Start lets a stopped sandbox be brought up again; it does not wait for it.
	Start(ctx context.Context, req *StartRequest) error
	// Restart ends a sandbox and lets it be brought up again; it does not wait
	// for that.
	Restart(ctx context.Context, req *RestartRequest) error

	// Attach connects stdio to the init process of a container until it exits.
	// When ctx ends the process goes on.
	Attach(ctx context.Context, req *AttachStart, stdio drivers.Stdio) (drivers.ExitStatus, error)
	// Pause stops a sandbox's CPUs and holds them stopped until Resume; it does not
	// wait for that.
	Pause(ctx context.Context, req *PauseRequest) error
	// Resume lets a paused sandbox run again; it does not wait for it.
	Resume(ctx context.Context, req *ResumeRequest) error
	// Kill sends a signal to a container's init process.
	Kill(ctx context.Context, req *KillRequest) error

	// Dial connects to an address in a sandbox. ctx bounds the connecting only.
	Dial(ctx context.Context, object *Ref, to drivers.Address) (drivers.Conn, error)
	// Exec runs a process in a container, connected to stdio, until it exits.
	// It calls started once the process runs.
	Exec(ctx context.Context, req *ExecStart, stdio drivers.Stdio, started func(pid int, at time.Time)) (drivers.ExitStatus, error)
	// Logs sends whole lines, in as many pieces as it likes. The piece is only
	// valid until send returns.
	Logs(ctx context.Context, req *LogsRequest, send func(data []byte) error) error
	// Statistics reports resource use. What one sandbox cannot report stands in
	// its item, not in the error.
	Statistics(ctx context.Context, req *StatisticsRequest) (*StatisticsResponse, error)

	// CopyIn unpacks an archive in a container; see drivers.Runtime.
	CopyIn(ctx context.Context, ref *Ref, req drivers.CopyInRequest, archive io.Reader) error
	// CopyOut packs what is at a path of a container.
	CopyOut(ctx context.Context, ref *Ref, req drivers.CopyOutRequest, w io.Writer) error
	// Export packs a container's whole root file system as it was at one moment,
	// of a sandbox that runs or is stopped.
	Export(ctx context.Context, req *ExportRequest, w io.Writer) error

	// PullImage fetches an image, sending progress; the last message has the
	// stage "Done" and the image.
	PullImage(ctx context.Context, req *PullImageRequest, send func(*PullImageResponse) error) error
	// ListImages returns the images of the store.
	ListImages(ctx context.Context) (*ListImagesResponse, error)
	// RemoveImage removes an image that no sandbox uses.
	RemoveImage(ctx context.Context, req *RemoveImageRequest) (*RemoveImageResponse, error)
	// InspectImage tells all that the store knows of an image.
	InspectImage(ctx context.Context, req *InspectImageRequest) (*InspectImageResponse, error)
	// TagImage gives an image one more name.
	TagImage(ctx context.Context, req *TagImageRequest) error
	// PushImage sends an image to the registry that its name is of; the last message
	// has the digest.
	PushImage(ctx context.Context, req *PushImageRequest, send func(*PushImageResponse) error) error
	// SaveImages writes images as one archive.
	SaveImages(ctx context.Context, req *SaveImagesRequest, w io.Writer) error
	// LoadImages brings in the images of an archive.
	LoadImages(ctx context.Context, req *LoadImagesStart, archive io.Reader) (*LoadImagesResponse, error)
	// ListVolumes returns the volumes of claims, and those that claims have left.
	ListVolumes(ctx context.Context, req *ListVolumesRequest) (*ListVolumesResponse, error)
	// RemoveVolume removes a volume that no claim is for and no sandbox has.
	RemoveVolume(ctx context.Context, req *RemoveVolumeRequest) (*RemoveVolumeResponse, error)
	// ListNetworks returns the networks that there are, with what is on them.
	ListNetworks(ctx context.Context, req *ListNetworksRequest) (*ListNetworksResponse, error)
}
