package crilog

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// killed copies a log and its position as they are, which is all that a writer
// leaves that is killed.
func killed(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		// Links keep the inodes, by which the position knows its file.
		if err := os.Link(filepath.Join(dir, e.Name()), filepath.Join(to, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return to
}

func openAt(t *testing.T, dir string, opts Options) *Writer {
	t.Helper()
	opts.PositionFile = filepath.Join(dir, "p")
	w, err := NewWriter(filepath.Join(dir, "log"), opts)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func put(t *testing.T, w *Writer, stream, text string) {
	t.Helper()
	if _, err := w.Stream(stream).Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

// texts returns what the log in dir says, streams apart.
func texts(t *testing.T, dir string) (out, err string) {
	t.Helper()
	var streams [2]strings.Builder
	rerr := Read(t.Context(), filepath.Join(dir, "log"), ReadOptions{Tail: -1}, func(line []byte) error {
		l, err := ParseLine(line)
		if err != nil {
			return err
		}
		b := &streams[0]
		if l.Stream == Stderr {
			b = &streams[1]
		}
		b.Write(l.Text)
		if !l.Partial {
			b.WriteByte('\n')
		}
		return nil
	})
	if rerr != nil {
		t.Fatal(rerr)
	}
	return streams[0].String(), streams[1].String()
}

func TestSuccessorOfAKilledWriterGoesOnAtTheByte(t *testing.T) {
	dir := t.TempDir()
	w := openAt(t, dir, Options{})
	if got := w.Begin(7); got != (Position{Run: 7}) {
		t.Fatalf("a new run begins at %+v", got)
	}
	put(t, w, Stdout, "one\ntwo\nthr")
	put(t, w, Stderr, "oh\n")
	after := killed(t, dir)

	next := openAt(t, after, Options{})
	pos := next.Begin(7)
	if want := (Position{Run: 7, Stdout: 8, Stderr: 3}); pos != want {
		t.Fatalf("the run goes on at %+v, want %+v: a line that has not ended is not kept", pos, want)
	}
	put(t, next, Stdout, "three\n")
	if err := next.Close(); err != nil {
		t.Fatal(err)
	}
	if out, err := texts(t, after); out != "one\ntwo\nthree\n" || err != "oh\n" {
		t.Errorf("log %q, %q", out, err)
	}
	again := openAt(t, after, Options{})
	defer again.Close()
	if got := again.Begin(8); got != (Position{Run: 8}) {
		t.Errorf("another run begins at %+v", got)
	}
}

func TestWhatWasWrittenAfterThePositionIsTakenBack(t *testing.T) {
	for _, rotated := range []bool{false, true} {
		t.Run(fmt.Sprintf("rotated %t", rotated), func(t *testing.T) {
			dir := t.TempDir()
			w := openAt(t, dir, Options{})
			w.Begin(1)
			put(t, w, Stdout, "one\n")
			mark, err := os.ReadFile(filepath.Join(dir, "p"))
			if err != nil {
				t.Fatal(err)
			}
			put(t, w, Stdout, "two\n")
			if rotated {
				w.mu.Lock()
				w.rotate()
				w.mu.Unlock()
				put(t, w, Stdout, "three\n")
			}
			// Killed between the log and the position: that is still the old one.
			if err := os.WriteFile(filepath.Join(dir, "p"), mark, 0o600); err != nil {
				t.Fatal(err)
			}
			after := killed(t, dir)
			next := openAt(t, after, Options{})
			if pos := next.Begin(1); pos.Stdout != 4 {
				t.Fatalf("the run goes on at %+v", pos)
			}
			put(t, next, Stdout, "two\nthree\nfour\n")
			next.Close()
			if out, _ := texts(t, after); out != "one\ntwo\nthree\nfour\n" {
				t.Errorf("log %q", out)
			}
		})
	}
}

func TestPositionOfAnotherLogIsNoHarm(t *testing.T) {
	dir := t.TempDir()
	w := openAt(t, dir, Options{})
	w.Begin(1)
	put(t, w, Stdout, "gone\n")
	w.Close()
	if err := os.Rename(filepath.Join(dir, "log"), filepath.Join(dir, "kept aside")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "log"), []byte("2026-11-23T17:51:18Z stdout F new\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	next := openAt(t, dir, Options{})
	defer next.Close()
	if out, _ := texts(t, dir); out != "new\n" {
		t.Errorf("log %q", out)
	}
}

func FuzzMark(f *testing.F) {
	f.Add([]byte{})
	f.Add(mark{Position{1, 2, 3}, 4, 5}.bytes())
	f.Add([]byte(markMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, ok := parseMark(b)
		if ok && !bytes.Equal(m.bytes(), b) {
			t.Errorf("%x is read as %+v", b, m)
		}
	})
}
