package vz

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxFrame is more than any frame has.
	maxFrame = 65535 + 14 + 4
	// lengthBytes come before each frame on a stream: its length, big endian.
	lengthBytes = 4
	// sendBuffer and receiveBuffer are, in bytes, what the framework's documentation
	// recommends for a device's socket.
	sendBuffer    = 1 << 20
	receiveBuffer = 4 << 20
	// fullTries is how often a frame is offered to a device that has no room, each
	// time after fullWait, before it is dropped.
	fullTries = 20
	fullWait  = 500 * time.Microsecond
)

// network joins a machine's network device to a switch. The framework's devices
// send and take each frame as a datagram; the switch comes to a stream socket, one
// at a time, where each frame comes after its length, as on other hypervisors.
type network struct {
	// device is the framework's end of the pair, frames ours.
	device   *os.File
	frames   net.Conn
	switches *net.UnixListener

	mu   sync.Mutex
	peer net.Conn // the switch that is there, if any

	done chan struct{} // closed by close
	ends sync.WaitGroup
}

// newNetwork listens at a path, which is free, until close.
func newNetwork(path string) (_ *network, err error) {
	n := &network{done: make(chan struct{})}
	defer func() {
		if err != nil {
			n.close()
			err = fmt.Errorf("make a network device: %w", err)
		}
	}()
	if n.device, n.frames, err = datagramPair(); err != nil {
		return nil, err
	}
	if n.switches, err = net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"}); err != nil {
		return nil, err
	}
	n.ends.Go(n.fromDevice)
	n.ends.Go(n.serve)
	return n, nil
}

// datagramPair returns both ends of a connected datagram socket.
func datagramPair() (*os.File, net.Conn, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
	if err != nil {
		return nil, nil, err
	}
	for _, fd := range fds {
		unix.CloseOnExec(fd)
		// The host may allow less, which costs speed only.
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, sendBuffer)
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
	}
	device, ours := os.NewFile(uintptr(fds[0]), "network device"), os.NewFile(uintptr(fds[1]), "network frames")
	defer ours.Close()
	frames, err := net.FileConn(ours)
	if err != nil {
		device.Close()
		return nil, nil, err
	}
	return device, frames, nil
}

// fromDevice hands on what the guest sends. While no switch is there, it is lost.
func (n *network) fromDevice() {
	buf := make([]byte, lengthBytes+maxFrame)
	for {
		size, err := n.frames.Read(buf[lengthBytes:])
		if err != nil {
			return
		}
		n.mu.Lock()
		peer := n.peer
		n.mu.Unlock()
		if peer == nil {
			continue
		}
		binary.BigEndian.PutUint32(buf, uint32(size))
		if _, err := peer.Write(buf[:lengthBytes+size]); err != nil {
			peer.Close() // half a frame may be out: serve takes the next switch
		}
	}
}

// serve serves one switch after the other.
func (n *network) serve() {
	for {
		peer, err := n.switches.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			// The process has too many files open, or so.
			select {
			case <-time.After(time.Second):
				continue
			case <-n.done:
				return
			}
		}
		if !n.enter(peer) {
			return
		}
		n.toDevice(peer)
		peer.Close()
		n.mu.Lock()
		n.peer = nil
		n.mu.Unlock()
	}
}

// enter makes a switch the one that is there, unless the end has come.
func (n *network) enter(peer net.Conn) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	select {
	case <-n.done:
		peer.Close()
		return false
	default:
	}
	n.peer = peer
	return true
}

// toDevice hands on what a switch sends, until it is gone.
func (n *network) toDevice(peer net.Conn) {
	buf := make([]byte, maxFrame)
	for {
		var length [lengthBytes]byte
		if _, err := io.ReadFull(peer, length[:]); err != nil {
			return
		}
		size := binary.BigEndian.Uint32(length[:])
		if size > maxFrame {
			return
		}
		if _, err := io.ReadFull(peer, buf[:size]); err != nil {
			return
		}
		if err := n.offer(buf[:size]); err != nil {
			return
		}
	}
}

// offer gives a frame to the device. macOS does not wait until there is room.
func (n *network) offer(frame []byte) error {
	for range fullTries {
		_, err := n.frames.Write(frame)
		if !errors.Is(err, unix.ENOBUFS) {
			return err
		}
		select {
		case <-time.After(fullWait):
		case <-n.done:
			return net.ErrClosed
		}
	}
	return nil // dropped, as on any network
}

// close ends the device and removes the socket.
func (n *network) close() {
	close(n.done)
	if n.switches != nil {
		n.switches.Close()
	}
	if n.frames != nil {
		n.frames.Close()
		n.device.Close()
	}
	n.mu.Lock()
	if n.peer != nil {
		n.peer.Close()
	}
	n.mu.Unlock()
	n.ends.Wait()
}
