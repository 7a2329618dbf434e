package channel

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
)

// A virtio-serial port carries bytes and nothing else: an end that (re)connects
// may find what was meant for its predecessor. So before anything else
//
//	host  → HELLO n    repeated, each with a nonce of its own, until
//	guest → ACK n      answers the latest; older ones are then all behind
//	host  → GO n       and both begin
//
// and each end drops every byte that comes before the frame it waits for.
// Nonces are random: what a container prints cannot pass for a frame.
const (
	kindHello byte = 'H'
	kindAck   byte = 'A'
	kindGo    byte = 'G'
)

// magic begins a frame. Its first byte is no valid yamux version, so that a
// HELLO ends a session that its guest believes is still going on.
const magic = "\xffvzr/1 "

const (
	nonceLen = 16
	// A checksum at the end keeps a frame that was cut short from swallowing the
	// one after it.
	frameLen = len(magic) + 1 + nonceLen + crc32.Size
)

// maxSkip is how much stale data is dropped in search of a frame: well above
// what the buffers between the two ends can hold.
const maxSkip = 64 << 20

var errNoFrame = errors.New("no handshake in what the other end sends")

type frame struct {
	kind  byte
	nonce [nonceLen]byte
}

func newFrame(kind byte) frame {
	f := frame{kind: kind}
	rand.Read(f.nonce[:]) // never fails, see its documentation
	return f
}

func (f frame) as(kind byte) frame {
	f.kind = kind
	return f
}

func (f frame) bytes() []byte {
	b := append([]byte(magic), f.kind)
	b = append(b, f.nonce[:]...)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
}

// scanner finds frames among other bytes.
type scanner struct {
	r       *bufio.Reader
	skipped int
	// heard says that anything came at all.
	heard bool
}

func newScanner(r io.Reader) *scanner {
	return &scanner{r: bufio.NewReaderSize(r, 4<<10)}
}

// next returns the next frame. After an error that is a timeout it can be
// called again and carries on where it was.
func (s *scanner) next() (frame, error) {
	for {
		b, err := s.r.Peek(frameLen)
		s.heard = s.heard || len(b) > 0
		if err != nil {
			return frame{}, err
		}
		if f, ok := parseFrame(b); ok {
			_, err := s.r.Discard(frameLen)
			return f, err
		}
		n := 1 + bytes.IndexByte(b[1:], magic[0])
		if n == 0 {
			n = frameLen
		}
		if s.skipped += n; s.skipped > maxSkip {
			return frame{}, errNoFrame
		}
		if _, err := s.r.Discard(n); err != nil {
			return frame{}, err
		}
	}
}

// parseFrame reads the frame that b, of frameLen bytes, holds.
func parseFrame(b []byte) (frame, bool) {
	if len(b) != frameLen || !bytes.HasPrefix(b, []byte(magic)) {
		return frame{}, false
	}
	f := frame{kind: b[len(magic)], nonce: [nonceLen]byte(b[len(magic)+1:])}
	return f, bytes.Equal(b, f.bytes())
}
