package plugins

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// process is a plugin process. Its stdout is a pipe for the handshake; its
// stderr is the log file, since a pipe would kill the plugin at its first line
// after the daemon's end.
type process struct {
	cmd     *exec.Cmd
	logPath string
	stdout  *os.File
	// done is closed when the process has been reaped; err is then how it ended.
	done chan struct{}
	err  error

	mu      sync.Mutex
	started bool
	killed  bool
}

// newProcess prepares a plugin process in a session of its own, so that no
// terminal's signal reaches it.
func newProcess(p *Plugin, env []string, logPath string) *process {
	// Not CommandContext: the process outlives any context.
	cmd := exec.Command(p.Executable(), p.Args...) //nolint:gosec,noctx // a plugin is a program to run
	cmd.Dir = "/"
	cmd.Env = env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return &process{cmd: cmd, logPath: logPath, done: make(chan struct{})}
}

// start runs the process with its stderr at the end of the log file.
func (p *process) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.killed {
		return context.Canceled
	}
	log, err := openLog(p.logPath)
	if err != nil {
		return err
	}
	defer log.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer w.Close()
	p.cmd.Stdout, p.cmd.Stderr = w, log
	if err := p.cmd.Start(); err != nil {
		_ = r.Close()
		return err
	}
	p.stdout, p.started = r, true
	// Reaps the process, whenever it ends.
	go func() {
		p.err = p.cmd.Wait()
		// What it has said is read within moments; a child of its that holds the
		// pipe is not waited for.
		_ = r.SetReadDeadline(time.Now().Add(time.Second))
		close(p.done)
	}()
	return nil
}

// kill ends the process, or sees to it that it never starts, and returns when it
// is gone.
func (p *process) kill() {
	p.mu.Lock()
	p.killed = true
	started := p.started
	p.mu.Unlock()
	if started {
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// exited reports how the process ended, if it has within a moment, and not
// because it was killed here.
func (p *process) exited() (how string, ok bool) {
	p.mu.Lock()
	started, killed := p.started, p.killed
	p.mu.Unlock()
	if !started {
		return "", false
	}
	select {
	case <-p.done:
		status, _ := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
		if killed && status.Signaled() && status.Signal() == syscall.SIGKILL {
			return "", false
		}
		return p.cmd.ProcessState.String(), true
	case <-time.After(100 * time.Millisecond):
		return "", false
	}
}

// handshakeRunner is a process as go-plugin wants to see it while it shakes hands.
type handshakeRunner struct{ *process }

func (r handshakeRunner) Start(context.Context) error { return r.start() }

func (r handshakeRunner) Wait(context.Context) error {
	<-r.done
	_ = r.stdout.Close()
	return r.err
}

func (r handshakeRunner) Kill(context.Context) error {
	r.kill()
	return nil
}

func (r handshakeRunner) Diagnose(context.Context) string { return "" }
func (r handshakeRunner) Stdout() io.ReadCloser           { return r.stdout }
func (r handshakeRunner) Stderr() io.ReadCloser           { return io.NopCloser(strings.NewReader("")) }
func (r handshakeRunner) Name() string                    { return r.cmd.Path }

func (r handshakeRunner) ID() string {
	return strconv.Itoa(r.cmd.Process.Pid)
}

func (handshakeRunner) PluginToHost(network, addr string) (string, string, error) {
	return network, addr, nil
}

func (handshakeRunner) HostToPlugin(network, addr string) (string, string, error) {
	return network, addr, nil
}

func openLog(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600) //nolint:gosec // in the user's own directory
	if err != nil {
		return nil, fmt.Errorf("open the plugin's log: %w", err)
	}
	return f, nil
}
