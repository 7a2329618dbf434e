package crilog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// read returns the texts that Read sends.
func read(t *testing.T, path string, opts ReadOptions) []string {
	t.Helper()
	var out []string
	err := Read(t.Context(), path, opts, func(line []byte) error {
		out = append(out, text(line))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func text(line []byte) string {
	if l, err := ParseLine(line); err == nil {
		return string(l.Text)
	}
	return strings.TrimSuffix(string(line), "\n")
}

func writeFile(t *testing.T, path, data string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
}

// stamped returns an entry at so many seconds.
func stamped(second int, text string) string {
	at := time.Date(2026, 11, 23, 12, 0, second, 0, time.UTC)
	return string(Line{Time: at, Stream: Stdout, Text: []byte(text)}.Append(nil))
}

func TestReadChoosesEntries(t *testing.T) {
	path := filepath.Join(t.TempDir(), "web.log")
	writeFile(t, path+".2", stamped(1, "a")+stamped(2, "b"))
	writeFile(t, path+".1", stamped(3, "c")+stamped(4, "d")+stamped(5, "e"))
	writeFile(t, path, stamped(6, "f")+"no entry\n"+stamped(8, "g")+"torn")
	at := func(second int) time.Time { return time.Date(2026, 11, 23, 12, 0, second, 0, time.UTC) }
	tests := []struct {
		name string
		opts ReadOptions
		want string
	}{
		{"all", ReadOptions{Tail: -1}, "a b c d e f no entry g"},
		{"none", ReadOptions{Tail: 0}, ""},
		{"the last", ReadOptions{Tail: 1}, "g"},
		{"the newest file", ReadOptions{Tail: 3}, "f no entry g"},
		{"part of an older file", ReadOptions{Tail: 4}, "e f no entry g"},
		{"all of two files", ReadOptions{Tail: 6}, "c d e f no entry g"},
		{"part of the oldest", ReadOptions{Tail: 7}, "b c d e f no entry g"},
		{"more than there are", ReadOptions{Tail: 100}, "a b c d e f no entry g"},
		{"since", ReadOptions{Tail: -1, Since: at(5)}, "e f no entry g"},
		{"since, and the text after it", ReadOptions{Tail: -1, Since: at(7)}, "g"},
		{"since later than all", ReadOptions{Tail: -1, Since: at(59)}, ""},
		{"until", ReadOptions{Tail: -1, Until: at(4)}, "a b c"},
		{"until, and the text after it", ReadOptions{Tail: -1, Until: at(8)}, "a b c d e f no entry"},
		{"a part in the middle, in two files", ReadOptions{Tail: -1, Since: at(2), Until: at(4)}, "b c"},
		{"the last of a part", ReadOptions{Tail: 1, Since: at(2), Until: at(4)}, "c"},
		{"none of a part", ReadOptions{Tail: 0, Since: at(2), Until: at(4)}, ""},
		{"more than a part has", ReadOptions{Tail: 9, Since: at(2), Until: at(4)}, "b c"},
		{"since and tail", ReadOptions{Tail: 2, Since: at(1)}, "no entry g"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := strings.Join(read(t, path, tt.opts), " "); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestReadOfAMissingLogSaysSo(t *testing.T) {
	err := Read(t.Context(), filepath.Join(t.TempDir(), "none.log"), ReadOptions{Tail: -1}, nil)
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want ErrNotExist", err)
	}
}

func TestReadStopsAtTheErrorOfSend(t *testing.T) {
	path := filepath.Join(t.TempDir(), "web.log")
	writeFile(t, path, "a\nb\n")
	gone := errors.New("the reader left")
	calls := 0
	err := Read(t.Context(), path, ReadOptions{Tail: -1}, func([]byte) error { calls++; return gone })
	if !errors.Is(err, gone) || calls != 1 {
		t.Errorf("got %v after %d calls", err, calls)
	}
}

func TestHugeLineComesInPieces(t *testing.T) {
	path := filepath.Join(t.TempDir(), "console.log")
	huge := strings.Repeat("x", 3*maxEntry+10)
	writeFile(t, path, "before\n"+huge+"\nafter\n")
	var b strings.Builder
	err := Read(t.Context(), path, ReadOptions{Tail: -1}, func(line []byte) error {
		if len(line) > maxEntry {
			t.Errorf("a piece of %d bytes", len(line))
		}
		b.Write(line)
		return nil
	})
	if err != nil || b.String() != "before\n"+huge+"\nafter\n" {
		t.Errorf("got %d bytes, %v", b.Len(), err)
	}
}

func TestTailAgreesWithCounting(t *testing.T) {
	var all []string
	var data strings.Builder
	for i := range 5000 { // several blocks
		all = append(all, strings.Repeat("y", i%97)+fmt.Sprint(i))
		data.WriteString(all[i] + "\n")
	}
	path := filepath.Join(t.TempDir(), "web.log")
	writeFile(t, path, data.String())
	for _, n := range []int{0, 1, 2, 999, 1000, 4998, 4999, 5000, 5001} {
		got := read(t, path, ReadOptions{Tail: int64(n)})
		want := all[max(0, len(all)-n):]
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("tail %d: got %d lines, want %d", n, len(got), len(want))
		}
	}
}

// following runs Read with Follow and returns a function that waits for the next text.
func following(t *testing.T, path string, opts ReadOptions) (next func() string) {
	t.Helper()
	opts.Follow = true
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	texts, done := make(chan string, 10_000), make(chan error, 1)
	go func() {
		done <- Read(ctx, path, opts, func(line []byte) error {
			texts <- text(line)
			return nil
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Read ended with %v", err)
		}
	})
	return func() string {
		t.Helper()
		select {
		case s := <-texts:
			return s
		case <-ctx.Done():
			t.Fatal("no entry came")
			return ""
		}
	}
}

func TestFollowSeesEachLineAcrossRotations(t *testing.T) {
	const lines = 3000
	w, path := newLog(t, Options{MaxBytes: 16 << 10, Backups: 50})
	fmt.Fprintln(w.Stream(Stdout), 0)
	next := following(t, path, ReadOptions{Tail: -1})
	go func() {
		for i := 1; i < lines; i++ {
			fmt.Fprintln(w.Stream(Stdout), i)
		}
	}()
	for i := range lines {
		if got := next(); got != fmt.Sprint(i) {
			t.Fatalf("got line %s, want %d", got, i)
		}
	}
}

func TestFollowWaitsForTheLogAndItsDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "sandboxes", "default", "web", "logs")
	path := filepath.Join(dir, "web.log")
	next := following(t, path, ReadOptions{Tail: -1})
	for range 2 { // and once more after all was removed
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		w, err := NewWriter(path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		write(t, w.Stream(Stdout), "hello\n")
		if got := next(); got != "hello" {
			t.Fatalf("got %q", got)
		}
		write(t, w.Stream(Stdout), "again\n")
		if got := next(); got != "again" {
			t.Fatalf("got %q", got)
		}
		_ = w.Close()
		if err := os.RemoveAll(filepath.Dir(dir)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFollowBeginsAtTheTail(t *testing.T) {
	w, path := newLog(t, Options{})
	write(t, w.Stream(Stdout), "a\nb\nc\n")
	next := following(t, path, ReadOptions{Tail: 1})
	if got := next(); got != "c" {
		t.Fatalf("got %q, want c", got)
	}
	write(t, w.Stream(Stdout), "d\n")
	if got := next(); got != "d" {
		t.Errorf("got %q, want d", got)
	}
}

func TestFollowHoldsBackHalfAnEntry(t *testing.T) {
	path := filepath.Join(t.TempDir(), "web.log")
	writeFile(t, path, "first\nsec")
	next := following(t, path, ReadOptions{Tail: -1})
	if got := next(); got != "first" {
		t.Fatalf("got %q", got)
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString("ond\n"); err != nil {
		t.Fatal(err)
	}
	if got := next(); got != "second" {
		t.Errorf("got %q, want second", got)
	}
}

func TestFollowStartsOverInAnEmptiedLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "web.log")
	writeFile(t, path, "a long first line\n")
	next := following(t, path, ReadOptions{Tail: -1})
	next()
	writeFile(t, path, "b\n")
	if got := next(); got != "b" {
		t.Errorf("got %q, want b", got)
	}
}

func FuzzTail(f *testing.F) {
	f.Add("a\nb\nc\n", 2)
	f.Add("\n\n\n", 1)
	f.Add("torn", 1)
	f.Fuzz(func(t *testing.T, data string, n int) {
		if n < 0 || n > 1000 {
			return
		}
		whole := strings.SplitAfter(data, "\n")
		whole = whole[:len(whole)-1] // what is after the last newline
		want := strings.Join(whole[max(0, len(whole)-n):], "")
		off, found, err := tailOf(strings.NewReader(data), int64(len(data)), int64(n))
		if err != nil || found != int64(min(n, len(whole))) {
			t.Fatalf("found %d of %d, %v", found, len(whole), err)
		}
		got := data[off:]
		if i := strings.LastIndexByte(got, '\n'); found > 0 || i >= 0 {
			got = got[:i+1]
		} else {
			got = ""
		}
		if got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	})
}

func BenchmarkTailOfALargeLog(b *testing.B) {
	path := filepath.Join(b.TempDir(), "web.log")
	if err := os.WriteFile(path, []byte(strings.Repeat(stamped(1, strings.Repeat("x", 80)), 80_000)), 0o600); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := Read(b.Context(), path, ReadOptions{Tail: 100}, func([]byte) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}
