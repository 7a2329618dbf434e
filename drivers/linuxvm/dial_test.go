package linuxvm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/guest/agentpb"
	"github.com/vzreconciler/vzreconciler/drivers/wire"
)

// Dial connects to a server that never says anything; port 9 is closed.
func (a *fakeAgent) Dial(stream agentpb.Agent_DialServer) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	return wire.ServeDial(stream.Context(), agentDial{stream}, func(context.Context) (drivers.Conn, error) {
		if first.GetAddress().GetPort() == 9 {
			return nil, fmt.Errorf("%w: nothing listens on port 9", drivers.ErrRefused)
		}
		ours, theirs := net.Pipe()
		go func() {
			_, _ = io.Copy(io.Discard, theirs)
			_ = theirs.Close()
		}()
		return noHalves{ours}, nil
	})
}

// noHalves is a connection whose directions end together.
type noHalves struct{ net.Conn }

func (c noHalves) CloseWrite() error { return c.Close() }

type agentDial struct{ agentpb.Agent_DialServer }

func (s agentDial) SendSegment(m *wire.Segment) error { return s.Send(m) }

func (s agentDial) RecvSegment() (*wire.Segment, error) {
	req, err := s.Recv()
	return req.GetSegment(), err
}

func TestDialIsBoundedAndACloseMakesRoom(t *testing.T) {
	world(t, func(t *testing.T) {
		rt := runWeb(t, &fakeHypervisor{}, bundle(t, []string{"sleep"}, nil))
		to := drivers.Address{Port: 80}
		var conns []drivers.Conn
		for range maxDials {
			conn, err := rt.Dial(t.Context(), to)
			if err != nil {
				t.Fatal(err)
			}
			conns = append(conns, conn)
		}
		_, err := rt.Dial(t.Context(), to)
		wantError(t, err, drivers.ErrExhausted, "are open already")
		for range 2 { // the second time gives nothing back
			if err := conns[0].Close(); err != nil {
				t.Fatal(err)
			}
		}
		wire.Abort(conns[1])
		for range 2 {
			if _, err := rt.Dial(t.Context(), to); err != nil {
				t.Fatal(err)
			}
		}
		_, err = rt.Dial(t.Context(), to)
		wantError(t, err, drivers.ErrExhausted, "are open already")
	})
}

func TestRefusedDialTakesNoPlace(t *testing.T) {
	world(t, func(t *testing.T) {
		rt := runWeb(t, &fakeHypervisor{}, bundle(t, []string{"sleep"}, nil))
		for range maxDials + 1 {
			_, err := rt.Dial(t.Context(), drivers.Address{Port: 9})
			wantError(t, err, drivers.ErrRefused, "dial port 9")
		}
	})
}

func TestMachinesEndBreaksItsConnections(t *testing.T) {
	world(t, func(t *testing.T) {
		h := &fakeHypervisor{}
		rt := runWeb(t, h, bundle(t, []string{"sleep"}, nil))
		conn, err := rt.Dial(t.Context(), drivers.Address{Port: 80})
		if err != nil {
			t.Fatal(err)
		}
		h.last().die("killed")
		if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("read: %v, want it broken", err)
		}
	})
}
