package crilog

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// entries returns "stream tag text" of each entry in the files, oldest first.
func entries(t *testing.T, path string) []string {
	t.Helper()
	var out []string
	err := Read(t.Context(), path, ReadOptions{Tail: -1}, func(line []byte) error {
		l, err := ParseLine(line)
		if err != nil {
			return fmt.Errorf("%q: %w", line, err)
		}
		tag := "F"
		if l.Partial {
			tag = "P"
		}
		out = append(out, l.Stream+" "+tag+" "+string(l.Text))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func newLog(t *testing.T, opts Options) (*Writer, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "web.log")
	w, err := NewWriter(path, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	return w, path
}

func write(t *testing.T, w io.Writer, s string) {
	t.Helper()
	if n, err := io.WriteString(w, s); n != len(s) || err != nil {
		t.Fatalf("Write: %d, %v, want %d, nil", n, err, len(s))
	}
}

func TestOutputIsSplitIntoEntries(t *testing.T) {
	long := strings.Repeat("x", maxText)
	tests := []struct {
		name   string
		writes []string
		want   []string
	}{
		{"lines", []string{"a\nb\n"}, []string{"stdout F a", "stdout F b"}},
		{"a line in pieces", []string{"a", "b", "c\nd", "\n"}, []string{"stdout F abc", "stdout F d"}},
		{"empty lines", []string{"\n\n"}, []string{"stdout F ", "stdout F "}},
		{"unfinished at the end", []string{"a\nb"}, []string{"stdout F a", "stdout P b"}},
		{"as long as can be", []string{long + "\n"}, []string{"stdout F " + long}},
		{"as long as can be, newline later", []string{long, "\n"}, []string{"stdout F " + long}},
		{"longer", []string{long + long + "y\n"}, []string{"stdout P " + long, "stdout P " + long, "stdout F y"}},
		{"longer in pieces", []string{long, "y", "\n"}, []string{"stdout P " + long, "stdout F y"}},
		{"nothing", []string{""}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w, path := newLog(t, Options{})
			for _, s := range tt.writes {
				write(t, w.Stream(Stdout), s)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			if got := entries(t, path); fmt.Sprintf("%q", got) != fmt.Sprintf("%q", tt.want) {
				t.Errorf("got %.200q, want %.200q", got, tt.want)
			}
		})
	}
}

func TestStreamsDoNotMixWithinALine(t *testing.T) {
	w, path := newLog(t, Options{})
	write(t, w.Stream(Stdout), "out")
	write(t, w.Stream(Stderr), "err\n")
	write(t, w.Stream(Stdout), "put\n")
	want := []string{"stderr F err", "stdout F output"}
	if got := entries(t, path); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestWriteAfterCloseFails(t *testing.T) {
	w, _ := newLog(t, Options{})
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Stream(Stdout).Write([]byte("x\n")); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("got %v, want ErrClosed", err)
	}
	if err := w.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

func TestLogIsPrivateAndAppendedTo(t *testing.T) {
	w, path := newLog(t, Options{})
	write(t, w.Stream(Stdout), "first\n")
	_ = w.Close()
	w, err := NewWriter(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	write(t, w.Stream(Stdout), "second\n")
	_ = w.Close()
	if got := entries(t, path); fmt.Sprint(got) != "[stdout F first stdout F second]" {
		t.Errorf("got %q", got)
	}
	fi, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if fi.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, want 0600", fi.Mode().Perm())
	}
}

func TestTornEntryOfACrashSpoilsNoOther(t *testing.T) {
	path := filepath.Join(t.TempDir(), "web.log")
	if err := os.WriteFile(path, []byte("2026-11-23T17:51:18.123456789Z stdout F cut sho"), 0o600); err != nil {
		t.Fatal(err)
	}
	w, err := NewWriter(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	write(t, w.Stream(Stdout), "next\n")
	_ = w.Close()
	if got := entries(t, path); fmt.Sprint(got) != "[stdout F cut sho stdout F next]" {
		t.Errorf("got %q", got)
	}
}

func TestLogThatIsNoFileIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := NewWriter(path, Options{}); err == nil {
		t.Error("a named pipe was opened as a log")
	}
}

func TestRotationLosesNoLine(t *testing.T) {
	const lines = 1000
	w, path := newLog(t, Options{MaxBytes: 4 << 10, Backups: 100})
	var wg sync.WaitGroup
	for _, name := range []string{Stdout, Stderr} {
		wg.Go(func() {
			for i := range lines {
				fmt.Fprintf(w.Stream(name), "%d\n", i)
			}
		})
	}
	wg.Wait()
	_ = w.Close()
	next := map[string]int{}
	for _, e := range entries(t, path) {
		stream, n, _ := strings.Cut(e, " F ")
		if n != fmt.Sprint(next[stream]) {
			t.Fatalf("%s: have line %s, want %d", stream, n, next[stream])
		}
		next[stream]++
	}
	if next[Stdout] != lines || next[Stderr] != lines {
		t.Errorf("have %v lines, want %d each", next, lines)
	}
	files, _ := filepath.Glob(path + "*")
	if len(files) < 10 {
		t.Errorf("only %d files: was it rotated?", len(files))
	}
	for _, f := range files {
		if fi, err := os.Stat(f); err != nil || fi.Size() > 4<<10 {
			t.Errorf("%s is too big: %v, %v", f, fi.Size(), err)
		}
	}
}

func TestRotationKeepsSoManyBackups(t *testing.T) {
	for backups, want := range map[int]string{-1: "web.log", 0: "web.log web.log.1", 2: "web.log web.log.1 web.log.2"} {
		w, path := newLog(t, Options{MaxBytes: 100, Backups: backups})
		for i := range 50 {
			fmt.Fprintf(w.Stream(Stdout), "%d\n", i)
		}
		_ = w.Close()
		files, _ := filepath.Glob(filepath.Dir(path) + "/*")
		for i := range files {
			files[i] = filepath.Base(files[i])
		}
		if got := strings.Join(files, " "); got != want {
			t.Errorf("Backups %d: have %q, want %q", backups, got, want)
		}
		if got := entries(t, path); got[len(got)-1] != "stdout F 49" {
			t.Errorf("Backups %d: last entry %q", backups, got[len(got)-1])
		}
	}
}

// fullDisk is a disk with so much room.
type fullDisk struct {
	mu   sync.Mutex
	room int
	// stuck disks cannot even take back what was half written.
	stuck bool
}

type fullDiskFile struct {
	*os.File
	disk *fullDisk
}

func (d *fullDisk) open(path string, flag int) (file, error) {
	f, err := os.OpenFile(path, flag, fileMode)
	return &fullDiskFile{f, d}, err
}

func (d *fullDisk) setRoom(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.room = n
}

func (f *fullDiskFile) Write(p []byte) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	n, err := f.File.Write(p[:min(len(p), f.disk.room)])
	f.disk.room -= n
	if err == nil && n < len(p) {
		err = &fs.PathError{Op: "write", Path: f.Name(), Err: syscall.ENOSPC}
	}
	return n, err
}

func (f *fullDiskFile) Truncate(size int64) error {
	if f.disk.stuck {
		return syscall.EIO
	}
	return f.File.Truncate(size)
}

func TestFullDiskDropsLinesAndSaysSo(t *testing.T) {
	for _, stuck := range []bool{false, true} {
		t.Run(fmt.Sprintf("stuck=%t", stuck), func(t *testing.T) {
			disk := &fullDisk{room: 150, stuck: stuck}
			path := filepath.Join(t.TempDir(), "web.log")
			w, err := newWriter(path, Options{}, disk.open)
			if err != nil {
				t.Fatal(err)
			}
			for i := range 10 { // of 42 bytes each
				write(t, w.Stream(Stdout), fmt.Sprintf("%d\n", i))
			}
			disk.setRoom(1 << 20)
			write(t, w.Stream(Stdout), "after\n")
			_ = w.Close()
			var got []string
			for _, e := range lines(t, path) {
				if l, err := ParseLine([]byte(e)); err == nil {
					got = append(got, string(l.Text))
				}
			}
			want := "0 1 2 vzreconciler: 7 lines of this log were lost: no space left on device after"
			if !stuck && strings.Join(got, " ") != want {
				t.Errorf("got %q, want %q", got, want)
			}
			if last := got[len(got)-1]; last != "after" {
				t.Errorf("the torn entry spoiled the next: %q", got)
			}
		})
	}
}

func lines(t *testing.T, path string) []string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
}

func TestLogThatCannotBeRotatedStaysBounded(t *testing.T) {
	const most = 4 << 10
	dir := t.TempDir()
	path := filepath.Join(dir, "web.log")
	refuse := func(path string, flag int) (file, error) {
		if strings.HasSuffix(path, ".new") {
			return nil, &fs.PathError{Op: "open", Path: path, Err: syscall.ENOSPC}
		}
		return openFile(path, flag)
	}
	w, err := newWriter(path, Options{MaxBytes: most}, refuse)
	if err != nil {
		t.Fatal(err)
	}
	for range 10_000 {
		write(t, w.Stream(Stdout), "a line of some length, over and over again\n")
	}
	_ = w.Close()
	fi, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if fi.Size() > most+2*maxBatch {
		t.Errorf("the log grew to %d bytes", fi.Size())
	}
}

func BenchmarkWriter(b *testing.B) {
	w, err := NewWriter(filepath.Join(b.TempDir(), "web.log"), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer w.Close()
	chunk := []byte(strings.Repeat(strings.Repeat("x", 99)+"\n", 320)) // 32 KB
	b.SetBytes(int64(len(chunk)))
	for b.Loop() {
		if _, err := w.Stream(Stdout).Write(chunk); err != nil {
			b.Fatal(err)
		}
	}
}

func FuzzWriter(f *testing.F) {
	f.Add([]byte("a\nb"), uint16(1), uint16(100))
	f.Add([]byte(strings.Repeat("x", 20_000)+"\n\n"), uint16(7000), uint16(0))
	f.Fuzz(func(t *testing.T, data []byte, chunk, most uint16) {
		path := filepath.Join(t.TempDir(), "web.log")
		w, err := NewWriter(path, Options{MaxBytes: int64(most) + 1, Backups: maxChain})
		if err != nil {
			t.Fatal(err)
		}
		for rest := data; len(rest) > 0; {
			n := min(len(rest), int(chunk)+1)
			write(t, w.Stream(Stderr), string(rest[:n]))
			rest = rest[n:]
		}
		_ = w.Close()
		if files, _ := filepath.Glob(path + ".*"); len(files) >= maxChain-1 {
			return // older ones were dropped, as they should be
		}
		// Put together again, the entries are what was written.
		var back strings.Builder
		for _, e := range entries(t, path) {
			text := e[len("stderr F "):]
			back.WriteString(text)
			if strings.HasPrefix(e, "stderr F") {
				back.WriteByte('\n')
			}
		}
		if back.String() != string(data) {
			t.Fatalf("%.100q became %.100q", data, back.String())
		}
	})
}
