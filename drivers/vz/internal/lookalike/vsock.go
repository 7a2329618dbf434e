package vz

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// See section 5.10 of the virtio specification.
const (
	hostCID  = 2
	guestCID = 3

	headerBytes = 44
	// packetBytes is how much of a stream is sent to the guest at once.
	packetBytes = 64 << 10
	// windowBytes is how much of a connection's is held here before it is read.
	windowBytes = 256 << 10

	typeStream = 1

	opRequest       = 1
	opResponse      = 2
	opReset         = 3
	opShutdown      = 4
	opData          = 5
	opCreditUpdate  = 6
	opCreditRequest = 7

	shutdownBoth = 3
	shutdownSend = 2

	receiveQueue  = 0 // as the guest sees it
	transmitQueue = 1
)

// VirtioSocketDevice is the host's end of the guest's vsock.
type VirtioSocketDevice struct {
	conn net.Conn // to QEMU
	// port, if not empty, is the socket of what takes the device's place: see
	// channel.go.
	port string

	mu      sync.Mutex
	memory  memory
	maps    [][]byte
	queues  [2]queue
	pending []packet           // for the guest
	streams map[uint32]*stream // by the host's port
	ports   uint32
	closed  bool
}

func serveVsock(conn net.Conn, port string) *VirtioSocketDevice {
	d := &VirtioSocketDevice{conn: conn, port: port, streams: map[uint32]*stream{}, ports: 1 << 20}
	go d.serve()
	return d
}

// close ends all connections.
func (d *VirtioSocketDevice) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	d.conn.Close()
	for _, s := range d.streams {
		s.reset(io.ErrUnexpectedEOF)
	}
	for i := range d.queues {
		d.queues[i].stop()
	}
	d.unmap()
}

func (d *VirtioSocketDevice) unmap() {
	for _, m := range d.maps {
		_ = syscall.Munmap(m)
	}
	d.maps, d.memory = nil, nil
	for i := range d.queues {
		d.queues[i].descs = nil
	}
}

// stream is a connection.
type stream struct {
	d           *VirtioSocketDevice
	local, peer uint32 // ports
	conn        net.Conn
	connected   chan error

	// Of the device's mu.
	change       *sync.Cond
	sent         uint32   // bytes to the guest
	peerAlloc    uint32   // what the guest has room for, and
	peerTaken    uint32   // what it has taken of what was sent
	inbox        [][]byte // from the guest
	taken, told  uint32   // bytes of it that were read here, and that the guest knows of
	peerFinished bool     // the guest sends no more
	over         bool
}

// Connect connects to a port of the guest's.
func (v *VirtioSocketDevice) Connect(port uint32) (*VirtioSocketConnection, error) {
	if v.port != "" {
		conn, err := net.Dial("unix", "@"+v.port)
		return &VirtioSocketConnection{conn}, err
	}
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	ends := make([]net.Conn, 2)
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "vsock")
		ends[i], err = net.FileConn(f)
		f.Close()
		if err != nil {
			return nil, err
		}
	}
	v.mu.Lock()
	if v.closed {
		v.mu.Unlock()
		closeAll(ends)
		return nil, net.ErrClosed
	}
	v.ports++
	s := &stream{d: v, local: v.ports, peer: port, conn: ends[0], connected: make(chan error, 1), change: sync.NewCond(&v.mu)}
	v.streams[s.local] = s
	v.send(s, opRequest, 0, nil)
	v.mu.Unlock()
	if err := <-s.connected; err != nil {
		closeAll(ends)
		return nil, fmt.Errorf("connect to port %d: %w", port, err)
	}
	go s.toGuest()
	go s.fromGuest()
	return &VirtioSocketConnection{ends[1]}, nil
}

// work takes what the guest has sent and gives it what waits for it.
func (d *VirtioSocketDevice) work() {
	if err := errors.Join(d.transmit(), d.flush()); err != nil {
		fmt.Fprintln(os.Stderr, "vsock:", err)
	}
}

// transmit takes packets from the guest.
func (d *VirtioSocketDevice) transmit() error {
	q := &d.queues[transmitQueue]
	if !q.ready() {
		return nil
	}
	took := false
	for {
		c, ok, err := q.take(d.memory)
		if err != nil || !ok {
			if took {
				q.notify()
			}
			return err
		}
		took = true
		var packet []byte
		for _, part := range c.readable {
			packet = append(packet, part...)
		}
		q.give(c, 0)
		if len(packet) >= headerBytes {
			d.receivePacket(packet)
		}
	}
}

// flush gives packets to the guest as long as it has buffers for them.
func (d *VirtioSocketDevice) flush() error {
	q := &d.queues[receiveQueue]
	if !q.ready() {
		return nil
	}
	gave := false
	for len(d.pending) > 0 {
		c, ok, err := q.take(d.memory)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		packet, err := d.pending[0].next(c.room())
		if err != nil {
			return err
		}
		n := 0
		for _, part := range c.writable {
			n += copy(part, packet[n:])
		}
		q.give(c, n)
		gave = true
		if len(d.pending[0].data) == 0 {
			d.pending = d.pending[1:]
		}
	}
	if gave {
		q.notify()
	}
	return nil
}

// packet is one for the guest. Its data may take several buffers, whose size is the
// guest's to choose: kernels differ, and change it in their updates.
type packet struct{ header, data []byte }

// next takes off what fits a buffer.
func (p *packet) next(room int) ([]byte, error) {
	n := min(len(p.data), room-headerBytes)
	if n < 0 || n == 0 && len(p.data) > 0 {
		return nil, fmt.Errorf("a buffer of %d bytes, less than any packet", room)
	}
	binary.LittleEndian.PutUint32(p.header[24:], uint32(n))
	first := append(p.header[:headerBytes:headerBytes], p.data[:n]...)
	p.data = p.data[n:]
	return first, nil
}

// send queues a packet for the guest. The caller holds mu.
func (d *VirtioSocketDevice) send(s *stream, op uint16, flags uint32, data []byte) {
	d.pending = append(d.pending, newPacket(s.local, s.peer, op, flags, s.taken, data))
	s.told = s.taken
	_ = d.flush() // what is wrong shows at the next work
}

func newPacket(local, peer uint32, op uint16, flags, taken uint32, data []byte) packet {
	le := binary.LittleEndian
	p := le.AppendUint64(make([]byte, 0, headerBytes), hostCID)
	p = le.AppendUint64(p, guestCID)
	p = le.AppendUint32(p, local)
	p = le.AppendUint32(p, peer)
	p = le.AppendUint32(p, 0) // the length, see next
	p = le.AppendUint16(p, typeStream)
	p = le.AppendUint16(p, op)
	p = le.AppendUint32(p, flags)
	p = le.AppendUint32(p, windowBytes)
	p = le.AppendUint32(p, taken)
	return packet{header: p, data: append([]byte(nil), data...)}
}

// receivePacket handles one packet of the guest's. The caller holds mu.
func (d *VirtioSocketDevice) receivePacket(p []byte) {
	le := binary.LittleEndian
	from, to, op := le.Uint32(p[16:]), le.Uint32(p[20:]), le.Uint16(p[30:])
	s := d.streams[to]
	if s == nil || s.peer != from {
		if op != opReset {
			d.pending = append(d.pending, newPacket(to, from, opReset, 0, 0, nil))
		}
		return
	}
	s.peerAlloc, s.peerTaken = le.Uint32(p[36:]), le.Uint32(p[40:])
	switch op {
	case opResponse:
		s.connected <- nil
	case opReset:
		s.reset(syscall.ECONNRESET)
	case opShutdown:
		flags := le.Uint32(p[32:])
		s.peerFinished = s.peerFinished || flags&shutdownSend != 0
		if flags == shutdownBoth {
			d.send(s, opReset, 0, nil)
			s.over = true
			delete(d.streams, s.local)
		}
	case opData:
		n := min(int(le.Uint32(p[24:])), len(p)-headerBytes)
		s.inbox = append(s.inbox, p[headerBytes:headerBytes+n])
	case opCreditRequest:
		d.send(s, opCreditUpdate, 0, nil)
	}
	s.change.Broadcast()
}

// reset ends a stream at once. The caller holds mu.
func (s *stream) reset(cause error) {
	select {
	case s.connected <- cause:
	default:
	}
	s.over, s.peerFinished = true, true
	s.conn.Close()
	delete(s.d.streams, s.local)
	s.change.Broadcast()
}

// toGuest sends what the host's user writes, as the guest has room.
func (s *stream) toGuest() {
	buf := make([]byte, packetBytes)
	for {
		s.d.mu.Lock()
		for !s.over && s.room() == 0 {
			s.change.Wait()
		}
		n, over := min(s.room(), packetBytes), s.over
		s.d.mu.Unlock()
		if over {
			return
		}
		got, err := s.conn.Read(buf[:n])
		s.d.mu.Lock()
		if got > 0 && !s.over {
			s.sent += uint32(got)
			s.d.send(s, opData, 0, buf[:got])
		}
		if err != nil && !s.over {
			s.d.send(s, opShutdown, shutdownBoth, nil)
			// The guest answers with a reset.
		}
		s.d.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (s *stream) room() int { return int(s.peerAlloc - (s.sent - s.peerTaken)) }

// fromGuest hands on what the guest sends.
func (s *stream) fromGuest() {
	defer s.conn.Close()
	for {
		s.d.mu.Lock()
		for len(s.inbox) == 0 && !s.peerFinished && !s.over {
			s.change.Wait()
		}
		if len(s.inbox) == 0 {
			s.d.mu.Unlock()
			return
		}
		data := s.inbox[0]
		s.inbox = s.inbox[1:]
		s.d.mu.Unlock()
		if _, err := s.conn.Write(data); err != nil {
			return
		}
		s.d.mu.Lock()
		s.taken += uint32(len(data))
		if s.taken-s.told > windowBytes/4 && !s.over {
			s.d.send(s, opCreditUpdate, 0, nil)
		}
		s.d.mu.Unlock()
	}
}

// VirtioSocketConnection is a connection to a port of the guest's.
type VirtioSocketConnection struct{ conn net.Conn }

// Read reads.
func (v *VirtioSocketConnection) Read(b []byte) (n int, err error) { return v.conn.Read(b) }

// Write writes.
func (v *VirtioSocketConnection) Write(b []byte) (n int, err error) { return v.conn.Write(b) }

// Close closes.
func (v *VirtioSocketConnection) Close() error { return v.conn.Close() }

// LocalAddr says nothing.
func (v *VirtioSocketConnection) LocalAddr() net.Addr { return v.conn.LocalAddr() }

// RemoteAddr says nothing.
func (v *VirtioSocketConnection) RemoteAddr() net.Addr { return v.conn.RemoteAddr() }

// SetDeadline bounds reads and writes.
func (v *VirtioSocketConnection) SetDeadline(t time.Time) error { return v.conn.SetDeadline(t) }

// SetReadDeadline bounds reads.
func (v *VirtioSocketConnection) SetReadDeadline(t time.Time) error { return v.conn.SetReadDeadline(t) }

// SetWriteDeadline bounds writes.
func (v *VirtioSocketConnection) SetWriteDeadline(t time.Time) error {
	return v.conn.SetWriteDeadline(t)
}
