package qemu

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// stderrTail is how much of QEMU's stderr is kept to tell why it ended.
const stderrTail = 4 << 10

// process is a QEMU process.
type process interface {
	// gone is closed when it has ended.
	gone() <-chan struct{}
	// kill ends it at once.
	kill()
	// failure says why it ended, in words, if that is known and was no success. It
	// must have ended.
	failure(program string) string
}

// child is a process that was started here.
type child struct {
	cmd    *exec.Cmd
	stderr *tail

	exited chan struct{}
	err    error // of Wait; read it after exited
}

// startChild starts a program that inherits files from descriptor 3 on.
func startChild(program string, args []string, files []*os.File, attr *syscall.SysProcAttr) (*child, error) {
	p := &child{
		cmd:    exec.Command(program, args...), //nolint:noctx // lives as long as the machine; Kill ends it
		stderr: &tail{max: stderrTail},
		exited: make(chan struct{}),
	}
	p.cmd.Env = environment(os.Environ())
	p.cmd.ExtraFiles = files
	p.cmd.Stderr = p.stderr
	p.cmd.SysProcAttr = attr
	// What is still in the pipes after the exit is read, but not for ever.
	p.cmd.WaitDelay = 2 * time.Second

	started := make(chan error)
	go func() {
		// The kernel takes the death of the thread that started a child for that
		// of its parent: this thread must live as long as a mortal one.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err != nil {
			return
		}
		p.err = p.cmd.Wait()
		close(p.exited)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	return p, nil
}

func (p *child) gone() <-chan struct{} { return p.exited }

func (p *child) kill() {
	// The only error is that it is gone already.
	_ = p.cmd.Process.Kill()
}

func (p *child) failure(program string) string {
	if p.err == nil {
		return ""
	}
	if p.endedBySignal() {
		// Whoever sent it, it was not QEMU that failed: what it printed before is
		// beside the point.
		return fmt.Sprintf("the virtual machine process exited: %v", p.err)
	}
	if last := p.stderr.lastLine(); last != "" {
		if strings.HasPrefix(last, program) {
			return last
		}
		return program + ": " + last
	}
	return fmt.Sprintf("the virtual machine process exited: %v", p.err)
}

// endedBySignal tells a process ended from outside from one that gave up, with
// abort or without.
func (p *child) endedBySignal() bool {
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && (status.Signal() == syscall.SIGKILL || status.Signal() == syscall.SIGTERM)
}

// environment passes on what QEMU needs and nothing that is none of its business.
func environment(env []string) []string {
	kept := []string{}
	for _, kv := range env {
		name, _, _ := strings.Cut(kv, "=")
		switch name {
		case "PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", drivers.BundleEnv:
			kept = append(kept, kv)
		}
	}
	return kept
}

// copyConsole hands on what the guest prints until its machine ends. It
// swallows errors: a console that cannot be written must not stop the guest.
func copyConsole(w io.Writer, conn net.Conn) {
	defer conn.Close()
	buf := make([]byte, 4<<10)
	for {
		n, err := conn.Read(buf)
		if n > 0 && w != nil {
			_, _ = w.Write(buf[:n])
		}
		if err != nil {
			return
		}
	}
}

// tail keeps the last max bytes written.
type tail struct {
	mu  sync.Mutex
	max int
	buf []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if over := len(t.buf) - t.max; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return len(p), nil
}

// lastLine returns the last line that is not blank and no warning, without
// control characters.
func (t *tail) lastLine() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var line []byte
	for l := range bytes.Lines(t.buf) {
		if l = bytes.TrimSpace(l); len(l) > 0 && !bytes.Contains(l, []byte("warning: ")) {
			line = l
		}
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, strings.ToValidUTF8(string(line), "?"))
}
