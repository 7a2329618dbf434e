package plugins_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/wire"
	"github.com/vzreconciler/vzreconciler/plugins"
)

// A plugin that was built before protocol 2 goes on working, and says what it
// lacks, also to a daemon that finds it again.
func TestOldPluginKeepsWorking(t *testing.T) {
	p, l := rolePlugin(t, roleOld)
	bundle := newBundle(t)
	launched := launch(t, l, p, bundle)
	run(t, launched, bundle)
	check := func(t *testing.T, inst *plugins.Instance) {
		t.Helper()
		if v := inst.ProtocolVersion(); v != 1 {
			t.Errorf("protocol %d, want 1", v)
		}
		snap, err := inst.State(t.Context())
		if err != nil || snap.State != drivers.StateRunning {
			t.Errorf("state %s, %v", snap.State, err)
		}
		if _, err := inst.Statistics(t.Context()); err != nil {
			t.Errorf("statistics: %v", err)
		}
		var out strings.Builder
		exit, err := inst.Exec(t.Context(), "main", drivers.ProcessSpec{Args: []string{"/bin/sh", "-c", "echo hi"}}, drivers.Stdio{Stdout: &out})
		if err != nil || exit.Code != 0 || out.String() != "hi\n" {
			t.Errorf("exec: %q, %+v, %v", out.String(), exit, err)
		}
		info, err := inst.Info(t.Context())
		if err != nil || !info.Can(drivers.CapabilityPause) || !info.Can(drivers.CapabilityContainers) ||
			info.Can(drivers.CapabilityCopy) || info.Can(drivers.CapabilityDial) {
			t.Errorf("capabilities %v, %v: want those of protocol 1", info.Capabilities, err)
		}
		for _, route := range []string{"CopyIn", "CopyOut", "Dial", "SnapshotDisk"} {
			for _, stream := range []bool{false, true} {
				err := wire.FromStatus(inst.Call(t.Context(), route, stream))
				if !errors.Is(err, drivers.ErrUnsupported) {
					t.Errorf("%s: %v, want it unsupported", route, err)
					continue
				}
				for _, word := range []string{route, `"quirk"`, " 1", "protocol 1", "protocol 2"} {
					if !strings.Contains(err.Error(), word) {
						t.Errorf("%s: %q does not say %q", route, err, word)
					}
				}
			}
		}
	}
	check(t, launched)
	launched.Release()
	again, err := l.Reattach(t.Context(), bundle)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Release()
	check(t, again)
	if err := again.Stop(t.Context(), drivers.StopOptions{GracePeriod: time.Second}); err != nil {
		t.Fatal(err)
	}
	if err := again.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	closes(t, again.Done(), 5*time.Second, "the end of an old plugin that was shut down")
}

func TestNewestCommonProtocolIsSpoken(t *testing.T) {
	l := plugins.NewLauncher(plugins.LauncherOptions{SocketDir: socketDir(t)})
	for _, tt := range []struct {
		says []int
		want int
	}{{[]int{1, 2}, 2}, {[]int{2}, 2}, {[]int{2, 3}, 2}, {[]int{1}, 1}} {
		p := *fakePlugin(t)
		p.ProtocolVersions = tt.says
		bundle := newBundle(t)
		inst := launch(t, l, &p, bundle)
		if v := inst.ProtocolVersion(); v != tt.want {
			t.Errorf("a plugin that says %v is spoken to in protocol %d, want %d", tt.says, v, tt.want)
		}
		again, err := l.Reattach(t.Context(), bundle)
		if err != nil {
			t.Fatal(err)
		}
		if v := again.ProtocolVersion(); v != tt.want {
			t.Errorf("found again, it is spoken to in protocol %d, want %d", v, tt.want)
		}
		again.Release()
	}
}

// The manifest says 2, the program knows 1: the words must tell who is at fault.
func TestPluginOlderThanItsManifestIsRefused(t *testing.T) {
	p, l := rolePlugin(t, roleOld)
	p.ProtocolVersions = []int{2}
	if _, err := l.Launch(t.Context(), p, newBundle(t)); err == nil || !strings.Contains(err.Error(), "version") {
		t.Errorf("got %v", err)
	}
}

func TestRouteThatAPluginDoesNotKnowIsUnsupported(t *testing.T) {
	l := plugins.NewLauncher(plugins.LauncherOptions{SocketDir: socketDir(t)})
	inst := launch(t, l, fakePlugin(t), newBundle(t))
	for _, stream := range []bool{false, true} {
		err := wire.FromStatus(inst.Call(t.Context(), "Teleport", stream))
		if !errors.Is(err, drivers.ErrUnsupported) || !strings.Contains(err.Error(), `Teleport: not supported by runtime plugin "fake" 0.1.0`) {
			t.Errorf("got %v", err)
		}
	}
}

func TestDescribeStartsThePluginOncePerVersion(t *testing.T) {
	p, l := rolePlugin(t, roleUnable)
	for range 2 {
		info, err := l.Describe(t.Context(), p)
		if err != nil || info.Version != "test" || !info.Can(drivers.CapabilityExec) {
			t.Fatalf("%+v, %v", info, err)
		}
	}
	// It would not start any more, and need not.
	known := *p
	known.Args = nil
	if _, err := l.Describe(t.Context(), &known); err != nil {
		t.Error(err)
	}
	changed := *p
	changed.Version = "2"
	changed.ProtocolVersions = []int{7}
	if _, err := l.Describe(t.Context(), &changed); err == nil {
		t.Error("a changed plugin was not asked anew")
	}
}

func TestCapabilitiesAreAClosedSet(t *testing.T) {
	if names := drivers.Capabilities(); !slices.IsSorted(names) || len(slices.Compact(names)) != len(drivers.Capabilities()) {
		t.Errorf("not sorted, or twice: %v", names)
	}
}
