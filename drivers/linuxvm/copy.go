package linuxvm

import (
	"context"
	"fmt"
	"io"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/wire"
)

// CopyIn hands the archive to the agent.
func (s *sandbox) CopyIn(ctx context.Context, req drivers.CopyInRequest, archive io.Reader) error {
	v, err := s.forCopy("copy in", req.Container, req.Path)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	carrier := wire.OpenCarrier(ctx, v.client.dialStream)
	defer carrier.Close()
	stream, err := v.client.agent.CopyIn(ctx)
	if err == nil {
		err = wire.SendCopyIn(cancel, stream, carrier, req, archive)
	}
	return v.callError(err)
}

// CopyOut passes on what the agent packs. It is not looked at here: the one who
// unpacks it has to mistrust it.
func (s *sandbox) CopyOut(ctx context.Context, req drivers.CopyOutRequest, w io.Writer) error {
	v, err := s.forCopy("copy out", req.Container, req.Path)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	carrier := wire.OpenCarrier(ctx, v.client.dialStream)
	defer carrier.Close()
	stream, err := v.client.agent.CopyOut(ctx, wire.FromCopyOut(req, carrier))
	if err == nil {
		err = wire.Download(stream.Recv, carrier, w)
	}
	return v.callError(err)
}

// forCopy checks a request and returns the machine.
func (s *sandbox) forCopy(op, container, path string) (*vm, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.require(op, drivers.StateBooted, drivers.StateRunning); err != nil {
		return nil, err
	}
	if _, ok := s.vm.container(container); !ok {
		return nil, fmt.Errorf("%s: container %q: %w", op, container, drivers.ErrNotFound)
	}
	if err := drivers.CheckContainerPath(path); err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	return s.vm, nil
}

// callError is an error of a call to the agent: when the machine has ended, that
// says more.
func (v *vm) callError(err error) error {
	if err == nil {
		return nil
	}
	err = wire.FromStatus(err)
	if reason, gone := v.gone(); gone {
		return fmt.Errorf("%s (%w)", reason, err)
	}
	return err
}
