package drivers_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/vzreconciler/vzreconciler/drivers"
)

func TestLifeRefusesWhatTheStateDoesNotAllow(t *testing.T) {
	var l drivers.Life
	if s := l.Snapshot().State; s != drivers.StateCreated {
		t.Errorf("the zero value is %q", s)
	}
	if err := l.Require("stop", drivers.StateRunning, drivers.StateBooted); !errors.Is(err, drivers.ErrInvalidState) ||
		!strings.Contains(err.Error(), "the sandbox is created, want running or booted") {
		t.Errorf("got %v", err)
	}
	called := false
	if err := l.Update("boot", func(*drivers.Snapshot) { called = true }, drivers.StateStopped); err == nil || called {
		t.Errorf("%v, called: %t", err, called)
	}
	if err := l.Update("boot", func(s *drivers.Snapshot) { s.State = drivers.StateBooted; s.Pass("x") }, drivers.StateCreated); err != nil {
		t.Fatal(err)
	}
	if s := l.Snapshot(); s.State != drivers.StateBooted || len(s.Timeline) != 1 {
		t.Errorf("%+v", s)
	}
}

func TestLifeTellsTheLatestAndEnds(t *testing.T) {
	var l drivers.Life
	slow := l.Events(t.Context())
	ctx, cancel := context.WithCancel(t.Context())
	gone := l.Events(ctx)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				_ = l.Update("", func(s *drivers.Snapshot) {
					s.SetProcess(drivers.ProcessStatus{ID: "a", PID: len(s.Timeline)})
					s.Pass("x")
				})
			}
		})
	}
	wg.Wait()
	if s := <-slow; len(s.Timeline) != 200 || len(s.Processes) != 1 || s.Processes[0].PID != 199 {
		t.Errorf("a slow reader sees %d stages, process %+v", len(s.Timeline), s.Processes)
	}
	cancel()
	<-gone
	if _, ok := <-gone; ok {
		t.Error("events go on after their context")
	}
	l.End()
	if _, ok := <-slow; ok {
		t.Error("events go on after the end")
	}
	late := l.Events(t.Context())
	if s, ok := <-late; !ok || len(s.Timeline) != 200 {
		t.Errorf("a late reader sees %+v, %t", s, ok)
	}
	if _, ok := <-late; ok {
		t.Error("a late reader's events go on")
	}
}

// What a runtime may lack answers so; the rest has to be written.
func TestUnsupportedSaysSo(t *testing.T) {
	var u drivers.Unsupported
	_, exec := u.Exec(t.Context(), "", drivers.ProcessSpec{}, drivers.Stdio{})
	_, attach := u.Attach(t.Context(), "", drivers.Stdio{})
	_, statistics := u.Statistics(t.Context())
	for _, err := range []error{exec, attach, statistics, u.Pause(t.Context()), u.Resume(t.Context()), u.Resize(t.Context(), "", drivers.TerminalSize{})} {
		if !errors.Is(err, drivers.ErrUnsupported) {
			t.Errorf("got %v", err)
		}
	}
}

func TestConfigurationIsRead(t *testing.T) {
	for _, tt := range []struct{ name, content, want string }{
		{"good", `{"version": 1, "id": "a/b", "containers": [{"name": "main"}]}`, ""},
		{"none", "", "no such file"},
		{"half", `{"version": 1`, "unexpected EOF"},
		{"later", `{"version": 2}`, "version 2, want 1"},
		{"empty", `{"version": 1}`, "no container"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if tt.content != "" {
				if err := os.WriteFile(filepath.Join(dir, drivers.ConfigurationFile), []byte(tt.content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			_, err := drivers.ReadConfiguration(dir)
			if tt.want == "" && err != nil || tt.want != "" && (!errors.Is(err, drivers.ErrInvalidArgument) || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestLogIsWhatVzctlReads(t *testing.T) {
	dir := t.TempDir()
	l, err := drivers.OpenLog(dir, "web")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = l.Stdout().Write([]byte("out\n"))
	_, _ = l.Stderr().Write([]byte("err\n"))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, drivers.LogsDir, "web.log"))
	if err != nil || !strings.Contains(string(data), " stdout F out\n") || !strings.Contains(string(data), " stderr F err\n") {
		t.Errorf("%q, %v", data, err)
	}
	if _, err := drivers.OpenLog(dir, "../web"); !errors.Is(err, drivers.ErrInvalidArgument) {
		t.Errorf("an id that leads out: %v", err)
	}
}
