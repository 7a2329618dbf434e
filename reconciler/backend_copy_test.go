package reconciler

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

// tarOf packs one file.
func tarOf(t *testing.T, name, data string) io.Reader {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(data))}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &b
}

// filesIn returns the regular files of an archive, as "name=content".
func filesIn(t *testing.T, r io.Reader) []string {
	t.Helper()
	var files []string
	for tr := tar.NewReader(r); ; {
		hdr, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		if hdr.Typeflag == tar.TypeReg {
			files = append(files, hdr.Name+"="+string(data))
		}
	}
}

var webRef = &api.Ref{Kind: manifests.KindSandbox, Name: "web"}

// withFile makes a sandbox with a file in it.
func withFile(t *testing.T, w *world) {
	t.Helper()
	w.write("web.yaml", sandbox("web"))
	w.wantPhase("web", manifests.PhaseRunning)
	req := drivers.CopyInRequest{Path: "/f"}
	if err := w.m.CopyIn(t.Context(), webRef, req, tarOf(t, "f", "text")); err != nil {
		t.Fatal(err)
	}
}

func (w *world) export(t *testing.T) []string {
	t.Helper()
	var b bytes.Buffer
	if err := w.m.Export(t.Context(), &api.ExportRequest{Object: webRef}, &b); err != nil {
		t.Fatal(err)
	}
	if exists(string(w.state.Bundle("default", "web").Export())) {
		t.Error("the export left its bundle")
	}
	if p := w.runtimes.process("export"); p != nil {
		t.Error("the export left its VM")
	}
	return filesIn(t, &b)
}

func TestCopyNeedsARunningSandboxAndAContainerOfIt(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		withFile(t, w)
		var b bytes.Buffer
		if err := w.m.CopyOut(t.Context(), webRef, drivers.CopyOutRequest{Path: "/f", Container: "main"}, &b); err != nil {
			t.Fatal(err)
		}
		if got := filesIn(t, &b); !slices.Equal(got, []string{"f=text"}) {
			t.Errorf("copied out %v", got)
		}
		for _, tc := range []struct {
			ref       *api.Ref
			container string
			want      error
		}{
			{&api.Ref{Kind: manifests.KindSandbox, Name: "nosuch"}, "", drivers.ErrNotFound},
			{webRef, "nosuch", drivers.ErrNotFound},
		} {
			err := w.m.CopyOut(t.Context(), tc.ref, drivers.CopyOutRequest{Path: "/f", Container: tc.container}, io.Discard)
			if !errors.Is(err, tc.want) {
				t.Errorf("%v: %v, want %v", tc.ref, err, tc.want)
			}
		}
		if err := w.m.Stop(t.Context(), &api.StopRequest{Object: webRef}); err != nil {
			t.Fatal(err)
		}
		after(time.Minute)
		err := w.m.CopyOut(t.Context(), webRef, drivers.CopyOutRequest{Path: "/f"}, io.Discard)
		if !errors.Is(err, drivers.ErrInvalidState) || !strings.Contains(err.Error(), "export") {
			t.Errorf("of a stopped sandbox: %v, want an invalid state that says what can be done", err)
		}
	})
}

func TestExportOfRunningAndStoppedLeavesNothingBehind(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("web.yaml", sandbox("web"))
		if err := w.m.Stop(t.Context(), &api.StopRequest{Object: webRef}); err != nil {
			t.Fatal(err)
		}
		after(time.Minute)
		if err := w.m.Export(t.Context(), &api.ExportRequest{Object: webRef}, io.Discard); !errors.Is(err, drivers.ErrInvalidState) {
			t.Errorf("without a disk: %v, want an invalid state", err)
		}
		if err := w.m.Start(t.Context(), &api.StartRequest{Object: webRef}); err != nil {
			t.Fatal(err)
		}
		after(time.Minute)
		withFile(t, w)
		if got := w.export(t); !slices.Equal(got, []string{"./f=text"}) {
			t.Errorf("running: %v", got)
		}
		w.wantPhase("web", manifests.PhaseRunning)
		if n := w.runtimes.launched("web"); n != 2 {
			t.Errorf("the sandbox was launched %d times, want 2", n)
		}
		if err := w.m.Stop(t.Context(), &api.StopRequest{Object: webRef}); err != nil {
			t.Fatal(err)
		}
		after(time.Minute)
		w.wantPhase("web", manifests.PhaseStopped)
		if got := w.export(t); !slices.Equal(got, []string{"./f=text"}) {
			t.Errorf("stopped: %v", got)
		}
		w.wantPhase("web", manifests.PhaseStopped)
		if err := w.m.Export(t.Context(), &api.ExportRequest{Object: webRef, Container: "nosuch"}, io.Discard); !errors.Is(err, drivers.ErrNotFound) {
			t.Errorf("an unknown container: %v", err)
		}
	})
}

func TestExportOfPausedIsRefused(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		withFile(t, w)
		w.write("web.yaml", strings.Replace(sandbox("web"), "spec:\n", "spec:\n  operatingMode: Paused\n", 1))
		after(time.Second)
		w.wantPhase("web", manifests.PhasePaused)
		if err := w.m.Export(t.Context(), &api.ExportRequest{Object: webRef}, io.Discard); !errors.Is(err, drivers.ErrInvalidState) {
			t.Errorf("%v, want an invalid state", err)
		}
	})
}

// stuckWriter blocks until its context ends.
type stuckWriter struct{ ctx context.Context }

func (s stuckWriter) Write([]byte) (int, error) {
	<-s.ctx.Done()
	return 0, s.ctx.Err()
}

func TestExportThatIsGivenUpLeavesNothingBehind(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		withFile(t, w)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- w.m.Export(ctx, &api.ExportRequest{Object: webRef}, stuckWriter{ctx}) }()
		synctest.Wait()
		if w.runtimes.process("export") == nil {
			t.Fatal("no VM is there to read the copy of the disk")
		}
		cancel()
		if err := <-done; err == nil {
			t.Error("it succeeded")
		}
		if w.runtimes.process("export") != nil || exists(string(w.state.Bundle("default", "web").Export())) {
			t.Error("something is left of it")
		}
		if got := w.export(t); len(got) != 1 {
			t.Errorf("the next export: %v", got)
		}
	})
}

func TestNextDaemonClearsAwayWhatIsLeftOfAnExport(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		withFile(t, w)
		w.stop()
		dir := string(w.state.Bundle("default", "web").Export())
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if _, err := w.runtimes.Launch(t.Context(), "fake", dir); err != nil {
			t.Fatal(err)
		}
		w.start()
		after(time.Second)
		if w.runtimes.process("export") != nil || exists(dir) {
			t.Error("something is left of it")
		}
		w.wantPhase("web", manifests.PhaseRunning)
	})
}

func TestRemovalEndsAnExport(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		withFile(t, w)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		done := make(chan error, 1)
		// As the API's stream does, the writer ends with the call.
		go func() {
			done <- w.m.Export(ctx, &api.ExportRequest{Object: webRef}, writerFunc(func(p []byte) (int, error) {
				time.Sleep(30 * time.Minute) //nolint:forbidigo // of the bubble: it takes no time
				return len(p), nil
			}))
		}()
		synctest.Wait()
		w.remove("web.yaml")
		after(time.Hour)
		// It may have had all by then; what counts is that it is not waited for.
		if err := <-done; err != nil {
			t.Log(err)
		}
		if w.view("web") != nil || exists(string(w.state.Bundle("default", "web"))) || w.runtimes.process("export") != nil {
			t.Error("something is left of the sandbox or its export")
		}
	})
}
