//go:build linux

package agent

import (
	"bytes"
	"errors"
	"io"
	"os"
	"testing"
	"testing/iotest"
)

func portPipe(t *testing.T) (reading, writing *port) {
	t.Helper()
	r, w, err := os.Pipe() // like the port, neither end blocks
	if err != nil {
		t.Fatal(err)
	}
	ends := make([]*port, 2)
	for i, f := range []*os.File{r, w} {
		if ends[i], err = newPort(f); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
	}
	return ends[0], ends[1]
}

func TestPortCarriesMoreThanItHolds(t *testing.T) {
	r, w := portPipe(t)
	want := bytes.Repeat([]byte("0123456789"), 100_000)
	go func() {
		if n, err := w.Write(want); n != len(want) || err != nil {
			t.Errorf("wrote %d of %d: %v", n, len(want), err)
		}
		w.Close()
	}()
	if err := iotest.TestReader(r, want); err != nil {
		t.Error(err)
	}
}

func TestPortReadsWhatThereIs(t *testing.T) {
	r, w := portPipe(t)
	for _, part := range []string{"one", "two"} {
		if _, err := w.Write([]byte(part)); err != nil {
			t.Fatal(err)
		}
	}
	buf := make([]byte, 100)
	if n, err := r.Read(buf); string(buf[:n]) != "onetwo" || err != nil {
		t.Errorf("read %q, %v", buf[:n], err)
	}
	// The end comes after what was sent before it, and stays.
	if _, err := w.Write([]byte("three")); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if n, err := r.Read(buf); string(buf[:n]) != "three" || err != nil {
		t.Errorf("read %q, %v", buf[:n], err)
	}
	for range 2 {
		if n, err := r.Read(buf); n != 0 || !errors.Is(err, io.EOF) {
			t.Errorf("at the end: %d, %v", n, err)
		}
	}
}

func TestClosingAPortEndsWhatWaits(t *testing.T) {
	r, w := portPipe(t)
	ended := make(chan error, 2)
	go func() {
		_, err := r.Read(make([]byte, 1))
		ended <- err
	}()
	r.Close()
	if err := <-ended; err == nil {
		t.Error("a read of what is closed succeeded")
	}
	if _, err := w.Write([]byte("x")); err == nil {
		t.Error("a write to nobody succeeded")
	}
}
