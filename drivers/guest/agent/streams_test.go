//go:build linux

package agent

import (
	"bytes"
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// A process may exit with a full pipe behind it, while the host has yet to take
// what came before, and leave its streams open with somebody else.
func TestOutputOfAnExitedProcessIsWhole(t *testing.T) {
	for _, tt := range []struct {
		name     string
		pipe     int  // bytes, 0 for the default
		heldOpen bool // by something that the process started
	}{
		{name: "closed"},
		{name: "held open", heldOpen: true},
		{name: "big pipe held open", pipe: 256 << 10, heldOpen: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got bytes.Buffer
			taking, take := make(chan struct{}, 100), make(chan struct{})
			s, err := newStreams(drivers.Stdio{
				Stdout: writerFunc(func(p []byte) (int, error) {
					taking <- struct{}{}
					<-take
					return got.Write(p)
				}),
				Stderr: &bytes.Buffer{},
			}, false)
			if err != nil {
				t.Fatal(err)
			}
			defer s.close()
			fd, err := unix.Dup(int(s.theirs[1].Fd()))
			if err != nil {
				t.Fatal(err)
			}
			process := os.NewFile(uintptr(fd), "stdout")
			defer process.Close()
			size := pipeBytes
			if tt.pipe > 0 {
				if size, err = unix.FcntlInt(process.Fd(), unix.F_SETPIPE_SZ, tt.pipe); err != nil {
					t.Fatal(err)
				}
			}

			s.started(nil)
			first := bytes.Repeat([]byte("a"), 32<<10)
			if _, err := process.Write(first); err != nil {
				t.Fatal(err)
			}
			<-taking
			rest := bytes.Repeat([]byte("b"), size)
			if _, err := process.Write(rest); err != nil {
				t.Fatal(err)
			}
			if !tt.heldOpen {
				process.Close()
			}
			finished := make(chan struct{})
			go func() {
				defer close(finished)
				s.finish(t.Context())
			}()
			<-s.exited
			close(take)
			select {
			case <-finished:
			case <-time.After(10 * time.Second):
				t.Fatal("the output does not end")
			}
			if want := slices.Concat(first, rest); !bytes.Equal(got.Bytes(), want) {
				t.Errorf("%d bytes of %d, the same: false", got.Len(), len(want))
			}
		})
	}
}
