package netswitch

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// A machine that is not there is looked for again after these times, from the
// first to the last, for a machine may be on its way up.
const (
	minRedial = 20 * time.Millisecond
	maxRedial = 500 * time.Millisecond
)

// lengthBytes come before each frame: its length, as QEMU's stream sockets have it.
const lengthBytes = 4

// port is one machine's interface at the switch.
type port struct {
	config drivers.NetworkEndpoint
	mac    hardware
	queue  *queue
	flows  flows
	end    context.CancelFunc
	gone   chan struct{} // closed once end was called and nothing of it is left

	connected               atomic.Bool
	sent, received          counter
	spoofed, dropped        atomic.Uint64
	denied                  atomic.Uint64
	connections, associates atomic.Int64 // through the gateway, see egress.go
	questions               atomic.Int64 // for names
}

type counter struct{ frames, bytes atomic.Uint64 }

func (c *counter) add(n int) {
	c.frames.Add(1)
	c.bytes.Add(uint64(n)) //nolint:gosec // a length
}

func (p *port) addr() netip.Addr { return p.config.Address }

// deliver puts a frame before the machine, if there is one and it reads.
func (p *port) deliver(frame []byte) {
	if !p.connected.Load() || !p.queue.put(frame) {
		p.dropped.Add(1)
	}
}

func (p *port) state() drivers.EndpointState {
	return drivers.EndpointState{
		ID: p.config.ID, Connected: p.connected.Load(),
		ReceivedBytes: p.received.bytes.Load(), ReceivedFrames: p.received.frames.Load(),
		SentBytes: p.sent.bytes.Load(), SentFrames: p.sent.frames.Load(),
		SpoofedFrames: p.spoofed.Load(), DroppedFrames: p.dropped.Load(), DeniedConnections: p.denied.Load(),
	}
}

// run connects to the machine, whenever there is one, until ctx ends.
func (s *Switch) run(ctx context.Context, p *port) {
	defer close(p.gone)
	wait := minRedial
	for ctx.Err() == nil {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "unix", p.config.Socket)
		if err == nil {
			wait = minRedial
			err = s.attach(ctx, p, conn)
			s.log.Debug("a machine's interface is gone", "sandbox", p.config.ID, "error", err)
		}
		pause(ctx, wait)
		wait = min(2*wait, maxRedial)
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// attach carries a machine's frames until the connection or ctx ends.
func (s *Switch) attach(ctx context.Context, p *port, conn net.Conn) error {
	ctx, cancel := context.WithCancel(ctx)
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	written := make(chan struct{})
	p.queue.take(nil) // what was meant for the machine before it
	p.flows.begin(ctx)
	go func() {
		defer close(written)
		defer cancel()
		p.write(ctx, conn)
	}()
	p.connected.Store(true)
	s.changed()
	err := s.read(p, conn)
	cancel()
	conn.Close()
	<-written
	p.connected.Store(false)
	s.changed()
	return err
}

// write sends what is in the queue.
func (p *port) write(ctx context.Context, conn net.Conn) {
	var frames [][]byte
	var out net.Buffers
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.queue.ready:
		}
		for frames = p.queue.take(frames); len(frames) > 0; frames = p.queue.take(frames) {
			out = out[:0]
			lengths := make([]byte, lengthBytes*len(frames))
			for i, f := range frames {
				l := lengths[lengthBytes*i : lengthBytes*(i+1)]
				binary.BigEndian.PutUint32(l, uint32(len(f))) //nolint:gosec // at most maxFrame
				out = append(out, l, f)
			}
			batch := out // WriteTo eats it
			if _, err := batch.WriteTo(conn); err != nil {
				return
			}
			for _, f := range frames {
				p.received.add(len(f))
			}
		}
	}
}

// read takes in what the machine sends.
func (s *Switch) read(p *port, conn net.Conn) error {
	r := bufio.NewReaderSize(conn, 128<<10)
	for {
		var length [lengthBytes]byte
		if _, err := io.ReadFull(r, length[:]); err != nil {
			return err
		}
		n := binary.BigEndian.Uint32(length[:])
		if n > maxFrame {
			if n > 1<<20 {
				return fmt.Errorf("a frame of %d bytes: this is no interface of a machine", n)
			}
			p.dropped.Add(1)
			if _, err := r.Discard(int(n)); err != nil {
				return err
			}
			continue
		}
		frame := make([]byte, n)
		if _, err := io.ReadFull(r, frame); err != nil {
			return err
		}
		p.sent.add(len(frame))
		s.receive(p, frame)
	}
}

// receive does with a frame from a port what is to be done with it.
func (s *Switch) receive(p *port, frame []byte) {
	f := s.fabric.Load()
	v, to := f.judge(frame, p.mac, p.addr())
	switch v {
	case spoofed:
		p.spoofed.Add(1)
		return
	case ascend:
		if hardware(frame[:6]) == gatewayMAC {
			s.gateway.inject(frame[ethernetHeader:])
			return
		}
	case carry:
		if q := f.ports[to]; q != nil && q != p && hardware(frame[:6]) == q.mac {
			q.deliver(frame)
			return
		}
	case resolved:
		has, ok := gatewayMAC, to == f.gateway
		if q := f.ports[to]; q != nil && !ok {
			has, ok = q.mac, true
		}
		if ok {
			p.deliver(answerARP(frame, has))
		}
		return
	case drop:
	}
	p.dropped.Add(1)
}
