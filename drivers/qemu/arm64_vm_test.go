package qemu_test

import (
	"runtime"
	"testing"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/qemu"
)

// What a Mac on Apple silicon will boot, but for the hypervisor: the arm64 kernel,
// its modules, the agent built for arm64 and an arm64 image.
func TestArm64GuestRunsAnArm64Image(t *testing.T) {
	if runtime.GOARCH == "arm64" {
		t.Skip("every other test does, on this host")
	}
	dir := arm64.get(t).bundle(t, "default/web", "trap 'exit 7' TERM; while :; do sleep 1 & wait; done", nil)
	rt := bootOn(t, qemu.NewArm64(), dir)
	s := snapshot(t, rt)
	t.Logf("running after %s", s.Timeline[len(s.Timeline)-1].Time.Sub(s.Timeline[0].Time).Round(time.Millisecond))
	if s.Machine.Type != "virt" || s.Machine.Accelerator != "tcg" {
		t.Errorf("machine %+v", s.Machine)
	}
	if got := sh(t, rt, "uname -m"); got != "aarch64\n" {
		t.Errorf("uname -m says %q", got)
	}
	if err := rt.Stop(t.Context(), drivers.StopOptions{GracePeriod: time.Minute}); err != nil {
		t.Fatal(err)
	}
	if exit, err := rt.Wait(t.Context(), "web"); err != nil || exit.Code != 7 {
		t.Errorf("exit %+v, %v, want the trap's 7", exit, err)
	}
}
