package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// tmux is a terminal with a shell in it, driven as a person would.
type tmux struct {
	h      *host
	socket string
}

func newTmux(t *testing.T, h *host) *tmux {
	t.Helper()
	if _, err := exec.LookPath("tmux"); err != nil {
		t.Fatalf("%v: run make setup", err)
	}
	dir, err := os.MkdirTemp("/tmp", "vzt") //nolint:usetesting // short, for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	m := &tmux{h: h, socket: filepath.Join(dir, "tmux")}
	m.run("-f", "/dev/null", "new-session", "-d", "-x", "100", "-y", "30", "-e", "VZ_STATE_DIR="+h.state, "bash --norc --noprofile")
	t.Cleanup(func() { m.run("kill-server") })
	m.line("PS1='host> '; clear") // which tells it from the guest's
	m.waitFor("host> ")
	return m
}

func (m *tmux) run(args ...string) string {
	m.h.t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(m.h.t.Context()), 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "tmux", append([]string{"-S", m.socket}, args...)...).CombinedOutput()
	if err != nil {
		m.h.t.Fatalf("tmux %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// keys types text as it is; press presses named keys.
func (m *tmux) keys(text string) { m.h.t.Helper(); m.run("send-keys", "-l", text) }
func (m *tmux) press(names ...string) {
	m.h.t.Helper()
	m.run(append([]string{"send-keys"}, names...)...)
}

// children returns the processes that the terminal's shell has started.
func (m *tmux) children() (pids []int) {
	m.h.t.Helper()
	shell := strings.TrimSpace(m.run("display-message", "-p", "#{pane_pid}"))
	data, err := os.ReadFile(filepath.Join("/proc", shell, "task", shell, "children"))
	if err != nil {
		m.h.t.Fatal(err)
	}
	for field := range strings.FieldsSeq(string(data)) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			m.h.t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	if len(pids) == 0 {
		m.h.t.Fatal("the shell has no child")
	}
	return pids
}

// line types a line.
func (m *tmux) line(text string) {
	m.h.t.Helper()
	m.keys(text)
	m.press("Enter")
}

// waitFor waits until the last line of the screen that is not empty is so.
func (m *tmux) waitFor(last string) {
	m.h.t.Helper()
	m.h.eventually(bootTimeout, fmt.Sprintf("the screen ends in %q", last), func() error {
		screen := strings.TrimRight(m.run("capture-pane", "-p"), "\n ")
		got := screen[strings.LastIndexByte(screen, '\n')+1:]
		if strings.TrimRight(got, " ") != strings.TrimRight(last, " ") {
			return fmt.Errorf("the screen is\n%s", screen)
		}
		return nil
	})
}

// answers types a line and waits for what follows it, and then the prompt.
func (m *tmux) answers(prompt, line, answer string) {
	m.h.t.Helper()
	m.press("C-l") // an empty screen, with the prompt at its top
	m.waitFor(prompt)
	m.line(line)
	m.h.eventually(bootTimeout, fmt.Sprintf("%q is answered by %q", line, answer), func() error {
		screen := strings.TrimRight(m.run("capture-pane", "-p"), "\n ")
		if !strings.HasSuffix(screen, line+"\n"+answer+"\n"+strings.TrimRight(prompt, " ")) {
			return fmt.Errorf("the screen is\n%s", screen)
		}
		return nil
	})
}

func TestExecOnATerminalIsAsIfOneWereThere(t *testing.T) {
	t.Parallel()
	h := startHost(t)
	h.write("web.yaml", sandboxYAML("web", "sleep infinity & wait"))
	h.waitReady("web")
	m := newTmux(t, h)
	host, guest := "host> ", "guest# "
	enter := bin(t, "vzctl") + ` exec -it -e "PS1=guest# " web -- sh`
	saved := func() string {
		m.run("send-keys", "clear; stty -g > "+filepath.Join(h.dir, "stty"), "Enter")
		m.waitFor(host)
		var state string
		h.eventually(soon, "the terminal's settings", func() error {
			data, err := os.ReadFile(filepath.Join(h.dir, "stty"))
			if state = string(data); err == nil && state == "" {
				err = errNotYet
			}
			return err
		})
		if err := os.Remove(filepath.Join(h.dir, "stty")); err != nil {
			t.Fatal(err)
		}
		return state
	}
	before := saved()

	m.line(enter)
	m.waitFor(guest)
	m.answers(guest, "hostname", "web")
	m.answers(guest, "tty", "/dev/pts/0")
	m.answers(guest, "stty size", "30 100")
	m.run("resize-window", "-x", "132", "-y", "43")
	h.eventually(soon, "the guest knows the new size", func() error {
		m.press("C-l")
		m.line("stty size")
		if !strings.Contains(m.run("capture-pane", "-p"), "43 132") {
			return errNotYet
		}
		return nil
	})
	// Editing happens in the guest: a slip is taken back.
	m.press("C-l")
	m.waitFor(guest)
	m.keys("echo onnx")
	m.press("BSpace", "BSpace")
	m.line("e two")
	h.eventually(soon, "the edited line has run", func() error {
		if screen := m.run("capture-pane", "-p"); !strings.Contains(screen, "echo one two\none two\n"+strings.TrimSpace(guest)) {
			return fmt.Errorf("the screen is\n%s", screen)
		}
		return nil
	})
	// Ctrl-C ends the job, and not the shell.
	m.press("C-l")
	m.waitFor(guest)
	m.line("echo begins; sleep 1000; echo not ended")
	m.waitFor("begins")
	m.press("C-c")
	m.waitFor(guest)
	m.answers(guest, "echo $?", "130")
	m.answers(guest, "hostname", "web")
	// The exit code comes back.
	m.line("exit 42")
	m.waitFor(host)
	m.answers(host, "echo $?", "42")
	if after := saved(); after != before {
		t.Errorf("the terminal is left as %q, it was %q", after, before)
	}

	// A client that is killed softly gives the terminal back too.
	m.line("clear; " + enter)
	m.waitFor(guest)
	m.line("exec sleep 1000")
	for _, pid := range m.children() {
		if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
	}
	m.waitFor(host)
	m.answers(host, "echo $?", "143")
	if after := saved(); after != before {
		t.Errorf("after a kill the terminal is left as %q, it was %q", after, before)
	}
	// And so does leaving by keys.
	m.line("clear; " + strings.Replace(enter, "-it", "-it --detach-keys=ctrl-p,ctrl-q", 1))
	m.waitFor(guest)
	m.press("C-p", "C-q")
	m.waitFor(host)
	m.answers(host, "echo $?", "0")
	if after := saved(); after != before {
		t.Errorf("after leaving the terminal is left as %q, it was %q", after, before)
	}
}

func TestRunOnATerminalIsLeftAndComeBackTo(t *testing.T) {
	t.Parallel()
	h := startHost(t)
	m := newTmux(t, h)
	host, guest := "host> ", "guest# "
	vzctl := bin(t, "vzctl")
	m.line("clear; " + vzctl + ` run -it -m 128m --name shell -e "PS1=guest# " docker-archive:` + busyboxArchive + " sh")
	m.waitFor(guest)
	m.answers(guest, "stty size; A=kept", "30 100")

	// The keys of docker leave it; it goes on as it was.
	m.press("C-p", "C-q")
	m.waitFor(host)
	h.waitReady("shell")
	m.line("clear; " + vzctl + " attach shell")
	m.waitFor(guest)
	m.answers(guest, "echo $A", "kept")

	m.line("exit 3")
	m.waitFor(host)
	m.answers(host, "echo $?", "3")
}
