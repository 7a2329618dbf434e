package conformance

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// echoPort is where the process of echoing listens.
const echoPort = 7007

// echoing returns a running sandbox in which a process sends back what it gets,
// on every connection.
func (s *suite) echoing() drivers.Runtime {
	s.Helper()
	rt := s.running(forever)
	if err := rt.CreateProcess(s.ctx, "echo", s.opts.Container, sh("nc -ll -p "+strconv.Itoa(echoPort)+" -e cat")); err != nil {
		s.Fatalf("create: %v", err)
	}
	if err := rt.StartProcess(s.ctx, "echo"); err != nil {
		s.Fatalf("start: %v", err)
	}
	s.within(20*time.Second, "the port of a process that listens", func() bool {
		conn, err := rt.Dial(s.ctx, drivers.Address{Port: echoPort})
		if err != nil {
			if !errors.Is(err, drivers.ErrRefused) {
				s.Fatalf("dial: %v", err)
			}
			return false
		}
		return conn.Close() == nil
	})
	return rt
}

func (s *suite) dial(rt drivers.Runtime) drivers.Conn {
	s.Helper()
	conn, err := rt.Dial(s.ctx, drivers.Address{Port: echoPort})
	if err != nil {
		s.Fatalf("dial: %v", err)
	}
	s.Cleanup(func() { _ = conn.Close() })
	// What hangs fails the check in place of hanging it.
	context.AfterFunc(s.ctx, func() { _ = conn.Close() })
	return conn
}

// roundTrip sends data, half-closes, and wants the same back up to the end.
func (s *suite) roundTrip(conn drivers.Conn, data []byte) {
	s.Helper()
	sent := make(chan error, 1)
	go func() {
		_, err := conn.Write(data)
		sent <- errors.Join(err, conn.CloseWrite())
	}()
	got, err := io.ReadAll(conn)
	if err := errors.Join(err, <-sent); err != nil {
		s.Errorf("a round trip of %d bytes: %v", len(data), err)
	}
	if !bytes.Equal(got, data) {
		s.Errorf("got %d bytes back, not the %d that were sent", len(got), len(data))
	}
}

// noise returns bytes that no piece of is like another.
func noise(n int) []byte {
	data := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(data) // never fails
	return data
}

func dialNeedsRunning(s *suite) {
	s.need(drivers.CapabilityDial, drivers.CapabilityPause)
	sb := s.created(forever)
	rt := sb.Runtime
	dial := func() error {
		_, err := rt.Dial(s.ctx, drivers.Address{Port: echoPort})
		return err
	}
	s.refused(drivers.StateCreated, map[string]error{"dial": dial()})
	if err := rt.Bootstrap(s.ctx, sb.Request); err != nil {
		s.Fatalf("bootstrap: %v", err)
	}
	if err := dial(); !errors.Is(err, drivers.ErrRefused) {
		s.Errorf("dial in state booted: %v, want it refused", err)
	}
	if err := rt.StartProcess(s.ctx, s.opts.Container); err != nil {
		s.Fatalf("start: %v", err)
	}
	if err := rt.Pause(s.ctx); err != nil {
		s.Fatalf("pause: %v", err)
	}
	s.refused(drivers.StatePaused, map[string]error{"dial": dial()})
	if err := rt.Stop(s.ctx, drivers.StopOptions{}); err != nil {
		s.Fatalf("stop: %v", err)
	}
	s.refused(drivers.StateStopped, map[string]error{"dial": dial()})
}

func dialOfClosedPort(s *suite) {
	s.need(drivers.CapabilityDial)
	rt := s.running(forever)
	if _, err := rt.Dial(s.ctx, drivers.Address{Port: 9}); !errors.Is(err, drivers.ErrRefused) {
		s.Errorf("dial of a port on which nothing listens: %v, want it refused", err)
	}
	for _, port := range []int{0, -1, 65536} {
		if _, err := rt.Dial(s.ctx, drivers.Address{Port: port}); !errors.Is(err, drivers.ErrInvalidArgument) {
			s.Errorf("dial of port %d: %v, want an invalid argument", port, err)
		}
	}
}

func dialCarriesBoth(s *suite) {
	s.need(drivers.CapabilityDial)
	rt := s.echoing()
	conn := s.dial(rt)
	buf := make([]byte, 5)
	for range 3 { // while both directions are open
		if _, err := io.WriteString(conn, "hello"); err != nil {
			s.Fatalf("write: %v", err)
		}
		if _, err := io.ReadFull(conn, buf); err != nil || string(buf) != "hello" {
			s.Fatalf("read %q, %v", buf, err)
		}
	}
	s.roundTrip(conn, []byte("the last words\n"))
	s.roundTrip(s.dial(rt), nil)
}

func dialCarriesMuch(s *suite) {
	s.need(drivers.CapabilityDial)
	rt := s.echoing()
	// This one is never read. What it may hold up is its own writer alone.
	stuck := s.dial(rt)
	go func() { _, _ = stuck.Write(noise(8 << 20)) }()
	s.roundTrip(s.dial(rt), noise(64<<20))
}

func dialServesMany(s *suite) {
	s.need(drivers.CapabilityDial)
	rt := s.echoing()
	const many = 50
	data := noise(100_000)
	var wg sync.WaitGroup
	for i := range many {
		wg.Go(func() {
			conn, err := rt.Dial(s.ctx, drivers.Address{Port: echoPort})
			if err != nil {
				s.Errorf("dial: %v", err)
				return
			}
			defer conn.Close()
			s.roundTrip(conn, data[i:])
		})
	}
	wg.Wait()
}

func closedDialFrees(s *suite) {
	s.need(drivers.CapabilityDial)
	rt := s.echoing()
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	if conn, err := rt.Dial(ctx, drivers.Address{Port: echoPort}); err == nil {
		_ = conn.Close()
		s.Errorf("dial with a context that has ended: no error")
	}
	// More than may be open at once, one after the other.
	for range 300 {
		conn, err := rt.Dial(s.ctx, drivers.Address{Port: echoPort})
		if err != nil {
			s.Fatalf("dial: %v", err)
		}
		if err := conn.Close(); err != nil {
			s.Fatalf("close: %v", err)
		}
		if _, err := conn.Read(make([]byte, 1)); err == nil {
			s.Errorf("read from a connection that was closed: no error")
		}
	}
}

func stopEndsConnections(s *suite) {
	s.need(drivers.CapabilityDial)
	rt := s.echoing()
	conn := s.dial(rt)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(io.Discard, conn) // however it ends
	}()
	if err := rt.Stop(s.ctx, drivers.StopOptions{}); err != nil {
		s.Fatalf("stop: %v", err)
	}
	select {
	case <-ended:
	case <-s.ctx.Done():
		s.Errorf("the connection is still there after the sandbox's end")
	}
}
