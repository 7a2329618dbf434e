package channel

import (
	"encoding/binary"
	"io"
)

// A write to the port costs the guest an exit to the hypervisor, whatever its
// size up to portWrite, which is the most that the kernel takes at a time. yamux
// writes each frame's header and body apart; here they go together.

const (
	// portWrite is the most that one write to a virtio-serial port carries.
	portWrite = 32 << 10
	// headerBytes is the size of yamux's header: version, type, flags, stream and,
	// of a data frame, the length of the body that follows.
	headerBytes = 12
	typeData    = 0
	// grpcWrite is how much gRPC gathers, so that a frame of it fills one write.
	grpcWrite = portWrite - headerBytes
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
	w.buf = append(w.buf, p...)
	n, err := w.WriteCloser.Write(w.buf)
	w.buf = w.buf[:0]
	return max(n-held, 0), err
}
