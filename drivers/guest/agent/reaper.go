//go:build linux

package agent

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// reaper collects every child of PID 1: those started here, whose exit status
// somebody waits for, and orphans that nobody does.
type reaper struct {
	// mu is held from a fork until its child is known, so that no exit is
	// collected unseen.
	mu       sync.Mutex
	children map[int]*child
}

// child is a process that was started here.
type child struct {
	pid    int
	reaper *reaper
	done   chan struct{} // closed once status is set
	status unix.WaitStatus
}

func newReaper() *reaper { return &reaper{children: map[int]*child{}} }

// loop collects until the power goes.
func (r *reaper) loop() {
	exits := make(chan os.Signal, 1)
	signal.Notify(exits, unix.SIGCHLD)
	for {
		r.collect()
		<-exits
	}
}

func (r *reaper) collect() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, unix.WNOHANG, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		if c := r.children[pid]; c != nil {
			delete(r.children, pid)
			c.status = status
			close(c.done)
		}
	}
}

// start forks with fork and returns the child.
func (r *reaper) start(fork func() (pid int, err error)) (*child, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	pid, err := fork()
	if err != nil {
		return nil, err
	}
	c := &child{pid: pid, reaper: r, done: make(chan struct{})}
	r.children[pid] = c
	return c, nil
}

// signal sends a signal to the child, or to its whole process group.
func (c *child) signal(sig int, group bool) error {
	c.reaper.mu.Lock()
	defer c.reaper.mu.Unlock()
	// Until it is collected its pid is its own.
	if c.reaper.children[c.pid] != c {
		return fmt.Errorf("%w: the process has exited", drivers.ErrNotFound)
	}
	if group {
		_ = unix.Kill(-c.pid, syscall.Signal(sig))
	}
	if err := unix.Kill(c.pid, syscall.Signal(sig)); err != nil {
		return fmt.Errorf("signal %d: %w", sig, err)
	}
	return nil
}
