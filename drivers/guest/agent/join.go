//go:build linux

package agent

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// startJoined starts a further process in the namespaces of a container's init
// process. A thread enters them, becomes what the process is to be, and forks;
// there is no way back for it, so it ends with its goroutine.
func (g *guest) startJoined(c *container, init *initProcess, spec processSpec, stdio [3]*os.File) (*child, *os.File, error) {
	type result struct {
		child  *child
		master *os.File
		err    error
	}
	results := make(chan result, 1)
	go func() {
		runtime.LockOSThread() // and never unlock
		var r result
		r.child, r.master, r.err = g.joinAndStart(c, init, spec, stdio)
		results <- r
	}()
	r := <-results
	if r.err != nil && errors.Is(r.err, unix.ESRCH) || errors.Is(r.err, unix.ENOMEM) {
		// What a namespace without its init process answers.
		select {
		case <-init.done:
			r.err = fmt.Errorf("%w: container %q is not running", drivers.ErrInvalidState, c.name)
		default:
		}
	}
	return r.child, r.master, r.err
}

func (g *guest) joinAndStart(c *container, init *initProcess, spec processSpec, stdio [3]*os.File) (*child, *os.File, error) {
	cgroup, err := os.Open(c.cgroup)
	if err != nil {
		return nil, nil, err
	}
	defer cgroup.Close()
	// A thread that shares its root directory cannot change mount namespaces.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return nil, nil, fmt.Errorf("leave the agent's directories: %w", err)
	}
	const namespaces = unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP
	if err := unix.Setns(init.pidfd, namespaces); err != nil {
		return nil, nil, fmt.Errorf("enter the container: %w", err)
	}
	files := []uintptr{stdio[0].Fd(), stdio[1].Fd(), stdio[2].Fd()}
	var master *os.File
	if spec.Terminal {
		m, slave, err := openTerminal(spec.Size)
		if err != nil {
			return nil, nil, err
		}
		defer unix.Close(slave)
		if master, err = pollable(m, "terminal"); err != nil {
			return nil, nil, err
		}
		files = []uintptr{uintptr(slave), uintptr(slave), uintptr(slave)}
	}
	child, err := g.becomeAndFork(spec, files, int(cgroup.Fd()))
	if err != nil && master != nil {
		master.Close()
	}
	return child, master, err
}

func (g *guest) becomeAndFork(spec processSpec, files []uintptr, cgroup int) (*child, error) {
	prog, err := become(spec, []int{int(files[0]), int(files[1]), int(files[2])})
	if err != nil {
		return nil, err
	}
	return g.reaper.start(func() (int, error) {
		pid, err := syscall.ForkExec(prog.path, prog.args, &syscall.ProcAttr{
			Env:   prog.env,
			Files: files,
			Sys: &syscall.SysProcAttr{
				// In the child: only root may put it into the cgroup.
				Credential:  &prog.user,
				Setsid:      true,
				Setctty:     spec.Terminal,
				UseCgroupFD: true,
				CgroupFD:    cgroup,
			},
		})
		if err != nil {
			return 0, execError(spec.Args[0], err)
		}
		return pid, nil
	})
}
