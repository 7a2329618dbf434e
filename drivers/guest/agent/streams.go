//go:build linux

package agent

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vzreconciler/vzreconciler/drivers"
)

const (
	// afterExit is how long output may stay away before it counts as ended, when
	// the process is gone but something it started keeps its streams open.
	afterExit = 200 * time.Millisecond
	// pipeBytes is what a pipe holds by default, and more than a terminal does.
	pipeBytes = 64 << 10

	endOfTransmission = 0x04 // what a terminal takes for the end of input
)

// streams are the two ends of a process's stdio: theirs go to the process,
// the others are copied from and to where the host wants them.
type streams struct {
	stdio  drivers.Stdio
	theirs [3]*os.File
	stdin  *os.File
	outs   []*os.File

	terminal *os.File
	copying  sync.WaitGroup
	exited   chan struct{}
}

// newStreams makes pipes; for a terminal, which the process's side makes, it
// opens nothing but /dev/null in its place.
func newStreams(stdio drivers.Stdio, terminal bool) (*streams, error) {
	s := &streams{stdio: stdio, exited: make(chan struct{})}
	if err := s.open(terminal); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *streams) open(terminal bool) (err error) {
	if terminal || s.stdio.Stdin == nil {
		s.theirs[0], err = os.Open(os.DevNull)
	} else {
		s.theirs[0], s.stdin, err = os.Pipe()
	}
	if err != nil {
		return err
	}
	for i := 1; i <= 2; i++ {
		if terminal {
			s.theirs[i], err = os.OpenFile(os.DevNull, os.O_WRONLY, 0)
		} else {
			var out *os.File
			if out, s.theirs[i], err = os.Pipe(); err == nil {
				s.outs = append(s.outs, out)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// started begins to copy, when the process has its ends. master is the other
// side of its terminal, if it has one.
func (s *streams) started(master *os.File) {
	s.closeTheirs()
	dst := []io.Writer{s.stdio.Stdout, s.stdio.Stderr}
	if master != nil {
		s.terminal, s.outs = master, []*os.File{master}
	}
	for i, out := range s.outs {
		s.copying.Go(func() { s.copyOut(dst[i], out) })
	}
	// Ends when the process does not read any more, or there is no more input:
	// close and the stream's end see to that.
	switch {
	case s.stdio.Stdin == nil:
	case master != nil:
		go func() {
			if _, err := io.Copy(writerOnly{master}, s.stdio.Stdin); err == nil {
				_, _ = master.Write([]byte{endOfTransmission})
			}
		}()
	default:
		stdin := s.stdin
		go func() {
			_, _ = io.Copy(writerOnly{stdin}, s.stdio.Stdin)
			stdin.Close()
		}()
	}
}

// writerOnly hides ReadFrom, which would try to splice.
type writerOnly struct{ io.Writer }

// copyOut copies output until its end, or, after the process's exit, until all
// of its own is out. Every write waits for the reader at the other end.
func (s *streams) copyOut(dst io.Writer, src *os.File) {
	buf := make([]byte, 32<<10)
	left := -1 // of what may be the process's own; unknown as long as it runs
	for left != 0 {
		over := s.over()
		if over {
			if left < 0 {
				left = capacity(src)
			}
			_ = src.SetReadDeadline(time.Now().Add(afterExit))
		}
		n, err := src.Read(buf)
		if n > 0 {
			if _, werr := dst.Write(buf[:n]); werr != nil {
				return
			}
		}
		switch {
		case err == nil && over:
			left = max(0, left-n)
		case err == nil:
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return // the end, which a terminal reports as an error
		case !over:
			<-s.exited // finish is interrupting this read
		case !readable(src):
			return // nothing for a while
		}
	}
}

// over reports whether the process has exited.
func (s *streams) over() bool {
	select {
	case <-s.exited:
		return true
	default:
		return false
	}
}

// capacity is how much a pipe or terminal can hold: all that may be left of the
// output of a process that has exited.
func capacity(f *os.File) int {
	size := pipeBytes
	control(f, func(fd int) {
		if n, err := unix.FcntlInt(uintptr(fd), unix.F_GETPIPE_SZ, 0); err == nil {
			size = n
		}
	})
	return size
}

// readable reports whether there is something to read. A read whose deadline
// has passed does not look.
func readable(f *os.File) bool {
	n := 0
	control(f, func(fd int) {
		n, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
	})
	return n > 0
}

func control(f *os.File, do func(fd int)) {
	if raw, err := f.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { do(int(fd)) })
	}
}

// finish waits for the rest of the output of a process that has exited.
func (s *streams) finish(ctx context.Context) {
	for _, out := range s.outs {
		_ = out.SetReadDeadline(time.Now())
	}
	close(s.exited)
	stop := context.AfterFunc(ctx, s.closeOuts)
	defer stop()
	s.copying.Wait()
}

func (s *streams) resize(size drivers.TerminalSize) {
	if s.terminal == nil {
		return
	}
	control(s.terminal, func(fd int) { _ = setSize(fd, size) })
}

func (s *streams) closeTheirs() {
	for i, f := range s.theirs {
		if f != nil {
			f.Close()
			s.theirs[i] = nil
		}
	}
}

func (s *streams) closeOuts() {
	for _, f := range s.outs {
		f.Close()
	}
}

// close closes all that is still open.
func (s *streams) close() {
	s.closeTheirs()
	s.closeOuts()
	if s.stdin != nil {
		s.stdin.Close()
	}
}
