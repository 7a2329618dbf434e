package qemu

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// stderrTail is how much of QEMU's stderr is kept to tell why it ended.
const stderrTail = 4 << 10

// process is a child that is never outlived by more than its own death: where
// the system can, the kernel kills it when this process ends.
type process struct {
	cmd    *exec.Cmd
	stderr *tail

	exited chan struct{}
	err    error // of Wait; read it after exited
}

// startProcess starts a program that inherits files from descriptor 3 on. Its
// standard output goes to stdout, which never sees an error of its own reported
// back to the child.
func startProcess(program string, args []string, files []*os.File, stdout io.Writer) (*process, error) {
	p := &process{
		cmd:    exec.Command(program, args...), //nolint:noctx // lives as long as the machine; Kill ends it
		stderr: &tail{max: stderrTail},
		exited: make(chan struct{}),
	}
	p.cmd.Env = environment(os.Environ())
	p.cmd.ExtraFiles = files
	p.cmd.Stdout = drain{stdout}
	p.cmd.Stderr = p.stderr
	p.cmd.SysProcAttr = sysProcAttr()
	// What is still in the pipes after the exit is read, but not for ever.
	p.cmd.WaitDelay = 2 * time.Second

	started := make(chan error)
	go func() {
		// The kernel takes the death of the thread that started a child for that
		// of its parent: this thread must live as long as the child.
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

// kill ends the process at once; exited tells when it is gone.
func (p *process) kill() {
	// The only error is that it is gone already.
	_ = p.cmd.Process.Kill()
}

// failure says why the process, which must have exited, did so, in words; it is
// empty for a success.
func (p *process) failure(program string) string {
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
func (p *process) endedBySignal() bool {
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && (status.Signal() == syscall.SIGKILL || status.Signal() == syscall.SIGTERM)
}

// environment passes on what QEMU needs and nothing that is none of its business.
func environment(env []string) []string {
	kept := []string{}
	for _, kv := range env {
		name, _, _ := strings.Cut(kv, "=")
		switch name {
		case "PATH", "HOME", "TMPDIR", "LANG", "LC_ALL":
			kept = append(kept, kv)
		}
	}
	return kept
}

// drain swallows errors: a console that cannot be written must not stop the guest.
type drain struct{ w io.Writer }

func (d drain) Write(p []byte) (int, error) {
	if d.w != nil {
		_, _ = d.w.Write(p)
	}
	return len(p), nil
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
