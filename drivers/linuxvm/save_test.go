package linuxvm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/wire"
	"github.com/vzreconciler/vzreconciler/internal/sparsefile"
	"github.com/vzreconciler/vzreconciler/internal/state"
)

// restoring is a fakeHypervisor that is a Restorer.
type restoring struct {
	fakeHypervisor

	cannot   error
	saveErr  error
	slowSave bool // it lasts until it is given up
}

func (h *restoring) CanSave() error { return h.cannot }

func (h *restoring) Start(ctx context.Context, cfg MachineConfig) (Machine, error) {
	m, err := h.fakeHypervisor.Start(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return saving{m.(*fakeMachine), h}, nil
}

func (h *restoring) Adopt(ctx context.Context, cfg MachineConfig, was drivers.Machine) (Machine, error) {
	m, err := h.fakeHypervisor.Adopt(ctx, cfg, was)
	if err != nil {
		return nil, err
	}
	return saving{m.(*fakeMachine), h}, nil
}

// saving is a fakeMachine that is a Saver.
type saving struct {
	*fakeMachine

	h *restoring
}

// fakeMemory is what a fake guest has in memory.
type fakeMemory struct {
	Boot      string
	Runs      uint64
	Processes map[string]fakeProcess
}

type fakeProcess struct {
	Run    uint64
	Args   []string
	Output [][]byte
}

func (m saving) Save(ctx context.Context, path string) error {
	if m.mu.Lock(); !m.paused {
		m.mu.Unlock()
		return errors.New("the CPUs run")
	}
	m.mu.Unlock()
	if m.h.slowSave {
		<-ctx.Done()
		return ctx.Err()
	}
	if m.h.saveErr != nil {
		return m.h.saveErr
	}
	a := m.agent
	a.mu.Lock()
	defer a.mu.Unlock()
	memory := fakeMemory{Boot: a.boot, Runs: a.runs, Processes: map[string]fakeProcess{}}
	for id, s := range a.sessions {
		p := fakeProcess{Run: s.run, Args: s.args}
		s.mu.Lock()
		for _, out := range s.output {
			b, err := proto.Marshal(out)
			if err != nil {
				return err
			}
			p.Output = append(p.Output, b)
		}
		s.mu.Unlock()
		memory.Processes[id] = p
	}
	return state.WriteJSON(path, memory)
}

func (h *restoring) Restore(_ context.Context, cfg MachineConfig, was drivers.Machine, path string) (Machine, error) {
	var memory fakeMemory
	if err := state.ReadJSON(path, &memory); err != nil {
		return nil, err
	}
	if was.Hypervisor != "fake 1" {
		return nil, errors.New("another hypervisor")
	}
	m := &fakeMachine{exited: make(chan struct{}), paused: true, agent: &h.agent}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.machines, h.configs = append(h.machines, m), append(h.configs, cfg)
	a := m.agent
	a.init(m)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.boot, a.runs = memory.Boot, memory.Runs
	for id, p := range memory.Processes {
		s, signals := &fakeSession{run: p.Run, args: p.Args}, make(chan int32, 4)
		for _, b := range p.Output {
			out := &wire.Output{}
			if err := proto.Unmarshal(b, out); err != nil {
				return nil, err
			}
			s.output = append(s.output, out)
		}
		if n := len(s.output); n > 0 && s.output[n-1].GetExited() != nil {
			s.args = []string{"ended"}
		}
		a.signals[id], a.sessions[id] = signals, newFakeSession(m, s, signals)
	}
	return saving{m, h}, nil
}

// runJob starts a process beside the container's own.
func runJob(t *testing.T, rt drivers.Runtime, id string, args ...string) {
	t.Helper()
	if err := rt.CreateProcess(t.Context(), id, "web", drivers.ProcessSpec{Args: args}); err != nil {
		t.Fatal(err)
	}
	if err := rt.StartProcess(t.Context(), id); err != nil {
		t.Fatal(err)
	}
}

// clone copies a bundle's configuration, as that of another sandbox.
func clone(t *testing.T, dir string, edit func(*drivers.Configuration)) string {
	t.Helper()
	var c drivers.Configuration
	if err := state.ReadJSON(filepath.Join(dir, drivers.ConfigurationFile), &c); err != nil {
		t.Fatal(err)
	}
	c.ID, c.SocketDir = "default/clone", filepath.Join(t.TempDir(), "s")
	if edit != nil {
		edit(&c)
	}
	to := t.TempDir()
	if err := state.WriteJSON(filepath.Join(to, drivers.ConfigurationFile), c); err != nil {
		t.Fatal(err)
	}
	return to
}

// restore returns a sandbox that was restored.
func restore(t *testing.T, h Hypervisor, dir, path string) drivers.Runtime {
	t.Helper()
	rt := newFake(h, Options{})
	if err := rt.RestoreState(t.Context(), drivers.BootstrapRequest{Bundle: dir}, path); err != nil {
		t.Fatal(err)
	}
	stopFake(t, rt)
	return rt
}

// writeDisk puts a text at the start of a disk.
func writeDisk(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte(text), 0); err != nil {
		t.Fatal(err)
	}
}

func diskText(t *testing.T, dir string, n int) string {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, DiskFile))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, n)
	if _, err := f.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestSavedSandboxGoesOnInAnother(t *testing.T) {
	world(t, func(t *testing.T) {
		h := &restoring{}
		dir, path := bundle(t, []string{"sleep"}, nil), filepath.Join(t.TempDir(), "saved")
		rt := runWeb(t, h, dir)
		runJob(t, rt, "job", "greet", "hi")
		runJob(t, rt, "done", "echo", "before")
		if _, err := rt.Wait(t.Context(), "done"); err != nil {
			t.Fatal(err)
		}
		writeDisk(t, filepath.Join(dir, DiskFile), "then")
		if err := rt.SaveState(t.Context(), path, drivers.SaveOptions{Stop: true}); err != nil {
			t.Fatal(err)
		}
		if s := wantState(t, rt, drivers.StateStopped); s.Reason != "" || !h.last().killed {
			t.Errorf("stopped because of %q, killed: %t", s.Reason, h.last().killed)
		}
		writeDisk(t, filepath.Join(dir, DiskFile), "late")
		for _, name := range []string{".", savedFile, memoryFile, DiskFile} {
			info, err := os.Stat(filepath.Join(path, name))
			if err != nil {
				t.Fatal(err)
			}
			if info.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s has mode %s", name, info.Mode())
			}
		}

		for range 2 { // as often as one likes
			other := clone(t, dir, nil)
			again := restore(t, h, other, path)
			s := wantState(t, again, drivers.StateRunning)
			if len(s.Processes) != 3 || s.Machine.BootID == "" || s.Machine.KernelVersion != "6.1-fake" {
				t.Errorf("restored as %+v on %+v", s.Processes, s.Machine)
			}
			var stages []string
			for _, st := range s.Timeline {
				stages = append(stages, st.Name)
			}
			if got := strings.Join(stages, " "); got != "bootstrap vmStarted agentUp booted running" {
				t.Errorf("timeline %s", got)
			}
			if h.agent.setTimes == 0 || len(h.agent.seed) != seedBytes {
				t.Errorf("the clock was set %d times, with a seed of %d bytes", h.agent.setTimes, len(h.agent.seed))
			}
			if got := diskText(t, other, 4); got != "then" {
				t.Errorf("the disk has %q", got)
			}
			if err := again.Kill(t.Context(), "job", int(syscall.SIGHUP)); err != nil {
				t.Fatal(err)
			}
			for _, id := range []string{"job", "done"} {
				if exit, err := again.Wait(t.Context(), id); err != nil || exit.Code != 0 {
					t.Errorf("%s: exit %+v, %v", id, exit, err)
				}
			}
			if got := logText(t, other, "job"); got != "hi\n" {
				t.Errorf("log %q", got)
			}
			left, err := filepath.Glob(filepath.Join(other, DiskFile+"*"))
			if err != nil || len(left) != 1 {
				t.Errorf("disks in the bundle: %v, %v", left, err)
			}
			if err := again.Stop(t.Context(), drivers.StopOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestLogOfARestoredProcessGoesOnWhereItWasSaved(t *testing.T) {
	world(t, func(t *testing.T) {
		h := &restoring{}
		dir, path := bundle(t, []string{"flood"}, nil), filepath.Join(t.TempDir(), "saved")
		rt := runWeb(t, h, dir)
		if err := rt.Kill(t.Context(), "web", 1); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		printed := len(logText(t, dir, "web"))
		if printed != 2*attachBuffer {
			t.Fatalf("%d bytes are in the log", printed)
		}
		if err := rt.SaveState(t.Context(), path, drivers.SaveOptions{Stop: true}); err != nil {
			t.Fatal(err)
		}
		// In the same bundle nothing is there twice, and in another only what comes.
		for bundle, want := range map[string]int{dir: printed, clone(t, dir, nil): 0} {
			again := restore(t, h, bundle, path)
			synctest.Wait()
			if got := len(logText(t, bundle, "web")); got != want {
				t.Errorf("%d bytes are in the log, want %d", got, want)
			}
			if err := again.Stop(t.Context(), drivers.StopOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestSandboxGoesOnAfterItWasSaved(t *testing.T) {
	for _, want := range []drivers.State{drivers.StateBooted, drivers.StateRunning, drivers.StatePaused} {
		t.Run(string(want), func(t *testing.T) {
			world(t, func(t *testing.T) {
				h := &restoring{}
				dir, path := bundle(t, []string{"sleep"}, nil), filepath.Join(t.TempDir(), "saved")
				rt := boot(t, h, dir)
				if want != drivers.StateBooted {
					if err := rt.StartProcess(t.Context(), "web"); err != nil {
						t.Fatal(err)
					}
				}
				if want == drivers.StatePaused {
					if err := rt.Pause(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				for _, p := range []string{path, path + "2"} {
					if err := rt.SaveState(t.Context(), p, drivers.SaveOptions{}); err != nil {
						t.Fatal(err)
					}
					wantState(t, rt, want)
					if h.last().paused != (want == drivers.StatePaused) {
						t.Errorf("the CPUs stand still: %t", h.last().paused)
					}
				}
				wantError(t, rt.SaveState(t.Context(), path, drivers.SaveOptions{}), drivers.ErrInvalidArgument, "there already")
				if err := rt.Stop(t.Context(), drivers.StopOptions{}); err != nil {
					t.Fatal(err)
				}
				wantError(t, rt.SaveState(t.Context(), path+"3", drivers.SaveOptions{}), drivers.ErrInvalidState, "is stopped")
				again := restore(t, h, clone(t, dir, nil), path)
				wantState(t, again, want)
				if h.last().paused != (want == drivers.StatePaused) {
					t.Errorf("restored: the CPUs stand still: %t", h.last().paused)
				}
			})
		})
	}
}

func TestSaveThatFailsLeavesNothingAndTheSandboxRunning(t *testing.T) {
	for name, stop := range map[string]bool{"going on": false, "stopping": true} {
		t.Run(name, func(t *testing.T) {
			world(t, func(t *testing.T) {
				h := &restoring{saveErr: syscall.ENOSPC}
				dir, at := bundle(t, []string{"sleep"}, nil), t.TempDir()
				rt := runWeb(t, h, dir)
				opts := drivers.SaveOptions{Stop: stop}
				wantError(t, rt.SaveState(t.Context(), filepath.Join(at, "saved"), opts), drivers.ErrExhausted, "")
				h.saveErr, h.slowSave = nil, true
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				wantError(t, rt.SaveState(ctx, filepath.Join(at, "saved"), opts), context.DeadlineExceeded, "")
				wantState(t, rt, drivers.StateRunning)
				if h.last().paused || h.agent.setTimes != 2 {
					t.Errorf("the CPUs stand still: %t; the clock was set %d times", h.last().paused, h.agent.setTimes)
				}
				if left, err := os.ReadDir(at); err != nil || len(left) > 0 {
					t.Errorf("left behind: %v, %v", left, err)
				}
				rec, err := readRecord(dir)
				if err != nil || rec.Unfinished != "" {
					t.Errorf("on record: %q, %v", rec.Unfinished, err)
				}
			})
		})
	}
}

func TestStopAndPauseAmidASave(t *testing.T) {
	world(t, func(t *testing.T) {
		h := &restoring{slowSave: true}
		at := t.TempDir()
		rt := runWeb(t, h, bundle(t, []string{"sleep"}, nil))
		done := make(chan error, 1)
		go func() { done <- rt.SaveState(t.Context(), filepath.Join(at, "saved"), drivers.SaveOptions{}) }()
		synctest.Wait()
		wantError(t, rt.Pause(t.Context()), drivers.ErrInvalidState, "snapshot")
		wantError(t, rt.SnapshotDisk(t.Context(), filepath.Join(at, "disk")), drivers.ErrInvalidState, "another snapshot")
		begin := time.Now()
		if err := rt.Stop(t.Context(), drivers.StopOptions{GracePeriod: time.Minute}); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took > time.Second {
			t.Errorf("stop waited %s for the save", took)
		}
		if exit, err := rt.Wait(t.Context(), "web"); err != nil || exit.Code != 128+int(syscall.SIGTERM) {
			t.Errorf("exit %+v, %v: the guest was not awake", exit, err)
		}
		wantError(t, <-done, context.Canceled, "")
		if left, err := os.ReadDir(at); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	})
}

func TestRuntimeKilledAmidASaveLeavesNothing(t *testing.T) {
	h := &restoring{slowSave: true}
	dir, at := bundle(t, []string{"sleep"}, nil), t.TempDir()
	first := newFake(h, Options{})
	if err := first.Bootstrap(t.Context(), drivers.BootstrapRequest{Bundle: dir}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- first.SaveState(ctx, filepath.Join(at, "saved"), drivers.SaveOptions{}) }()
	waitFor(t, func() bool {
		h.last().mu.Lock()
		defer h.last().mu.Unlock()
		return h.last().paused
	})
	vanish(first)
	second := newFake(h, Options{})
	if err := second.Bootstrap(t.Context(), drivers.BootstrapRequest{Bundle: dir}); err != nil {
		t.Fatal(err)
	}
	stopFake(t, second)
	wantState(t, second, drivers.StateBooted)
	if h.count() != 1 || h.last().paused {
		t.Errorf("machine %d stands still: %t", h.count(), h.last().paused)
	}
	if left, err := os.ReadDir(at); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	cancel()
	if err := <-done; err == nil {
		t.Error("a killed runtime has saved something")
	}
}

func TestWhatDoesNotFitOrIsDamagedIsNotRestored(t *testing.T) {
	h := &restoring{}
	dir, path := bundle(t, []string{"sleep"}, nil), filepath.Join(t.TempDir(), "saved")
	rt := runWeb(t, h, dir)
	if err := rt.SaveState(t.Context(), path, drivers.SaveOptions{}); err != nil {
		t.Fatal(err)
	}
	edit := func(name string, change func([]byte) []byte) func(*testing.T, string) {
		return func(t *testing.T, at string) {
			t.Helper()
			p := filepath.Join(at, name)
			data, err := os.ReadFile(p)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(p, change(data), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	replace := func(from, to string) func([]byte) []byte {
		return func(b []byte) []byte {
			if !strings.Contains(string(b), from) {
				panic("there is no " + from)
			}
			return []byte(strings.Replace(string(b), from, to, 1))
		}
	}
	remove := func(name string) func(*testing.T, string) {
		return func(t *testing.T, at string) {
			t.Helper()
			if err := os.Remove(filepath.Join(at, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, tc := range map[string]struct {
		damage func(*testing.T, string)
		config func(*drivers.Configuration)
		kind   error
		text   string
	}{
		"nothing there":        {damage: remove(savedFile), kind: drivers.ErrNotFound, text: "no saved state"},
		"no memory":            {damage: remove(memoryFile), kind: drivers.ErrInvalidArgument, text: "damaged"},
		"no disk":              {damage: remove(DiskFile), kind: drivers.ErrInvalidArgument, text: "damaged"},
		"not JSON":             {damage: edit(savedFile, func(b []byte) []byte { return b[:len(b)/2] }), kind: drivers.ErrInvalidArgument, text: "JSON"},
		"another version":      {damage: edit(savedFile, replace(`"version": 1`, `"version": 9`)), kind: drivers.ErrInvalidArgument, text: "version 9"},
		"another runtime":      {damage: edit(savedFile, replace(`"runtime": "fake"`, `"runtime": "qemu"`)), kind: drivers.ErrInvalidArgument, text: `runtime "qemu" has saved it`},
		"a stopped machine":    {damage: edit(savedFile, replace(`"state": "running"`, `"state": "stopped"`)), kind: drivers.ErrInvalidArgument, text: "stopped"},
		"a process of nowhere": {damage: edit(savedFile, replace(`"container": "web"`, `"container": "../web"`)), kind: drivers.ErrInvalidArgument, text: "that is not there"},
		"a process's id":       {damage: edit(savedFile, replace(`"id": "web"`, `"id": "../web"`)), kind: drivers.ErrInvalidArgument, text: "process"},
		"endless":              {damage: edit(savedFile, func([]byte) []byte { return make([]byte, maxSaved+1) }), kind: drivers.ErrInvalidArgument, text: "more than"},
		"memory cut short":     {damage: edit(memoryFile, func(b []byte) []byte { return b[:len(b)-1] }), kind: drivers.ErrInvalidArgument, text: "damaged"},
		"memory changed":       {damage: edit(memoryFile, func(b []byte) []byte { b[len(b)/2] ^= 1; return b }), kind: drivers.ErrInvalidArgument, text: "checksum"},
		"disk cut short":       {damage: func(t *testing.T, at string) { t.Helper(); _ = os.Truncate(filepath.Join(at, DiskFile), 4096) }, kind: drivers.ErrInvalidArgument, text: "damaged"},
		"more memory":          {config: func(c *drivers.Configuration) { c.MemoryBytes *= 2 }, kind: drivers.ErrInvalidArgument, text: "configuration is another"},
		"another command":      {config: func(c *drivers.Configuration) { c.Containers[0].Process.Args = []string{"echo"} }, kind: drivers.ErrInvalidArgument, text: "configuration is another"},
	} {
		t.Run(name, func(t *testing.T) {
			at := t.TempDir()
			for _, name := range []string{savedFile, memoryFile, DiskFile} {
				if err := sparsefile.Copy(t.Context(), filepath.Join(at, name), filepath.Join(path, name)); err != nil {
					t.Fatal(err)
				}
			}
			if tc.damage != nil {
				tc.damage(t, at)
			}
			other := clone(t, dir, tc.config)
			disk := filepath.Join(other, DiskFile)
			if err := os.WriteFile(disk, []byte("its own"), 0o600); err != nil {
				t.Fatal(err)
			}
			before := h.count()
			rt := newFake(h, Options{})
			wantError(t, rt.RestoreState(t.Context(), drivers.BootstrapRequest{Bundle: other}, at), tc.kind, tc.text)
			if s := wantState(t, rt, drivers.StateStopped); !strings.Contains(s.Reason, tc.text) {
				t.Errorf("reason %q", s.Reason)
			}
			if h.count() != before {
				t.Error("a machine was started")
			}
			if data, err := os.ReadFile(disk); err != nil || string(data) != "its own" {
				t.Errorf("the bundle's disk: %q, %v", data, err)
			}
			left, err := filepath.Glob(filepath.Join(other, DiskFile+"*"))
			if err != nil || len(left) != 1 {
				t.Errorf("left behind: %v, %v", left, err)
			}
			if _, err := os.Lstat(filepath.Join(other, MachineFile)); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("a machine is on record: %v", err)
			}
		})
	}
	t.Run("a changed image", func(t *testing.T) {
		root := filepath.Join(dir, "root.ext4")
		if err := os.WriteFile(root, []byte("another"), 0o600); err != nil {
			t.Fatal(err)
		}
		rt := newFake(h, Options{})
		err := rt.RestoreState(t.Context(), drivers.BootstrapRequest{Bundle: clone(t, dir, nil)}, path)
		wantError(t, err, drivers.ErrInvalidArgument, "root filesystem has changed")
	})
}

func TestGuestThatIsAnotherIsNotGoneOnWithAfterARestore(t *testing.T) {
	h := &restoring{}
	dir, path := bundle(t, []string{"sleep"}, nil), filepath.Join(t.TempDir(), "saved")
	rt := runWeb(t, h, dir)
	if err := rt.SaveState(t.Context(), path, drivers.SaveOptions{Stop: true}); err != nil {
		t.Fatal(err)
	}
	st, err := readSaved(filepath.Join(path, savedFile))
	if err != nil {
		t.Fatal(err)
	}
	st.Machine.Machine.BootID = "another"
	if err := state.WriteJSON(filepath.Join(path, savedFile), st); err != nil {
		t.Fatal(err)
	}
	again := newFake(h, Options{})
	err = again.RestoreState(t.Context(), drivers.BootstrapRequest{Bundle: clone(t, dir, nil)}, path)
	wantError(t, err, err, "the guest is another")
	wantState(t, again, drivers.StateStopped)
	if !h.last().killed {
		t.Error("the machine runs on")
	}
}

func TestHypervisorThatCannotSaveSaysSo(t *testing.T) {
	for _, h := range []Hypervisor{
		&fakeHypervisor{},
		&restoring{cannot: fmt.Errorf("%w: the host is too old", drivers.ErrUnsupported)},
	} {
		cannotSave(t, h)
	}
}

func cannotSave(t *testing.T, h Hypervisor) {
	t.Helper()
	rt := runWeb(t, h, bundle(t, []string{"sleep"}, nil))
	path := filepath.Join(t.TempDir(), "saved")
	wantError(t, rt.SaveState(t.Context(), path, drivers.SaveOptions{}), drivers.ErrUnsupported, "")
	wantError(t, rt.RestoreState(t.Context(), drivers.BootstrapRequest{}, path), drivers.ErrUnsupported, "")
	info, err := rt.Info(t.Context())
	if err != nil || info.Can(drivers.CapabilitySaveState) {
		t.Errorf("info %+v, %v", info, err)
	}
}

func FuzzReadSaved(f *testing.F) {
	f.Add([]byte(`{"version": 1, "machine": {"version": 1, "state": "running", "processes": [{"id": "web", "state": "exited"}]}}`))
	f.Add([]byte(`{"version": 1, "machine": {"version": 1, "state": "booted"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), savedFile)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		st, err := readSaved(path)
		if err == nil && (st.Version != savedVersion || len(st.Machine.Processes) > maxProcesses) {
			t.Errorf("read as %+v", st)
		}
	})
}
