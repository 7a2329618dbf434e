package qemu

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/linuxvm"
)

func TestVerdictIsFoundOnceAndRemembered(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	var found atomic.Int32
	find := func() (verdict, error) {
		found.Add(1)
		return verdict{Accelerator: "tcg", Reason: "because"}, nil
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			v, err := remembered(t.Context(), dir, "this kernel", find)
			if err != nil || v.String() != "tcg (because)" {
				t.Errorf("verdict %q, %v", v, err)
			}
		})
	}
	wg.Wait()
	if n := found.Load(); n != 1 {
		t.Errorf("found %d times, want once", n)
	}
	if _, err := remembered(t.Context(), dir, "another kernel", find); err != nil || found.Load() != 2 {
		t.Errorf("another kernel shares the verdict (%v)", err)
	}
}

func TestFailedSearchForAVerdictIsNotRemembered(t *testing.T) {
	dir := t.TempDir()
	_, err := remembered(t.Context(), dir, "s", func() (verdict, error) { return verdict{}, context.Canceled })
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	v, err := remembered(t.Context(), dir, "s", func() (verdict, error) { return verdict{Accelerator: "kvm"}, nil })
	if err != nil || v.String() != "kvm" {
		t.Errorf("verdict %q, %v", v, err)
	}
}

func TestWaitingForAnothersVerdictEndsWithTheContext(t *testing.T) {
	dir := t.TempDir()
	started, release, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		_, _ = remembered(t.Context(), dir, "s", func() (verdict, error) {
			close(started)
			<-release
			return verdict{Accelerator: "tcg"}, nil
		})
	}()
	<-started
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := remembered(ctx, dir, "s", func() (verdict, error) { panic("two at once") })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	close(release)
	<-done
}

func TestSpoiltVerdictIsFoundAnew(t *testing.T) {
	dir := t.TempDir()
	find := func() (verdict, error) { return verdict{Accelerator: "tcg"}, nil }
	if _, err := remembered(t.Context(), dir, "s", find); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "accel-*.json"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v", files, err)
	}
	if err := os.WriteFile(files[0], []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if v, err := remembered(t.Context(), dir, "s", find); err != nil || v.Accelerator != "tcg" {
		t.Errorf("verdict %q, %v", v, err)
	}
}

func TestWithoutADeviceItIsEmulationAtOnce(t *testing.T) {
	h := New(Options{})
	h.host = host{os: "linux", arch: "amd64", device: filepath.Join(t.TempDir(), "kvm")}
	v, err := h.accelerator(t.Context(), "/nowhere/qemu", linuxvm.MachineConfig{}, runtimeData{Acceleration: accelAuto})
	if err != nil || v.Accelerator != accelTCG || !strings.Contains(v.Reason, "has no "+h.host.device) {
		t.Errorf("verdict %q, %v", v, err)
	}
}

func TestOnAMacItIsHVFThatHasToBootAndNoDeviceIsLookedFor(t *testing.T) {
	h, cfg := fake(t, "crash")
	h.host = host{os: "darwin", arch: "arm64"}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	v, err := h.accelerator(t.Context(), self, cfg, runtimeData{Acceleration: accelAuto, Machine: "virt"})
	if err != nil || v.Accelerator != accelTCG || !strings.HasPrefix(v.Reason, "hvf does not boot this kernel: ") {
		t.Errorf("verdict %q, %v", v, err)
	}
}

func TestToldAcceleratorIsNotQuestioned(t *testing.T) {
	v, err := New(Options{}).accelerator(t.Context(), "", linuxvm.MachineConfig{}, runtimeData{Acceleration: accelKVM})
	if err != nil || v.String() != accelKVM {
		t.Errorf("verdict %q, %v", v, err)
	}
}

func TestHostInTroubleIsNoVerdictOnItsHardware(t *testing.T) {
	for name, tt := range map[string]struct {
		role string
		edit func(*linuxvm.MachineConfig)
		want error
	}{
		"memory":           {"nomem", func(*linuxvm.MachineConfig) {}, drivers.ErrExhausted},
		"socket path":      {"chatty", func(c *linuxvm.MachineConfig) { c.SocketDir += strings.Repeat("x", 100) }, drivers.ErrInvalidArgument},
		"socket directory": {"chatty", func(c *linuxvm.MachineConfig) { c.SocketDir = c.Kernel.Image }, drivers.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			h, cfg := fake(t, tt.role)
			cfg.RuntimeData = nil
			tt.edit(&cfg)
			if _, err := h.Start(t.Context(), cfg); !errors.Is(err, tt.want) {
				t.Errorf("error %v, want a %q", err, tt.want)
			}
			if files, err := filepath.Glob(filepath.Join(cfg.CacheDir, "accel-*.json")); err != nil || len(files) > 0 {
				t.Errorf("remembered: %v, %v", files, err)
			}
		})
	}
}
