package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/wire"
	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

const (
	// maxForwarded bounds the connections at one time; more wait to be accepted.
	maxForwarded = 100
	// forwardPatience is how long a connection waits for its sandbox to run.
	forwardPatience = 30 * time.Second
	// forwardRetry is the time between two tries to reach a daemon that is gone.
	forwardRetry = time.Second
)

func (a *app) portForwardCmd() *cobra.Command {
	var (
		sel       selection
		addresses []string
	)
	cmd := &cobra.Command{
		Use:   "port-forward NAME [LOCAL:]REMOTE…",
		Short: "Forward ports of this host to ports in a sandbox",
		Long: `Listen on ports of this host and carry what connects to TCP ports on a sandbox's
loopback, until it is ended. REMOTE is a number, or the name of a container's
port; without LOCAL the same number is used here, and with an empty one any that
is free. It goes on while the sandbox or the daemon restarts: new connections wait
for a while, those that were open are lost.`,
		Example: `  vzctl port-forward web 8080:80
  vzctl port-forward web 8080:http 5432
  vzctl port-forward web :80
  vzctl port-forward web 8080:80 --address 0.0.0.0`,
		Args:              cobra.MinimumNArgs(2),
		ValidArgsFunction: a.completeSandbox,
		RunE: func(cmd *cobra.Command, args []string) error {
			ref, err := parseSandbox(args[0], sel.namespace)
			if err != nil {
				return err
			}
			client, err := a.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			o, err := getSandbox(cmd.Context(), client, ref)
			if err != nil {
				return err
			}
			f := &forwarder{app: a, client: client, ref: ref, places: make(chan struct{}, maxForwarded), changed: make(chan struct{})}
			f.see(&o)
			for _, arg := range args[1:] {
				p, err := parseForward(arg, o.sandbox())
				if err != nil {
					return err
				}
				f.ports = append(f.ports, p)
			}
			return f.run(cmd.Context(), addresses)
		},
	}
	sel.addNamespace(cmd)
	cmd.Flags().StringSliceVar(&addresses, "address", []string{"localhost"}, "addresses of this host to listen on, separated by commas")
	return cmd
}

// forward is a port here and the one in the sandbox that it leads to.
type forward struct{ local, remote int }

// parseForward reads "80", "8080:80" or ":80". A port of a container may be
// given by name.
func parseForward(arg string, sandbox *manifests.Sandbox) (forward, error) {
	local, remote, ok := strings.Cut(arg, ":")
	if !ok {
		remote = local
	}
	var f forward
	var err error
	if f.remote, err = parsePort(remote); err != nil {
		named, found := namedPort(sandbox, remote)
		if !found {
			return f, usagef("%q is not [LOCAL:]REMOTE, with ports from 1 to 65535 or names of containers' ports", arg)
		}
		f.remote = named
	}
	switch {
	case !ok:
		f.local = f.remote
	case local != "" && local != "0":
		if f.local, err = parsePort(local); err != nil {
			return f, err
		}
	}
	return f, nil
}

func namedPort(sandbox *manifests.Sandbox, name string) (int, bool) {
	if sandbox == nil || name == "" {
		return 0, false
	}
	for _, c := range sandbox.Spec.PodTemplate.Spec.Containers {
		for _, p := range c.Ports {
			if p.Name == name {
				return int(p.ContainerPort), true
			}
		}
	}
	return 0, false
}

// forwarder carries connections to one sandbox.
type forwarder struct {
	app    *app
	client *api.Client
	ref    *api.Ref
	ports  []forward
	places chan struct{}

	mu      sync.Mutex
	phase   manifests.Phase
	changed chan struct{} // closed when phase changes
}

// run serves until ctx ends, which is the normal end.
func (f *forwarder) run(ctx context.Context, addresses []string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var serving sync.WaitGroup
	defer serving.Wait()
	defer cancel()
	for _, p := range f.ports {
		listeners, err := listen(ctx, addresses, p.local)
		if err != nil {
			return err
		}
		for _, l := range listeners {
			context.AfterFunc(ctx, func() { _ = l.Close() })
			if err := f.app.printf("Forwarding from %s -> %d\n", l.Addr(), p.remote); err != nil {
				return err
			}
			serving.Go(func() { f.serve(ctx, l, p.remote) })
		}
	}
	f.watch(ctx)
	return nil
}

// listen listens on a port of each address; 0 means one that is free, which is
// then the same for all.
func listen(ctx context.Context, addresses []string, port int) (listeners []net.Listener, err error) {
	defer func() {
		if err != nil {
			for _, l := range listeners {
				_ = l.Close()
			}
		}
	}()
	var config net.ListenConfig
	try := func(network, host string) error {
		l, err := config.Listen(ctx, network, net.JoinHostPort(host, strconv.Itoa(port)))
		if err != nil {
			return fmt.Errorf("listen on port %d: %w", port, err)
		}
		listeners = append(listeners, l)
		if a, ok := l.Addr().(*net.TCPAddr); ok {
			port = a.Port
		}
		return nil
	}
	for _, address := range addresses {
		if address != "localhost" {
			if net.ParseIP(address) == nil {
				return listeners, usagef("--address=%s: want localhost or IP addresses", address)
			}
			if err := try("tcp", address); err != nil {
				return listeners, err
			}
			continue
		}
		// Either family may be missing on a host.
		err4, err6 := try("tcp4", "127.0.0.1"), try("tcp6", "::1")
		if err4 != nil && (err6 != nil || errors.Is(err4, syscall.EADDRINUSE)) {
			return listeners, err4
		}
	}
	return listeners, nil
}

// serve carries what connects to a listener until that is closed, and returns
// when the last of it has ended.
func (f *forwarder) serve(ctx context.Context, l net.Listener, remote int) {
	var carrying sync.WaitGroup
	defer carrying.Wait()
	for {
		select {
		case f.places <- struct{}{}:
		case <-ctx.Done():
			return
		}
		conn, err := l.Accept()
		if err != nil {
			<-f.places
			if ctx.Err() != nil {
				return
			}
			// Out of descriptors, say: it may pass.
			f.say("accept a connection: %v", err)
			if wait(ctx, forwardRetry) != nil {
				return
			}
			continue
		}
		carrying.Go(func() {
			defer func() { <-f.places }()
			f.carry(ctx, conn.(*net.TCPConn), remote) //nolint:forcetypeassert // the listeners are TCP's
		})
	}
}

func (f *forwarder) carry(ctx context.Context, local *net.TCPConn, remote int) {
	f.app.logf("a connection from %s to port %d", local.RemoteAddr(), remote)
	conn, err := f.dial(ctx, remote)
	if err != nil {
		_ = local.Close()
		if ctx.Err() == nil {
			f.say("port %d: %v", remote, err)
		}
		return
	}
	if err := wire.Join(ctx, local, conn); err != nil && ctx.Err() == nil {
		f.app.logf("the connection from %s to port %d broke: %v", local.RemoteAddr(), remote, err)
	}
}

// dial connects to the sandbox, and waits a while for it if it does not run.
func (f *forwarder) dial(ctx context.Context, remote int) (drivers.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, forwardPatience)
	defer cancel()
	for {
		f.mu.Lock()
		changed := f.changed
		f.mu.Unlock()
		conn, err := f.client.Dial(ctx, f.ref, drivers.Address{Port: remote})
		if err == nil || !errors.Is(err, drivers.ErrInvalidState) && !errors.Is(err, api.ErrUnreachable) {
			return conn, err
		}
		again := time.NewTimer(forwardRetry) // the daemon's return is no change of the sandbox
		select {
		case <-changed:
		case <-again.C:
		case <-ctx.Done():
		}
		again.Stop()
		if ctx.Err() != nil {
			return nil, err
		}
	}
}

// watch tells the user how the sandbox fares, until ctx ends.
func (f *forwarder) watch(ctx context.Context) {
	k, _ := findKind(f.ref.GetKind())
	req := &api.GetRequest{Kind: k.name, Namespace: f.ref.GetNamespace(), Names: []string{f.ref.GetName()}}
	away := false
	for ctx.Err() == nil {
		err := f.follow(ctx, req, func() {
			if away {
				f.say("the daemon answers again")
				away = false
			}
		})
		if ctx.Err() == nil && !away {
			f.say("the daemon is away, waiting for it: %v", err)
			away = true
		}
		if wait(ctx, forwardRetry) != nil {
			return
		}
	}
}

func (f *forwarder) follow(ctx context.Context, req *api.GetRequest, answered func()) error {
	stream, err := f.client.Watch(ctx, req)
	if err != nil {
		return err
	}
	for {
		change, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return errors.New("the watch ended")
		case err != nil:
			return err
		}
		answered()
		switch change.GetType() {
		case api.WatchResponse_SYNCED:
		case api.WatchResponse_DELETED:
			f.see(nil)
		default:
			o, err := decodeObject(change.GetObject())
			if err != nil {
				return err
			}
			f.see(&o)
		}
	}
}

// see takes in what the sandbox is like; nil means that it is gone.
func (f *forwarder) see(o *object) {
	phase := manifests.Phase("gone")
	if o != nil {
		phase = o.Status.Phase
	}
	f.mu.Lock()
	was := f.phase
	f.phase = phase
	if was != phase {
		close(f.changed)
		f.changed = make(chan struct{})
	}
	f.mu.Unlock()
	runs := func(p manifests.Phase) bool { return p == manifests.PhaseRunning }
	switch {
	case was == phase, was == "" && runs(phase):
	case runs(phase):
		f.say("%s runs again", refName(f.ref))
	case runs(was) || was == "":
		f.say("%s is %s: connections wait until it runs", refName(f.ref), phase)
	}
}

// say tells the user something, beside the output.
func (f *forwarder) say(format string, args ...any) {
	fmt.Fprintf(f.app.stderr, "vzctl: "+format+"\n", args...)
}

// wait waits, unless ctx ends before.
func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
