package plugins

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/internal/procfs"
	"github.com/vzreconciler/vzreconciler/internal/state"
)

// PluginLog is the file, in a bundle's logs directory, that a plugin logs to.
const PluginLog = "_plugin.log"

const (
	// startTimeout is how long a plugin has to say that it serves. It is ample:
	// the machine may be busy booting others.
	startTimeout = 30 * time.Second
	// pingTimeout is how long a plugin that serves has to answer.
	pingTimeout = 10 * time.Second
)

// Errors of a Launcher.
var (
	// ErrNoInstance means that a bundle has no plugin process (any more).
	ErrNoInstance = errors.New("no plugin process to reattach to")
	// ErrRunning means that a bundle has a plugin process already.
	ErrRunning = errors.New("a plugin process runs already")
)

// LauncherOptions configure a Launcher.
type LauncherOptions struct {
	Log *slog.Logger
	// SocketDir is a short directory of the user's own for the plugins' sockets.
	SocketDir string
	// Env is added to the few variables that plugins inherit, as "NAME=VALUE".
	Env []string
}

// Launcher starts plugin processes, and finds those it, or another process
// before it, has started.
type Launcher struct {
	opts LauncherOptions
	sums checksums

	mu sync.Mutex
	// infos is what plugins said that they are, by their directories.
	infos map[string]described
}

// NewLauncher returns a Launcher.
func NewLauncher(opts LauncherOptions) *Launcher {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	return &Launcher{opts: opts}
}

// Launch starts a plugin process for the sandbox whose directory is bundle. When
// it returns, the process has answered and is on record in the bundle. It fails
// with ErrRunning if the process on record still runs. The process goes on when
// ctx ends; it ends by itself when nobody talks to it before it is bootstrapped.
func (l *Launcher) Launch(ctx context.Context, p *Plugin, bundle string) (*Instance, error) {
	inst, err := l.launch(ctx, p, bundle)
	if err != nil {
		return nil, fmt.Errorf("launch %s: %w", p, err)
	}
	return inst.runtime(), nil
}

func (l *Launcher) launch(ctx context.Context, p *Plugin, bundle string) (*served, error) {
	bundle, err := filepath.Abs(bundle)
	if err != nil {
		return nil, err
	}
	if old, err := readRecord(bundle); err == nil && old.Process.Alive() {
		return nil, fmt.Errorf("%w: process %d: reattach to it or clean up first", ErrRunning, old.Process.PID)
	} else if err == nil {
		if err := forget(bundle, old); err != nil {
			return nil, err
		}
	}
	sum, err := l.sums.verify(p)
	if err != nil {
		return nil, err
	}
	if err := l.prepareSocketDir(); err != nil {
		return nil, err
	}
	logs := filepath.Join(bundle, drivers.LogsDir)
	if err := state.MkdirAll(logs); err != nil {
		return nil, err
	}
	if err := writeKeys(tlsPath(bundle)); err != nil {
		return nil, err
	}

	logPath := filepath.Join(logs, PluginLog)
	proc, hello, err := l.shakeHands(ctx, p, bundle, logPath)
	if err != nil {
		return nil, errors.Join(err, forget(bundle, record{}))
	}
	r := record{
		Version:         recordVersion,
		Socket:          hello.socket,
		ProtocolVersion: hello.version,
		Plugin:          p.Name,
		PluginVersion:   p.Version,
		Executable:      p.Executable(),
		SHA256:          sum,
		StartedAt:       time.Now().UTC(),
	}
	inst, err := l.rely(ctx, proc, &r, bundle)
	if err != nil {
		// The process is of no use to anybody.
		proc.kill()
		return nil, errors.Join(err, forget(bundle, r))
	}
	l.opts.Log.Debug("plugin launched", "plugin", p.Name, "pid", r.Process.PID, "bundle", bundle)
	return inst, nil
}

// rely puts a process that serves on record before it connects to it: a daemon
// that is killed from here on finds it again.
func (l *Launcher) rely(ctx context.Context, proc *process, r *record, bundle string) (*served, error) {
	id, err := procfs.Lookup(proc.cmd.Process.Pid)
	if err != nil {
		return nil, fmt.Errorf("it ended right after its start; see %s", proc.logPath)
	}
	r.Process = id
	if err := r.write(bundle); err != nil {
		return nil, err
	}
	return connect(ctx, *r, bundle, proc.done)
}

// maxSocketDir is how long a socket directory's path may be: a socket's path has
// at most 103 bytes on macOS, 107 on Linux, and go-plugin adds up to 38.
const maxSocketDir = 103 - 38

// prepareSocketDir makes the directory, and makes sure that it is nobody else's:
// it may be in /tmp.
func (l *Launcher) prepareSocketDir() error {
	dir := l.opts.SocketDir
	if dir == "" || len(dir) > maxSocketDir {
		return fmt.Errorf("socket directory %q: the path must have 1 to %d bytes", dir, maxSocketDir)
	}
	return state.MkdirOwn(dir)
}

// hello is what a plugin says when it serves.
type hello struct {
	socket  string
	version int
}

// shakeHands starts the process and waits until it says where it serves.
func (l *Launcher) shakeHands(ctx context.Context, p *Plugin, bundle, logPath string) (*process, hello, error) {
	before := size(logPath)
	proc := newProcess(p, append(environment(p.Env, l.opts.Env),
		drivers.BundleEnv+"="+bundle,
		envTLSDir+"="+tlsPath(bundle),
		envLog+"="+logPath,
	), logPath)
	var socketDir string
	client := goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig:  handshake(),
		VersionedPlugins: p.offered(),
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		Logger:           hclog.NewNullLogger(),
		StartTimeout:     startTimeout,
		SkipHostEnv:      true,
		UnixSocketConfig: &goplugin.UnixSocketConfig{TempDir: l.opts.SocketDir},
		RunnerFunc: func(_ hclog.Logger, cmd *exec.Cmd, dir string) (runner.Runner, error) {
			socketDir = dir
			proc.cmd.Env = append(proc.cmd.Env, cmd.Env...)
			return handshakeRunner{proc}, nil
		},
	})
	stop := context.AfterFunc(ctx, proc.kill)
	addr, err := client.Start()
	if !stop() {
		err = context.Cause(ctx)
	}
	if err == nil {
		return proc, hello{socket: addr.String(), version: client.NegotiatedVersion()}, nil
	}
	if how, ok := proc.exited(); ok && ctx.Err() == nil {
		err = fmt.Errorf("it ended before it served: %s", how)
	}
	proc.kill()
	if socketDir != "" {
		_ = os.RemoveAll(socketDir)
	}
	return nil, hello{}, withLog(err, logPath, before)
}

// withLog adds what a plugin logged since, for its last words say why it died.
func withLog(err error, path string, offset int64) error {
	f, ferr := os.Open(path) //nolint:gosec // in the user's own directory
	if ferr != nil {
		return err
	}
	defer f.Close()
	const most = 2 << 10
	if end := size(path); end-offset > most {
		offset = end - most
	}
	words, _ := io.ReadAll(io.NewSectionReader(f, offset, most))
	if text := strings.TrimSpace(string(words)); text != "" {
		return fmt.Errorf("%w; its log ends: %s", err, text)
	}
	return fmt.Errorf("%w; it logged nothing", err)
}

func size(path string) int64 {
	fi, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return fi.Size()
}

// Reattach returns the plugin process that was launched for a bundle, by this
// process or another, after it has answered. If there is none, or if the number
// on record has gone to another process, the error is ErrNoInstance. Any other
// error means that the process is there and cannot be used: CleanUp ends it.
func (l *Launcher) Reattach(ctx context.Context, bundle string) (*Instance, error) {
	inst, err := l.reattach(ctx, bundle, spokenVersions())
	if err != nil {
		return nil, err
	}
	return inst.runtime(), nil
}

func (l *Launcher) reattach(ctx context.Context, bundle string, versions []int) (*served, error) {
	r, err := readRecord(bundle)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s: %w", bundle, ErrNoInstance)
	case err != nil:
		// Without a record nothing can be found: a new process is all that helps.
		return nil, fmt.Errorf("%s: %w: %w", bundle, ErrNoInstance, err)
	case !r.Process.Alive():
		return nil, fmt.Errorf("%s: %w: process %d is gone", bundle, ErrNoInstance, r.Process.PID)
	case !slices.Contains(versions, r.ProtocolVersion):
		return nil, fmt.Errorf("reattach to process %d: it speaks protocol version %d, this program %v",
			r.Process.PID, r.ProtocolVersion, versions)
	}
	inst, err := connect(ctx, r, bundle, nil)
	if err != nil {
		return nil, fmt.Errorf("reattach to process %d of plugin %s: %w", r.Process.PID, r.Plugin, err)
	}
	l.opts.Log.Debug("plugin reattached", "plugin", r.Plugin, "pid", r.Process.PID, "bundle", bundle)
	return inst, nil
}

// Probe starts a plugin for as long as it takes to ask what it is and whether
// it can run sandboxes on this host. If it cannot, the error wraps
// drivers.ErrUnavailable, and Info is there all the same.
func (l *Launcher) Probe(ctx context.Context, p *Plugin) (drivers.Info, error) {
	var probed error
	info, err := l.ask(ctx, p, func(inst *Instance) { probed = inst.Probe(ctx) })
	if err != nil {
		return drivers.Info{}, err
	}
	return info, probed
}

// Describe returns what a plugin says that it is. It starts the plugin for that,
// the first time and after each change of its files: it is quick afterwards.
func (l *Launcher) Describe(ctx context.Context, p *Plugin) (drivers.Info, error) {
	sum, err := l.sums.verify(p)
	if err != nil {
		return drivers.Info{}, err
	}
	l.mu.Lock()
	known, ok := l.infos[p.Dir]
	l.mu.Unlock()
	if ok && known.version == versionOfPlugin(p, sum) {
		return known.info, nil
	}
	return l.ask(ctx, p, func(*Instance) {})
}

// versionOfPlugin changes whenever any of a plugin's files does.
func versionOfPlugin(p *Plugin, sum string) string { return fmt.Sprintf("%s %+v", sum, p.Manifest) }

// described is what a plugin said that it is, when it had these files.
type described struct {
	version string
	info    drivers.Info
}

// ask starts a plugin for as long as it takes to ask what it is, and more.
func (l *Launcher) ask(ctx context.Context, p *Plugin, more func(*Instance)) (drivers.Info, error) {
	if err := l.prepareSocketDir(); err != nil {
		return drivers.Info{}, fmt.Errorf("probe %s: %w", p, err)
	}
	bundle, err := os.MkdirTemp(l.opts.SocketDir, "probe-")
	if err != nil {
		return drivers.Info{}, fmt.Errorf("probe %s: %w", p, err)
	}
	defer os.RemoveAll(bundle)
	inst, err := l.Launch(ctx, p, bundle)
	if err != nil {
		return drivers.Info{}, err
	}
	defer func() { _ = inst.End(context.WithoutCancel(ctx)) }()
	info, err := inst.Info(ctx)
	if err != nil {
		return drivers.Info{}, fmt.Errorf("ask %s what it is: %w", p, err)
	}
	l.mu.Lock()
	if l.infos == nil {
		l.infos = map[string]described{}
	}
	l.infos[p.Dir] = described{versionOfPlugin(p, inst.record.SHA256), info}
	l.mu.Unlock()
	more(inst)
	return info, nil
}
