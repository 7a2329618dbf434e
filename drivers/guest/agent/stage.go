//go:build linux

package agent

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// stageArg as the only argument makes the agent's executable a stage.
const stageArg = "container-init"

// stageConn is the descriptor of the stage's socket to the agent. The agent
// sends a stageSpec and ends its side. The stage sends the terminal's master
// side, if there is a terminal, and then executes, which closes the socket; or
// it sends a stageError.
const stageConn = 3

// stageSpec is all that the stage needs to know.
type stageSpec struct {
	Root     string
	Cgroup   string
	ReadOnly bool
	Mounts   []bindMount
	Files    []bindFile
	Sysctls  map[string]string
	Process  processSpec
}

// stageError is an error on its way from the stage to the agent.
type stageError struct {
	Text string
	Kind string
}

var stageErrorKinds = map[string]error{
	"invalid": drivers.ErrInvalidArgument,
	"missing": drivers.ErrNotFound,
}

func newStageError(err error) stageError {
	e := stageError{Text: err.Error()}
	for kind, sentinel := range stageErrorKinds {
		if errors.Is(err, sentinel) {
			e.Kind = kind
		}
	}
	return e
}

func (e stageError) Error() string { return e.Text }

// Unwrap tells what kind of error it was in the stage.
func (e stageError) Unwrap() error { return stageErrorKinds[e.Kind] }

// IsStage reports whether a process with these arguments is to call Stage.
func IsStage(args []string) bool { return len(args) == 2 && args[1] == stageArg }

// Stage is the beginning of a container's init process: PID 1 of namespaces
// that hold nothing yet. It returns only after a failure, which it has reported.
func Stage() {
	// Root, user and capabilities are those of a thread; execution makes that
	// thread the process.
	runtime.LockOSThread()
	conn := os.NewFile(stageConn, "agent")
	_, _ = conn.WriteString(newStageError(stage(conn)).encode())
	os.Exit(1)
}

func stage(conn *os.File) error {
	unix.CloseOnExec(stageConn)
	data, err := io.ReadAll(conn)
	if err != nil {
		return err
	}
	spec, err := decodeStageSpec(string(data))
	if err != nil {
		return err
	}
	if err := enterContainer(spec); err != nil {
		return err
	}
	if _, err := unix.Setsid(); err != nil {
		return fmt.Errorf("make a session: %w", err)
	}
	if spec.Process.Terminal {
		if err := stageTerminal(spec.Process.Size); err != nil {
			return err
		}
	}
	prog, err := become(spec.Process, []int{0, 1, 2})
	if err != nil {
		return err
	}
	return prog.execute()
}

// enterContainer makes the namespaces, which are new and empty, the container's.
func enterContainer(spec stageSpec) error {
	// What is mounted from here on is nobody else's business.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	for name, value := range spec.Sysctls {
		if err := writeSysctl(name, value); err != nil {
			return err
		}
	}
	root, err := openTree(spec.Root)
	if err != nil {
		return err
	}
	defer root.close()
	if err := buildRoot(root, spec); err != nil {
		return err
	}
	if err := enterCgroup(root, spec.Cgroup); err != nil {
		return err
	}
	return pivot(root)
}

// enterCgroup puts the process under the container's limits: late, so that they
// do not slow down what is none of the container's doing.
func enterCgroup(root tree, dir string) error {
	if err := os.WriteFile(dir+"/cgroup.procs", []byte("0"), 0); err != nil {
		return fmt.Errorf("enter the cgroup: %w", err)
	}
	// A cgroup namespace begins at the group that its first process is in.
	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("make a cgroup namespace: %w", err)
	}
	return mountKernel(root, "/sys/fs/cgroup", "cgroup2", attrNoSUID|attrNoDev|attrNoExec|attrReadOnly, nil)
}

// stageTerminal makes a terminal the process's own and sends its other side to
// the agent.
func stageTerminal(size drivers.TerminalSize) error {
	master, slave, err := openTerminal(size)
	if err != nil {
		return err
	}
	defer unix.Close(master)
	for fd := range 3 {
		if err := unix.Dup3(slave, fd, 0); err != nil {
			return err
		}
	}
	unix.Close(slave)
	if err := unix.IoctlSetInt(0, unix.TIOCSCTTY, 0); err != nil {
		return fmt.Errorf("make the terminal the controlling one: %w", err)
	}
	return unix.Sendmsg(stageConn, []byte{0}, unix.UnixRights(master), nil, 0)
}

// startInit starts a stage in new namespaces and returns once it has become the
// container's program.
func (g *guest) startInit(c *container, spec processSpec, stdio [3]*os.File) (*initProcess, *os.File, error) {
	ours, theirs, err := stageSocket()
	if err != nil {
		return nil, nil, err
	}
	defer ours.Close()
	defer theirs.Close()
	g.mu.Lock()
	sysctls := g.sysctls
	g.mu.Unlock()
	data := stageSpec{
		Root: c.root, Cgroup: c.cgroup, ReadOnly: c.readOnly,
		Mounts: c.mounts, Files: c.files, Sysctls: sysctls, Process: spec,
	}.encode()
	p := &initProcess{capabilities: spec.Capabilities}
	p.child, err = g.reaper.start(func() (int, error) {
		return syscall.ForkExec(executable, []string{"agent", stageArg}, &syscall.ProcAttr{
			Dir:   "/",
			Files: []uintptr{stdio[0].Fd(), stdio[1].Fd(), stdio[2].Fd(), theirs.Fd()},
			Sys: &syscall.SysProcAttr{
				Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
				PidFD:      &p.pidfd,
			},
		})
	})
	if err != nil {
		return nil, nil, fmt.Errorf("start the init process: %w", err)
	}
	theirs.Close()
	master, err := converse(ours, data)
	if err != nil {
		_ = p.signal(int(unix.SIGKILL), false)
		<-p.done
		unix.Close(p.pidfd)
		return nil, nil, err
	}
	return p, master, nil
}

// stageSocket returns the two ends of a socket.
func stageSocket() (*net.UnixConn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	f := os.NewFile(uintptr(fds[0]), "stage")
	defer f.Close()
	theirs := os.NewFile(uintptr(fds[1]), "stage")
	conn, err := net.FileConn(f)
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return conn.(*net.UnixConn), theirs, nil
}

// converse sends the stage its specification and returns the terminal that it
// made, if any, or the error that it ended with.
func converse(conn *net.UnixConn, spec string) (master *os.File, err error) {
	if _, err := conn.Write([]byte(spec)); err != nil {
		return nil, fmt.Errorf("talk to the stage: %w", err)
	}
	if err := conn.CloseWrite(); err != nil {
		return nil, fmt.Errorf("talk to the stage: %w", err)
	}
	var said strings.Builder
	buf, oob := make([]byte, 4096), make([]byte, unix.CmsgSpace(4))
	for {
		n, oobn, _, _, err := conn.ReadMsgUnix(buf, oob)
		if oobn > 0 {
			fd, ferr := receivedFd(oob[:oobn])
			if ferr != nil {
				return nil, ferr
			}
			if master, err = pollable(fd, "terminal"); err != nil {
				return nil, err
			}
			continue // its one byte says nothing
		}
		said.Write(buf[:n])
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			said.WriteString(err.Error())
			break
		}
	}
	if said.Len() == 0 {
		return master, nil
	}
	if master != nil {
		master.Close()
	}
	failure, err := decodeStageError(said.String())
	if err != nil {
		return nil, fmt.Errorf("the stage said %q: %w", said.String(), err)
	}
	return nil, failure
}

func receivedFd(oob []byte) (int, error) {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return -1, err
	}
	if len(msgs) != 1 {
		return -1, errors.New("the stage sent no terminal")
	}
	fds, err := unix.ParseUnixRights(&msgs[0])
	if err != nil {
		return -1, err
	}
	if len(fds) != 1 {
		return -1, errors.New("the stage sent no terminal")
	}
	unix.CloseOnExec(fds[0])
	return fds[0], nil
}
