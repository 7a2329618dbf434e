package qemu_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/linuxvm"
	"github.com/vzreconciler/vzreconciler/drivers/qemu"
	"github.com/vzreconciler/vzreconciler/internal/state"
)

// clone makes a bundle of another sandbox that has the same in it.
func clone(t *testing.T, dir string) string {
	t.Helper()
	var c drivers.Configuration
	if err := state.ReadJSON(filepath.Join(dir, drivers.ConfigurationFile), &c); err != nil {
		t.Fatal(err)
	}
	c.ID = "default/clone"
	to := t.TempDir()
	if err := state.WriteJSON(filepath.Join(to, drivers.ConfigurationFile), c); err != nil {
		t.Fatal(err)
	}
	return to
}

// restore returns a sandbox that was restored, and ends with the test.
func restore(t *testing.T, dir, path string) drivers.Runtime {
	t.Helper()
	rt := linuxvm.New(qemu.New(qemu.Options{}), linuxvm.Options{})
	begin := time.Now()
	if err := rt.RestoreState(t.Context(), drivers.BootstrapRequest{Bundle: dir}, path); err != nil {
		t.Fatal(err)
	}
	t.Logf("restored in %s", time.Since(begin).Round(time.Millisecond))
	for _, st := range snapshot(t, rt).Timeline {
		t.Logf("%-10s %s", st.Name, st.Time.Sub(begin).Round(time.Millisecond))
	}
	t.Cleanup(func() { end(t, rt) })
	return rt
}

func end(t *testing.T, rt drivers.Runtime) {
	t.Helper()
	if err := rt.Stop(context.Background(), drivers.StopOptions{}); err != nil {
		t.Error(err)
	}
}

// counted returns the numbers in a log, which must follow one upon another.
func counted(t *testing.T, dir string) (first, last int) {
	t.Helper()
	for _, line := range logged(t, dir) {
		n, err := strconv.Atoi(line)
		if err != nil || (last != 0 && n != last+1) {
			t.Fatalf("%q follows upon %d in the log", line, last)
		}
		if first == 0 {
			first = n
		}
		last = n
	}
	return first, last
}

// untilCounted waits until the numbers in a log have gone beyond one.
func untilCounted(t *testing.T, dir string, n int) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for tick := time.NewTicker(50 * time.Millisecond); ; <-tick.C {
		if _, last := counted(t, dir); last > n {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the count does not go beyond %d", n)
		}
	}
}

func TestSavedMachineGoesOnAsOftenAsOneLikes(t *testing.T) {
	dir := getWorld(t).bundle(t, "default/web", "n=0; while :; do n=$((n+1)); echo $n; sleep 0.1; done", nil)
	rt := boot(t, dir)
	if err := rt.CreateProcess(t.Context(), "job", "web", drivers.ProcessSpec{
		Args: []string{"/bin/sh", "-c", "trap 'exit 9' TERM; while :; do sleep 0.1; done"},
		Env:  []drivers.EnvVar{{Name: "PATH", Value: "/bin"}},
	}); err != nil {
		t.Fatal(err)
	}
	if err := rt.StartProcess(t.Context(), "job"); err != nil {
		t.Fatal(err)
	}
	sh(t, rt, "echo then > /file; dd if=/dev/urandom of=/unwritten bs=1024 count=512 2>/dev/null; echo in memory > /tmp/note")
	untilCounted(t, dir, 3)

	path := filepath.Join(t.TempDir(), "saved")
	begin := time.Now()
	if err := rt.SaveState(t.Context(), path, drivers.SaveOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Logf("saved in %s", time.Since(begin).Round(time.Millisecond))
	for _, name := range []string{"memory", linuxvm.DiskFile} {
		info, err := os.Stat(filepath.Join(path, name))
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s has %d KiB, %d KiB on the disk", name, info.Size()>>10, info.Sys().(*syscall.Stat_t).Blocks/2)
	}
	// The original goes on.
	_, last := counted(t, dir)
	untilCounted(t, dir, last)
	sh(t, rt, "echo later > /file")

	random := map[string]bool{}
	for range 2 {
		other := clone(t, dir)
		again := restore(t, other, path)
		if got := sh(t, again, "cat /file /tmp/note"); got != "then\nin memory\n" {
			t.Errorf("the files hold %q", got)
		}
		random[sh(t, again, "dd if=/dev/urandom bs=16 count=1 2>/dev/null")] = true
		now := time.Now().Unix()
		guest, err := strconv.ParseInt(strings.TrimSpace(sh(t, again, "date +%s")), 10, 64)
		if err != nil || guest < now-1 || guest > time.Now().Unix()+1 {
			t.Errorf("the guest's clock says %d, want %d, %v", guest, now, err)
		}
		untilCounted(t, other, last)
		if first, _ := counted(t, other); first > last+1 {
			t.Errorf("the log begins with %d; %d was in the saved sandbox's", first, last)
		}
		if err := again.Kill(t.Context(), "job", int(syscall.SIGTERM)); err != nil {
			t.Fatal(err)
		}
		if exit, err := again.Wait(t.Context(), "job"); err != nil || exit.Code != 9 {
			t.Errorf("exit %+v, %v, want the trap's 9", exit, err)
		}
		end(t, again)
	}
	if len(random) != 2 {
		t.Error("two sandboxes from one state read the same random bytes")
	}

	// Saved again, from a pause, it ends; and goes on in its own bundle.
	if err := rt.Pause(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{path + "2", path + "3"} {
		if err := rt.SaveState(t.Context(), p, drivers.SaveOptions{Stop: p == path+"3"}); err != nil {
			t.Fatal(err)
		}
	}
	waitState(t, rt, drivers.StateStopped)
	_, last = counted(t, dir)
	again := restore(t, dir, path+"3")
	waitState(t, again, drivers.StatePaused)
	if err := again.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	untilCounted(t, dir, last)
	if got := sh(t, again, "cat /file"); got != "later\n" {
		t.Errorf("the file holds %q", got)
	}
	// One that was restored can be saved too, and writes to its disk after it.
	if err := again.SaveState(t.Context(), path+"4", drivers.SaveOptions{}); err != nil {
		t.Fatal(err)
	}
	sh(t, again, "dd if=/dev/urandom of=/more bs=1024 count=512 2>/dev/null; sync")
	_, last = counted(t, dir)
	untilCounted(t, dir, last)
}
