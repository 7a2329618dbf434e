package channel

import (
	"encoding/binary"
	"io"
)

// A write to the port costs the guest an exit to the hypervisor, whatever its
// size up to portWrite, which is the most that the kernel takes at a time. yamux
// writes each frame's header and body apart; here a header goes with the first
// of its body.

const (
	// portWrite is the most that one write to a virtio-serial port carries.
	portWrite = 32 << 10
	// headerBytes is the size of yamux's header: version, type, flags, stream and,
	// of a data frame, the length of the body that follows.
	headerBytes = 12
	typeData    = 0
	// grpcWrite is how much gRPC gathers, and so what a frame carries at the most:
	// several writes, as each frame goes through the hands of three goroutines. With
	// its header it fills them.
	grpcWrite = 4*portWrite - headerBytes
)

// frameWriter holds a data frame's header back until its body comes. It is used
// by one goroutine, as yamux does.
type frameWriter struct {
	io.WriteCloser
	buf []byte // begins with the header that is held back, if any is
}

func (w *frameWriter) Write(p []byte) (int, error) {
	if len(w.buf) == 0 {
		if len(p) != headerBytes || p[1] != typeData || binary.BigEndian.Uint32(p[8:]) == 0 {
			return w.WriteCloser.Write(p)
		}
		w.buf = append(w.buf, p...)
		return len(p), nil
	}
	held := len(w.buf)
	first := min(len(p), portWrite-held)
	w.buf = append(w.buf, p[:first]...)
	n, err := w.WriteCloser.Write(w.buf)
	w.buf = w.buf[:0]
	if err != nil || first == len(p) {
		return max(n-held, 0), err
	}
	n, err = w.WriteCloser.Write(p[first:])
	return first + n, err
}
