package plugins

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/wire"
)

// ServeOptions modify Serve.
type ServeOptions struct {
	// UnusedTimeout is how long the process waits, after its start or the last
	// call, for a Bootstrap before it ends by itself; zero means a minute.
	UnusedTimeout time.Duration
}

// gcPercent keeps the heap small: there is a plugin process per sandbox, and it
// does next to nothing.
const gcPercent = 40

// Serve is the main of a runtime plugin: it serves the runtime that newRuntime
// returns to whoever launched this process, and returns when the process is to
// end. That is after Shutdown, after SIGTERM (the sandbox is stopped first), or
// when nobody calls Bootstrap.
//
// Everything the plugin has to say goes to log, a bounded file in the sandbox's
// bundle. What it prints goes there too.
func Serve(newRuntime func(log *slog.Logger) drivers.Runtime, opts ServeOptions) {
	serve(func(log *slog.Logger, streams *wire.Streams) (work, map[int]goplugin.PluginSet) {
		rt := newRuntime(log)
		return runtimeWork(rt), protocols(rt, streams)
	}, opts)
}

// ServeNetwork is the main of a network plugin: it is to a drivers.Network what
// Serve is to a drivers.Runtime. It returns after Shutdown, after SIGTERM, or when
// nobody calls Configure.
func ServeNetwork(newNetwork func(log *slog.Logger) drivers.Network, opts ServeOptions) {
	serve(func(log *slog.Logger, _ *wire.Streams) (work, map[int]goplugin.PluginSet) {
		n := newNetwork(log)
		return networkWork(n), networkProtocols(n)
	}, opts)
}

// serve serves what begin returns, in the given versions of its protocol. What may
// go beside its calls is in the streams.
func serve(begin func(log *slog.Logger, streams *wire.Streams) (work, map[int]goplugin.PluginSet), opts ServeOptions) {
	debug.SetGCPercent(gcPercent)
	// go-plugin puts others into these variables; unreferenced, the files would
	// be closed by the garbage collector, and their descriptors given to others.
	stdout, stderr := os.Stdout, os.Stderr
	defer func() {
		runtime.KeepAlive(stdout)
		runtime.KeepAlive(stderr)
	}()

	var out io.Writer = stderr
	redirectOutput := func() {}
	if path := os.Getenv(envLog); path != "" {
		file, err := newBoundedLog(path, maxLogBytes)
		if err != nil {
			slog.New(slog.NewTextHandler(stderr, nil)).Error("plugin does not start", "error", err)
			return
		}
		_ = file.capture(int(stderr.Fd()))
		out = file
		redirectOutput = sync.OnceFunc(func() {
			// By now go-plugin has put pipes here that the daemon would have to
			// drain: while it is away, a plugin that prints would hang.
			_ = file.capture(int(stdout.Fd()))
			os.Stdout, os.Stderr = stdout, stderr
		})
	}
	log := slog.New(slog.NewTextHandler(out, nil))
	if opts.UnusedTimeout <= 0 {
		opts.UnusedTimeout = unusedTimeout
	}

	streams := &wire.Streams{}
	work, versions := begin(log, streams)
	l := &life{work: work, log: log}
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	defer signal.Stop(terminated)
	keys, keysErr := pluginTLS(os.Getenv(envTLSDir))
	log.Info("plugin serves", "pid", os.Getpid())
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig:  handshake(),
		VersionedPlugins: versions,
		TLSProvider:      func() (*tls.Config, error) { return keys, keysErr },
		Logger:           hclog.New(&hclog.LoggerOptions{Name: "go-plugin", Level: hclog.Warn, Output: out}),
		GRPCServer: func(base []grpc.ServerOption) *grpc.Server {
			s := grpc.NewServer(append(base,
				// In place of go-plugin's, which are the same but for the streams.
				grpc.Creds(streams.Credentials(credentials.NewTLS(keys))),
				grpc.MaxRecvMsgSize(maxMessage),
				grpc.MaxSendMsgSize(maxMessage),
				grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
					redirectOutput()
					return l.unary(ctx, req, info, next)
				}),
				grpc.ChainStreamInterceptor(func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
					redirectOutput()
					return l.stream(srv, stream, info, next)
				}),
			)...)
			l.begin(s, opts.UnusedTimeout, terminated)
			return s
		},
	})
	log.Info("plugin ends")
	// go-plugin removes the socket and leaves its directory.
	if dir := os.Getenv(goplugin.EnvUnixSocketDir); dir != "" {
		_ = os.Remove(dir)
	}
}
