package vz

import (
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// newTestNetwork returns a network and the device's end of it, as the framework
// has it.
func newTestNetwork(t *testing.T) (path string, device net.Conn) {
	t.Helper()
	dir, err := os.MkdirTemp("", "vzn") //nolint:usetesting // short, for sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path = filepath.Join(dir, "net0")
	n, err := newNetwork(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		n.close()
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the socket is left behind: %v", err)
		}
	})
	if device, err = net.FileConn(n.device); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { device.Close() })
	return path, device
}

func plugIn(t *testing.T, path string) net.Conn {
	t.Helper()
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return c
}

func framed(frame string) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(frame))), frame...)
}

// wantFrame sends from the device until the switch gets it: before it is served,
// frames are lost.
func wantFrame(t *testing.T, device, sw net.Conn, frame string) {
	t.Helper()
	got := make(chan error, 1)
	go func() {
		want := framed(frame)
		buf := make([]byte, len(want))
		_, err := io.ReadFull(sw, buf)
		if err == nil && string(buf) != string(want) {
			err = errors.New("another frame came")
		}
		got <- err
	}()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for {
		if _, err := device.Write([]byte(frame)); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-got:
			if err != nil {
				t.Fatal(err)
			}
			return
		case <-again.C:
		}
	}
}

func TestFramesGoBothWaysAndKeepTheirBounds(t *testing.T) {
	path, device := newTestNetwork(t)
	sw := plugIn(t, path)
	wantFrame(t, device, sw, strings.Repeat("ping", 1000))

	frames := []string{"a", strings.Repeat("b", maxFrame), "c"}
	go func() {
		for _, f := range frames {
			for _, b := range framed(f)[:lengthBytes] { // in as small pieces as there are
				_, _ = sw.Write([]byte{b})
			}
			_, _ = io.WriteString(sw, f)
		}
	}()
	buf := make([]byte, maxFrame+1)
	for _, want := range frames {
		n, err := device.Read(buf)
		if err != nil || string(buf[:n]) != want {
			t.Fatalf("a frame of %d bytes, %v, want one of %d", n, err, len(want))
		}
	}
}

func TestNextSwitchIsServedWhenOneIsGone(t *testing.T) {
	path, device := newTestNetwork(t)
	first := plugIn(t, path)
	wantFrame(t, device, first, "first")
	first.Close()
	wantFrame(t, device, plugIn(t, path), "second")
}

func TestSwitchThatSendsNoFramesIsLeft(t *testing.T) {
	path, device := newTestNetwork(t)
	bad := plugIn(t, path)
	if _, err := bad.Write([]byte{0xff, 0xff, 0xff, 0xff}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, bad); err != nil {
		t.Errorf("its connection ends with %v, want it closed", err)
	}
	wantFrame(t, device, plugIn(t, path), "good")
}
