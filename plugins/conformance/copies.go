package conformance

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// file is an entry of an archive.
type file struct {
	name string
	kind byte
	mode int64
	link string
	data string
}

var fileTime = time.Date(2020, 2, 3, 4, 5, 6, 0, time.UTC)

// archive packs files.
func (s *suite) archive(files ...file) []byte {
	s.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		hdr := &tar.Header{Name: f.name, Typeflag: f.kind, Mode: f.mode, Linkname: f.link, Size: int64(len(f.data)), ModTime: fileTime}
		if err := w.WriteHeader(hdr); err != nil {
			s.Fatalf("pack: %v", err)
		}
		if _, err := io.WriteString(w, f.data); err != nil {
			s.Fatalf("pack: %v", err)
		}
	}
	if err := w.Close(); err != nil {
		s.Fatalf("pack: %v", err)
	}
	return b.Bytes()
}

// contents unpacks an archive. Of files with several names any may be the first,
// so what a hard link leads to stands in its place.
func (s *suite) contents(data []byte) map[string]file {
	s.Helper()
	files := map[string]file{}
	links := map[string]string{}
	for r := tar.NewReader(bytes.NewReader(data)); ; {
		hdr, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			s.Fatalf("read the archive: %v", err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			s.Fatalf("read the archive: %v", err)
		}
		name := strings.TrimSuffix(hdr.Name, "/")
		if hdr.Typeflag == tar.TypeLink {
			links[name] = hdr.Linkname
			continue
		}
		if hdr.Typeflag == tar.TypeReg && !hdr.ModTime.Equal(fileTime) {
			s.Errorf("%s: time %s, want %s", name, hdr.ModTime, fileTime)
		}
		files[name] = file{name: name, kind: hdr.Typeflag, mode: hdr.Mode, link: hdr.Linkname, data: string(text)}
	}
	for name, first := range links {
		f := files[first]
		f.name = name
		files[name] = f
	}
	return files
}

func (s *suite) copyIn(rt drivers.Runtime, dest string, unpack bool, archive []byte) error {
	req := drivers.CopyInRequest{Container: s.opts.Container, Path: dest, Unpack: unpack, KeepOwner: false}
	return rt.CopyIn(s.ctx, req, bytes.NewReader(archive))
}

func (s *suite) copyOut(rt drivers.Runtime, source string) ([]byte, error) {
	var b bytes.Buffer
	err := rt.CopyOut(s.ctx, drivers.CopyOutRequest{Container: s.opts.Container, Path: source}, &b)
	return b.Bytes(), err
}

// wantFile checks the one file at a path; an empty want means that there is none.
func (s *suite) wantFile(rt drivers.Runtime, at, want string) {
	s.Helper()
	data, err := s.copyOut(rt, at)
	if want == "" {
		if !errors.Is(err, drivers.ErrNotFound) {
			s.Errorf("%s: %v, want that it is not found", at, err)
		}
		return
	}
	if err != nil {
		s.Errorf("%s: %v", at, err)
		return
	}
	if got := s.contents(data)[path.Base(at)].data; got != want {
		s.Errorf("%s holds %.40q (%d bytes), want %.40q (%d)", at, got, len(got), want, len(want))
	}
}

func copyCarriesTrees(s *suite) {
	s.need(drivers.CapabilityCopy)
	noise := make([]byte, 3<<20+17)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(noise)
	tree := []file{
		{"tree/", tar.TypeDir, 0o751, "", ""},
		{"tree/plain", tar.TypeReg, 0o640, "", "text\n"},
		{"tree/empty", tar.TypeReg, 0o644, "", ""},
		{"tree/program", tar.TypeReg, 0o755, "", "#!/bin/sh\n"},
		{"tree/big", tar.TypeReg, 0o600, "", string(noise)},
		{"tree/holes", tar.TypeReg, 0o600, "", "begin" + strings.Repeat("\x00", 1<<20) + "end"},
		{"tree/hard", tar.TypeLink, 0o640, "tree/plain", ""},
		{"tree/soft", tar.TypeSymlink, 0o777, "../elsewhere", ""},
		{"tree/none/", tar.TypeDir, 0o700, "", ""},
		{"tree/deep/", tar.TypeDir, 0o755, "", ""},
		{"tree/deep/" + strings.Repeat("n", 200), tar.TypeReg, 0o400, "", "a long name"},
		{"tree/deep/ñ \n", tar.TypeReg, 0o644, "", "an odd one"},
	}
	for state, rt := range s.bootedAndRunning() {
		at := "copied-" + string(state)
		if err := s.copyIn(rt, "/"+at, false, s.archive(tree...)); err != nil {
			s.Fatalf("copy in, %s: %v", state, err)
		}
		got, err := s.copyOut(rt, "/"+at)
		if err != nil {
			s.Fatalf("copy out, %s: %v", state, err)
		}
		want := s.contents(s.archive(tree...))
		have := s.contents(got)
		for name, w := range want {
			name = strings.Replace(name, "tree", at, 1)
			h, ok := have[name]
			if !ok || h.kind != w.kind || h.link != w.link || h.data != w.data || (w.kind != tar.TypeSymlink && h.mode != w.mode) {
				s.Errorf("%s, %s: there: %v; kind %q, mode %o, link %q, %d bytes; want %q, %o, %q, %d",
					state, name, ok, h.kind, h.mode, h.link, len(h.data), w.kind, w.mode, w.link, len(w.data))
			}
		}
		if len(have) != len(want) {
			s.Errorf("%s: %v came out, want %d", state, slices.Sorted(maps.Keys(have)), len(want))
		}
	}
}

// bootedAndRunning returns a runtime before and after the start of its container.
func (s *suite) bootedAndRunning() func(yield func(drivers.State, drivers.Runtime) bool) {
	return func(yield func(drivers.State, drivers.Runtime) bool) {
		rt := s.booted(forever)
		if !yield(drivers.StateBooted, rt) {
			return
		}
		if err := rt.StartProcess(s.ctx, s.opts.Container); err != nil {
			s.Fatalf("start: %v", err)
		}
		yield(drivers.StateRunning, rt)
	}
}

func copyGoesWhereAsked(s *suite) {
	s.need(drivers.CapabilityCopy)
	rt := s.running(forever)
	one := s.archive(file{"one", tar.TypeReg, 0o644, "", "1"})
	dir := s.archive(file{"dir/", tar.TypeDir, 0o755, "", ""}, file{"dir/in", tar.TypeReg, 0o644, "", "in"})
	inner := s.archive(file{"./", tar.TypeDir, 0o755, "", ""}, file{"./in", tar.TypeReg, 0o644, "", "inner"})
	for _, step := range []struct {
		dest    string
		unpack  bool
		data    []byte
		at      string
		want    string
		refused bool
	}{
		{"/place", false, dir, "/place/in", "in", false},        // becomes the place
		{"/place", false, dir, "/place/dir/in", "in", false},    // goes into it
		{"/place/", false, inner, "/place/in", "inner", false},  // only what is in it
		{"/place/two", false, one, "/place/two", "1", false},    // under the name given
		{"/place", false, one, "/place/one", "1", false},        // under its own
		{"/place/none/", false, one, "/place/none", "", true},   // no such directory
		{"/place/two/", false, one, "/place/one", "1", true},    // no directory
		{"/place/two", false, dir, "/place/two", "1", true},     // a file is no place for a directory
		{"/none/two", false, one, "/none", "", true},            // no parents are made
		{"/place", true, dir, "/place/dir/in", "in", false},     // as it is
		{"/place/absent", true, dir, "/place/absent", "", true}, // must be there
		{"place", false, one, "/place/one", "1", true},          // not absolute
		{"/place", false, s.archive(), "/place/one", "1", true}, // nothing in it
		{"/place", true, s.archive(), "/place/one", "1", false}, // nothing to do
		{"/place", true, []byte("no archive" + strings.Repeat("!", 600)), "/place/one", "1", true},
	} {
		err := s.copyIn(rt, step.dest, step.unpack, step.data)
		if step.refused && !errors.Is(err, drivers.ErrInvalidArgument) && !errors.Is(err, drivers.ErrNotFound) || !step.refused && err != nil {
			s.Errorf("to %s: %v, want refused: %v", step.dest, err, step.refused)
		}
		s.wantFile(rt, step.at, step.want)
	}
	req := drivers.CopyInRequest{Container: s.opts.Container, Path: "/made/up/dir/name", Parents: true}
	if err := rt.CopyIn(s.ctx, req, bytes.NewReader(one)); err != nil {
		s.Errorf("with parents: %v", err)
	}
	s.wantFile(rt, "/made/up/dir/name", "1")
}

func copyStaysInside(s *suite) {
	s.need(drivers.CapabilityCopy)
	rt := s.running(forever)
	if err := s.copyIn(rt, "/box", false, s.archive(file{"box/", tar.TypeDir, 0o755, "", ""})); err != nil {
		s.Fatalf("copy in: %v", err)
	}
	for _, evil := range [][]file{
		{{"../evil", tar.TypeReg, 0o644, "", "evil"}},
		{{"a/../../evil", tar.TypeReg, 0o644, "", "evil"}},
		{{"abs", tar.TypeSymlink, 0o777, "/", ""}, {"abs/evil", tar.TypeReg, 0o644, "", "evil"}},
		{{"up", tar.TypeSymlink, 0o777, "..", ""}, {"up/evil", tar.TypeReg, 0o644, "", "evil"}},
		{{"hard", tar.TypeLink, 0o644, "../bin/sh", ""}},
		{{strings.Repeat("x/", 3000) + "x", tar.TypeReg, 0o644, "", "evil"}},
		{{strings.Repeat("y", 300), tar.TypeReg, 0o644, "", "evil"}},
	} {
		if err := s.copyIn(rt, "/box", true, s.archive(evil...)); err == nil {
			s.Errorf("%.40q was unpacked", evil[len(evil)-1].name)
		}
		s.wantFile(rt, "/evil", "")
	}
}

func copyInterruptedLeavesNoHalfFile(s *suite) {
	s.need(drivers.CapabilityCopy)
	rt := s.running(forever)
	whole := s.archive(file{"f", tar.TypeReg, 0o644, "", strings.Repeat("new", 1<<20)})
	if err := s.copyIn(rt, "/old", false, s.archive(file{"old", tar.TypeReg, 0o644, "", "old"})); err != nil {
		s.Fatalf("copy in: %v", err)
	}
	for _, dest := range []string{"/fresh", "/old"} {
		req := drivers.CopyInRequest{Container: s.opts.Container, Path: dest}
		// The archive ends too soon.
		if err := rt.CopyIn(s.ctx, req, bytes.NewReader(whole[:1<<20])); !errors.Is(err, drivers.ErrInvalidArgument) {
			s.Errorf("to %s, cut short: %v, want an invalid argument", dest, err)
		}
		// It cannot be read any further.
		broken := errors.New("broken")
		if err := rt.CopyIn(s.ctx, req, io.MultiReader(bytes.NewReader(whole[:1<<20]), failing{broken})); !errors.Is(err, broken) {
			s.Errorf("to %s, from a broken reader: %v, want its error", dest, err)
		}
		// The caller gives up.
		ctx, cancel := context.WithCancel(s.ctx)
		given := io.MultiReader(bytes.NewReader(whole[:1<<20]), readerFunc(func([]byte) (int, error) {
			cancel()
			<-ctx.Done()
			return 0, ctx.Err()
		}))
		if err := rt.CopyIn(ctx, req, given); !errors.Is(err, context.Canceled) {
			s.Errorf("to %s, given up: %v, want that it is cancelled", dest, err)
		}
		cancel()
	}
	s.wantFile(rt, "/fresh", "")
	s.wantFile(rt, "/old", "old")
	// Nor is a reader that goes away a reason to hang.
	broken := errors.New("full")
	if err := rt.CopyOut(s.ctx, drivers.CopyOutRequest{Container: s.opts.Container, Path: "/old"}, failing{broken}); !errors.Is(err, broken) {
		s.Errorf("copy out to a broken writer: %v, want its error", err)
	}
	if err := s.copyIn(rt, "/old", false, whole); err != nil {
		s.Errorf("copy in after all that: %v", err)
	}
	s.wantFile(rt, "/old", strings.Repeat("new", 1<<20))
}

// failing can neither be read nor written.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error)  { return 0, f.err }
func (f failing) Write([]byte) (int, error) { return 0, f.err }

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// copies makes the calls that need a sandbox that is up, and not paused.
func (s *suite) copies(sb Sandbox) map[string]error {
	_, out := s.copyOut(sb.Runtime, "/")
	return map[string]error{
		"copy in":  s.copyIn(sb.Runtime, "/", true, s.archive()),
		"copy out": out,
	}
}

func copyNeedsUp(s *suite) {
	s.need(drivers.CapabilityCopy, drivers.CapabilitySnapshotDisk, drivers.CapabilityPause)
	sb := s.created(forever)
	rt := sb.Runtime
	snapshot := filepath.Join(sb.Request.Bundle, "refused")
	s.refused(drivers.StateCreated, s.copies(sb))
	s.refused(drivers.StateCreated, map[string]error{"snapshot": rt.SnapshotDisk(s.ctx, snapshot)})
	if err := errors.Join(rt.Bootstrap(s.ctx, sb.Request), rt.StartProcess(s.ctx, s.opts.Container)); err != nil {
		s.Fatalf("start: %v", err)
	}
	for _, missing := range []error{
		rt.CopyIn(s.ctx, drivers.CopyInRequest{Container: "nosuch", Path: "/"}, bytes.NewReader(s.archive())),
		rt.CopyOut(s.ctx, drivers.CopyOutRequest{Container: "nosuch", Path: "/"}, io.Discard),
		rt.CopyOut(s.ctx, drivers.CopyOutRequest{Container: s.opts.Container, Path: "/no/such/file"}, io.Discard),
	} {
		if !errors.Is(missing, drivers.ErrNotFound) {
			s.Errorf("what is not there: %v, want that it is not found", missing)
		}
	}
	if err := rt.Pause(s.ctx); err != nil {
		s.Fatalf("pause: %v", err)
	}
	s.refused(drivers.StatePaused, s.copies(sb))
	s.refused(drivers.StatePaused, map[string]error{"snapshot": rt.SnapshotDisk(s.ctx, snapshot)})
	if err := rt.Stop(s.ctx, drivers.StopOptions{}); err != nil {
		s.Fatalf("stop: %v", err)
	}
	s.refused(drivers.StateStopped, s.copies(sb))
	if _, err := os.Lstat(snapshot); err == nil {
		s.Errorf("a refused snapshot left a file")
	}
}

func copySurvivesRestart(s *suite) {
	s.need(drivers.CapabilityCopy)
	rt := s.running("exit 0")
	s.wait(rt, s.opts.Container)
	if err := s.copyIn(rt, "/kept", false, s.archive(file{"kept", tar.TypeReg, 0o644, "", "kept"})); err != nil {
		s.Fatalf("copy into a container whose init process has exited: %v", err)
	}
	if err := rt.StartProcess(s.ctx, s.opts.Container); err != nil {
		s.Fatalf("start it again: %v", err)
	}
	s.wantFile(rt, "/kept", "kept")
}

func snapshotIsMadeOnce(s *suite) {
	s.need(drivers.CapabilitySnapshotDisk)
	sb := s.created(forever)
	rt := sb.Runtime
	if err := rt.Bootstrap(s.ctx, sb.Request); err != nil {
		s.Fatalf("bootstrap: %v", err)
	}
	take := func(state string) {
		at := filepath.Join(sb.Request.Bundle, "snapshot-"+state)
		if err := rt.SnapshotDisk(s.ctx, at); err != nil {
			s.Errorf("snapshot, %s: %v", state, err)
			return
		}
		info, err := os.Lstat(at)
		if err != nil || info.Mode().Perm() != 0o600 {
			s.Errorf("snapshot, %s: %v, %v; want a private file", state, info, err)
		}
		if err := rt.SnapshotDisk(s.ctx, at); !errors.Is(err, drivers.ErrInvalidArgument) {
			s.Errorf("snapshot over another, %s: %v, want an invalid argument", state, err)
		}
		if _, err := os.Lstat(at); err != nil {
			s.Errorf("the refused snapshot took the other along: %v", err)
		}
	}
	take("booted")
	if err := rt.StartProcess(s.ctx, s.opts.Container); err != nil {
		s.Fatalf("start: %v", err)
	}
	take("running")
	if err := rt.SnapshotDisk(s.ctx, "relative"); !errors.Is(err, drivers.ErrInvalidArgument) {
		s.Errorf("snapshot at a relative path: %v, want an invalid argument", err)
	}
	// The guest writes again.
	if err := s.copyIn(rt, "/after", false, s.archive(file{"after", tar.TypeReg, 0o644, "", "after"})); err != nil {
		s.Errorf("copy in after a snapshot: %v", err)
	}
	if err := rt.Stop(s.ctx, drivers.StopOptions{}); err != nil {
		s.Fatalf("stop: %v", err)
	}
	take("stopped")
}
