package plugins

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health/grpc_health_v1"

	goplugin "github.com/hashicorp/go-plugin"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/wire"
	"github.com/vzreconciler/vzreconciler/plugins/runtimepb"
)

// maxMessage bounds a message from a plugin, and one to it.
const maxMessage = 16 << 20

// Instance is the runtime of one sandbox in its plugin process.
type Instance struct {
	drivers.Runtime
	*served
}

// served is a plugin process that has answered.
type served struct {
	bundle  string
	record  record
	conn    *grpc.ClientConn
	done    <-chan struct{}
	unwatch context.CancelFunc
	release sync.Once
}

// connect returns a process that runs, once it has answered. done is closed when
// the process is gone; nil means that it has to be watched.
func connect(ctx context.Context, r record, bundle string, done <-chan struct{}) (_ *served, err error) {
	keys, err := launcherTLS(tlsPath(bundle))
	if err != nil {
		return nil, err
	}
	i := &served{bundle: bundle, record: r, done: done, unwatch: func() {}}
	if done == nil {
		var watching context.Context
		watching, i.unwatch = context.WithCancel(context.WithoutCancel(ctx))
		if i.done, err = r.Process.Watch(watching); err != nil {
			i.unwatch()
			return nil, err
		}
	}
	i.conn, err = grpc.NewClient("passthrough:///"+r.Socket,
		grpc.WithTransportCredentials(credentials.NewTLS(keys)),
		grpc.WithContextDialer(r.dial),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)),
		grpc.WithDisableServiceConfig(),
		grpc.WithChainUnaryInterceptor(r.callUnary),
		grpc.WithChainStreamInterceptor(r.callStream),
	)
	if err != nil {
		i.unwatch()
		return nil, err
	}
	if err := i.ping(ctx); err != nil {
		i.Release()
		return nil, err
	}
	return i, nil
}

// dial connects to the socket and makes sure that the very process on record
// listens there.
func (r record) dial(ctx context.Context, _ string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", r.Socket)
	if err != nil {
		return nil, err
	}
	if err := r.checkPeer(conn); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

func (r record) checkPeer(conn net.Conn) error {
	uc, ok := conn.(*net.UnixConn)
	if !ok {
		return errors.New("not a Unix socket")
	}
	raw, err := uc.SyscallConn()
	if err != nil {
		return err
	}
	var pid int
	var perr error
	if err := raw.Control(func(fd uintptr) { pid, perr = peerPID(int(fd)) }); err != nil {
		return err
	}
	if perr != nil {
		return fmt.Errorf("who listens on %s: %w", r.Socket, perr)
	}
	if pid != r.Process.PID || !r.Process.Alive() {
		return fmt.Errorf("process %d listens on %s, not process %d", pid, r.Socket, r.Process.PID)
	}
	return nil
}

// ping returns when the plugin has answered.
func (i *served) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	_, err := grpc_health_v1.NewHealthClient(i.conn).Check(ctx,
		&grpc_health_v1.HealthCheckRequest{Service: goplugin.GRPCServiceName})
	if err != nil {
		return fmt.Errorf("the plugin does not answer: %w", wire.FromStatus(err))
	}
	return nil
}

// PID returns the number of the plugin process.
func (i *served) PID() int { return i.record.Process.PID }

// Plugin returns the name and the version of the plugin that was launched.
func (i *served) Plugin() (name, version string) {
	return i.record.Plugin, i.record.PluginVersion
}

// Done is closed when the plugin process is gone. After Release it may stay open.
func (i *served) Done() <-chan struct{} { return i.done }

// runtime is the process as the runtime that it serves.
func (i *served) runtime() *Instance {
	return &Instance{&client{
		rpc:  runtimepb.NewRuntimeClient(i.conn),
		dial: func(ctx context.Context) (net.Conn, error) { return i.record.dial(ctx, "") },
	}, i}
}

// Shutdown releases the runtime and ends its process: the last call. Done tells
// when it is gone; End or CleanUp then removes its files.
func (i *Instance) Shutdown(ctx context.Context) error {
	if err := i.Runtime.Shutdown(ctx); err != nil {
		return err
	}
	// The process ends as soon as nobody is connected.
	_ = i.conn.Close()
	return nil
}

// End kills the plugin process, and with it the machine, and removes its sockets
// and keys and its record from the bundle. It may be called when the process is
// gone already, and more than once.
func (i *served) End(ctx context.Context) error {
	defer i.Release()
	if err := endAll(ctx, i.bundle, i.record.Process); err != nil {
		return fmt.Errorf("end plugin %s: %w", i.record.Plugin, err)
	}
	if err := forget(i.bundle, i.record); err != nil {
		return fmt.Errorf("end plugin %s: %w", i.record.Plugin, err)
	}
	return nil
}

// Release lets go of the process without ending it, as a daemon does that shuts
// down. Reattach finds it again.
func (i *served) Release() {
	i.release.Do(func() {
		i.unwatch()
		_ = i.conn.Close()
	})
}
