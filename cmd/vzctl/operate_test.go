package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/wire"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
	"github.com/vzreconciler/vzreconciler/reconciler/api/apitest"
)

const entries = "2026-11-23T17:51:18.000000001Z stdout F one\n" +
	"2026-11-23T17:51:19.000000001Z stderr F oops\n" +
	"2026-11-23T17:51:20.000000001Z stdout P tw\n" +
	"2026-11-23T17:51:21.000000001Z stderr F oops again\n" +
	"2026-11-23T17:51:22.000000001Z stdout F o\n" +
	"2026-11-23T17:51:23.000000001Z stdout F \n" +
	"2026-11-23T17:51:24.000000001Z stdout P cut off"

func TestLogsGoWhereTheContainerWroteThem(t *testing.T) {
	for _, size := range []int{len(entries), 7, 1} { // pieces end anywhere
		b := &apitest.Backend{LogsFunc: func(_ context.Context, _ *api.LogsRequest, send func([]byte) error) error {
			for piece := range slices.Chunk([]byte(entries), size) {
				if err := send(piece); err != nil {
					return err
				}
			}
			return nil
		}}
		out := vzctl(t, b, "", "logs", "web")
		wantOutput(t, out.stdout, "one\ntwo\n\ncut off")
		wantOutput(t, out.stderr, "oops\noops again\n")
		out = vzctl(t, b, "", "logs", "web", "--timestamps")
		wantOutput(t, out.stdout, lines(
			"2026-11-23T17:51:18.000000001Z one",
			"2026-11-23T17:51:20.000000001Z two",
			"2026-11-23T17:51:23.000000001Z ",
		)+"2026-11-23T17:51:24.000000001Z cut off")
	}
}

func TestLogsAsksForWhatWasMeant(t *testing.T) {
	var asked *api.LogsRequest
	b := &apitest.Backend{LogsFunc: func(_ context.Context, req *api.LogsRequest, send func([]byte) error) error {
		asked = req
		return send([]byte("raw \x1b[1m console"))
	}}
	out := vzctl(t, b, "", "logs", "-f", "pod/web", "-n", "prod", "-c", "nginx", "--tail=5", "--since=2026-11-23T17:51:18Z", "--console")
	wantOutput(t, out.stdout, "raw \x1b[1m console")
	want := `kind:"Sandbox" namespace:"prod" name:"web" nginx true 5 2026-11-23T17:51:18Z true`
	got := fmt.Sprint(strings.Join(strings.Fields(asked.GetObject().String()), " "), " ", asked.GetContainer(), " ", asked.GetFollow(), " ", asked.GetTail(), " ", asked.GetSince().AsTime().Format(time.RFC3339), " ", asked.GetConsole())
	wantOutput(t, got, want)

	vzctl(t, b, "", "logs", "web", "--since=1h")
	if ago := time.Since(asked.GetSince().AsTime()); ago < time.Hour || ago > time.Hour+time.Minute {
		t.Errorf("--since=1h asked for %v ago", ago)
	}
	if asked.GetTail() != -1 {
		t.Errorf("without --tail asked for %d lines", asked.GetTail())
	}
	if out := vzctl(t, b, "", "logs", "web", "--since=yesterday"); out.code != exitUsage {
		t.Errorf("exit code %d", out.code)
	}
}

func TestRestartWaitsForAnotherVM(t *testing.T) {
	old := webJSON(t, 0, nil)
	fresh := webJSON(t, 0, func(m map[string]any) { status(m)["runtime"].(map[string]any)["hypervisorPID"] = 4712 })
	b := watches(change{api.WatchResponse_ADDED, old}, change{}, change{api.WatchResponse_MODIFIED, old})
	b.GetFunc = func(context.Context, *api.GetRequest) ([]json.RawMessage, error) { return []json.RawMessage{old}, nil }
	b.RestartFunc = func(context.Context, *api.RestartRequest) error { return nil }
	if out := vzctl(t, b, "", "restart", "web", "--timeout=50ms"); out.code != exitTimedOut {
		t.Errorf("the VM of before was taken for the new one: %+v", out)
	}
	b.WatchFunc = watches(change{api.WatchResponse_ADDED, old}, change{}, change{api.WatchResponse_MODIFIED, fresh}).WatchFunc
	if out := vzctl(t, b, "", "restart", "web"); out.code != exitDone || out.stdout != "sandbox/web restarted\n" {
		t.Errorf("%+v", out)
	}
}

func TestStartOfWhatFailsIsNotWaitedForInVain(t *testing.T) {
	b := holds(webJSON(t, time.Hour, func(m map[string]any) {
		status(m)["phase"] = "Failed"
		status(m)["conditions"] = []any{condition("Ready", "False", "PodFailed", "container main exited with code 3")}
	}))
	b.StartFunc = func(context.Context, *api.StartRequest) error { return nil }
	if out := vzctl(t, b, "", "start", "web"); out.code != exitFailed || !strings.Contains(out.stderr, "sandbox/web is Failed: container main exited with code 3") {
		t.Errorf("%+v", out)
	}
}

func TestStopPassesTheGracePeriodOnlyIfGiven(t *testing.T) {
	stopped := webJSON(t, 0, func(m map[string]any) { status(m)["phase"] = "Stopped" })
	var asked []string
	b := holds(stopped)
	b.StopFunc = func(_ context.Context, req *api.StopRequest) error {
		period := "the manifest's"
		if req.GetGracePeriod() != nil {
			period = req.GetGracePeriod().AsDuration().String()
		}
		asked = append(asked, req.GetObject().GetName()+" "+period)
		return nil
	}
	if out := vzctl(t, b, "", "stop", "web", "--wait=false"); out.code != exitDone {
		t.Errorf("%+v", out)
	}
	if out := vzctl(t, b, "", "stop", "web", "--grace-period=0s"); out.code != exitDone {
		t.Errorf("%+v", out)
	}
	wantOutput(t, strings.Join(asked, "|"), "web the manifest's|web 0s")
}

func TestStartWaitsUntilReady(t *testing.T) {
	down := webJSON(t, 0, func(m map[string]any) {
		status(m)["phase"], status(m)["conditions"] = "Stopped", nil
	})
	started := 0
	b := watches(change{api.WatchResponse_ADDED, down}, change{}, change{api.WatchResponse_MODIFIED, webJSON(t, 0, nil)})
	b.StartFunc = func(context.Context, *api.StartRequest) error {
		started++
		return nil
	}
	if out := vzctl(t, b, "", "start", "web"); out.code != exitDone || out.stdout != "sandbox/web started\n" || started != 1 {
		t.Errorf("%+v", out)
	}
}

func TestStatsShowTheShareOfACPUSinceTheLookBefore(t *testing.T) {
	looks := 0
	start := time.Now()
	b := &apitest.Backend{StatisticsFunc: func(context.Context, *api.StatisticsRequest) (*api.StatisticsResponse, error) {
		looks++
		return &api.StatisticsResponse{Items: []*api.SandboxStatistics{
			{
				Object: &api.Ref{Kind: "Sandbox", Namespace: "default", Name: "web"},
				Statistics: wire.FromStatistics(drivers.Statistics{
					Time: start.Add(time.Duration(looks) * time.Second),
					Sandbox: drivers.ResourceUse{
						CPUUsec: uint64(looks) * 250_000, MemoryBytes: 64 << 20, MemoryLimitBytes: 256 << 20, Processes: 3,
						BlockReadBytes: 1536, BlockWriteBytes: 20 << 20, NetworkRxBytes: 5, NetworkTxBytes: 7 << 10,
					},
					HostMemoryBytes: 200 << 20,
				}),
			},
			{Object: &api.Ref{Namespace: "default", Name: "db"}, Error: "it is Stopped"},
		}}, nil
	}}
	out := vzctl(t, b, "", "stats", "--no-stream", "--interval=100ms")
	wantOutput(t, out.stdout, lines(
		`NAMESPACE   NAME   CPU             MEMORY   LIMIT    MEM     PIDS   NET I/O       BLOCK I/O        HOST MEM`,
		`default     db     it is Stopped`,
		`default     web    25.0%           64MiB    256MiB   25.0%   3      5B / 7.0KiB   1.5KiB / 20MiB   200MiB`,
	))
	out = vzctl(t, b, "", "stats", "--no-stream", "--interval=100ms", "-o", "json")
	var list struct {
		Items []struct {
			Name       string
			CPUPercent float64
			Error      string
		}
	}
	if err := json.Unmarshal([]byte(out.stdout), &list); err != nil || len(list.Items) != 2 || list.Items[1].CPUPercent != 25 || list.Items[0].Error == "" {
		t.Errorf("%v: %s", err, out.stdout)
	}
}

func TestEventsTable(t *testing.T) {
	now := time.Now()
	b := &apitest.Backend{EventsFunc: func(_ context.Context, req *api.EventsRequest, send func(*api.Event) error) error {
		if req.GetObject().GetName() != "web" || req.GetObject().GetKind() != "Sandbox" {
			t.Errorf("asked for %v", req.GetObject())
		}
		return send(&api.Event{
			FirstTime: timestamppb.New(now.Add(-12 * time.Hour)), LastTime: timestamppb.New(now.Add(-30 * time.Minute)), Count: 3,
			Type: "Warning", Reason: "Exited", Message: "code 1\nof main", Object: &api.Ref{Kind: "Sandbox", Namespace: "default", Name: "web"},
		})
	}}
	out := vzctl(t, b, "", "events", "web")
	wantOutput(t, out.stdout, lines(
		`AGE                 TYPE      REASON   OBJECT        MESSAGE`,
		`30m (x3 over 12h)   Warning   Exited   sandbox/web   code 1\nof main`,
	))
}

func TestPruneShowsWhatIsHeldAndConfirms(t *testing.T) {
	confirmed := false
	b := &apitest.Backend{
		StatusFunc: func(context.Context) (*api.StatusResponse, error) {
			return &api.StatusResponse{PruneHeld: []string{"Sandbox default/a"}}, nil
		},
		ConfirmPruneFunc: func(context.Context) (*api.ConfirmPruneResponse, error) {
			confirmed = true
			return &api.ConfirmPruneResponse{Pruned: []string{"Sandbox default/a"}}, nil
		},
	}
	if out := vzctl(t, b, "", "prune"); !strings.Contains(out.stdout, "Sandbox default/a\n") || confirmed {
		t.Errorf("%+v", out)
	}
	if out := vzctl(t, b, "", "prune", "--confirm"); out.stdout != "Sandbox default/a is being removed\n" || !confirmed {
		t.Errorf("%+v", out)
	}
}

func TestImagePullWritesALineForEachStage(t *testing.T) {
	var asked string
	b := &apitest.Backend{PullImageFunc: func(_ context.Context, req *api.PullImageRequest, send func(*api.PullImageResponse) error) error {
		asked = req.GetReference()
		for _, p := range []*api.PullImageResponse{
			{Stage: "Resolving"}, {Stage: "Pulling", TotalBytes: 3 << 20}, {Stage: "Pulling", CompleteBytes: 1 << 20, TotalBytes: 3 << 20},
			{Stage: "Unpacking"}, {Stage: "Done", Image: &api.Image{Reference: "busybox", Digest: "sha256:abc"}},
		} {
			if err := send(p); err != nil {
				return err
			}
		}
		return nil
	}}
	out := vzctl(t, b, "", "image", "pull", "oci-archive:app.tar")
	wantOutput(t, out.stdout, "busybox sha256:abc\n")
	wantOutput(t, out.stderr, "Resolving\nPulling 3.0MiB\nUnpacking\nDone\n")
	if !strings.HasPrefix(asked, "oci-archive:/") || !strings.HasSuffix(asked, "/app.tar") {
		t.Errorf("the daemon was asked for %q, which it looks for in its own directory", asked)
	}
}

func TestImageList(t *testing.T) {
	b := &apitest.Backend{ListImagesFunc: func(context.Context) (*api.ListImagesResponse, error) {
		return &api.ListImagesResponse{Images: []*api.Image{{
			Reference: "docker.io/library/busybox:1", Digest: "sha256:0123456789abcdef0123", Platform: "linux/amd64", SizeBytes: 2 << 20, UnpackedBytes: 5 << 20,
			PulledAt: timestamppb.New(time.Now().Add(-3 * time.Hour)), UsedBy: []string{"default/web", "default/db"},
		}}}, nil
	}}
	wantOutput(t, vzctl(t, b, "", "image", "list").stdout, lines(
		`REFERENCE                     DIGEST         PLATFORM      SIZE     UNPACKED   PULLED   USED BY`,
		`docker.io/library/busybox:1   0123456789ab   linux/amd64   2.0MiB   5.0MiB     3h ago   default/web,default/db`,
	))
	var list struct{ Items []map[string]any }
	out := vzctl(t, b, "", "image", "ls", "-o", "json")
	if err := json.Unmarshal([]byte(out.stdout), &list); err != nil || len(list.Items) != 1 || list.Items[0]["digest"] != "sha256:0123456789abcdef0123" {
		t.Errorf("%v: %s", err, out.stdout)
	}
}

func TestVolumes(t *testing.T) {
	b := &apitest.Backend{
		ListVolumesFunc: func(_ context.Context, req *api.ListVolumesRequest) (*api.ListVolumesResponse, error) {
			old := timestamppb.New(time.Now().Add(-3 * time.Hour))
			return &api.ListVolumesResponse{Volumes: []*api.Volume{
				{Namespace: "default", Name: "data", RequestedBytes: 1 << 30, AllocatedBytes: 5 << 20, CreatedAt: old, ReclaimPolicy: "Retain", Claimed: true, UsedBy: []string{"default/web"}},
				{Namespace: "default", Name: "old", RequestedBytes: 1 << 30, CreatedAt: old, ReclaimPolicy: "Retain"},
			}}, nil
		},
		RemoveVolumeFunc: func(_ context.Context, req *api.RemoveVolumeRequest) (*api.RemoveVolumeResponse, error) {
			if req.GetName() != "old" || req.GetNamespace() != "default" {
				t.Errorf("asked to remove %v", req)
			}
			return &api.RemoveVolumeResponse{FreedBytes: 3 << 20}, nil
		},
	}
	wantOutput(t, vzctl(t, b, "", "volume", "list").stdout, lines(
		`NAME   STATUS     SIZE     ALLOCATED   RECLAIM POLICY   USED BY       AGE`,
		`data   Bound      1.0GiB   5.0MiB      Retain           default/web   3h`,
		`old    Released   1.0GiB   0B          Retain           <none>        3h`,
	))
	wantOutput(t, vzctl(t, b, "", "volume", "rm", "old").stdout, "old removed, 3.0MiB freed\n")
}

func TestClaims(t *testing.T) {
	b := &apitest.Backend{GetFunc: func(context.Context, *api.GetRequest) ([]json.RawMessage, error) {
		return []json.RawMessage{json.RawMessage(`{"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data", "namespace": "default"},
			"spec": {"accessModes": ["ReadWriteOnce", "ReadOnlyMany"], "resources": {"requests": {"storage": "2Gi"}}},
			"status": {"phase": "Bound", "capacity": {"storage": "1Gi"}, "conditions": [{"type": "FileSystemResizePending", "status": "True", "message": "it grows"}]}}`)}, nil
	}}
	wantOutput(t, vzctl(t, b, "", "get", "pvc").stdout, lines(
		`NAME   STATUS   CAPACITY   REQUESTED   ACCESS MODES   AGE`,
		`data   Bound    1Gi        2Gi         RWO,ROX        -`,
	))
}
