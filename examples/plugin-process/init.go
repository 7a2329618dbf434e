package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// initArg makes this program the first process of a container's process.
const initArg = "init"

// stage is what that process is told: first, on descriptor 3, before the numbers
// of signals.
type stage struct {
	Root     string   `json:"root"`
	Share    []string `json:"share,omitempty"`
	Hostname string   `json:"hostname,omitempty"`
	Args     []string `json:"args"`
	Env      []string `json:"env,omitempty"`
	Dir      string   `json:"dir,omitempty"`
}

// report is what it says on descriptor 4: that the process runs, or why not; then
// how it ended.
type report struct {
	PID    int    `json:"pid,omitempty"`
	Error  string `json:"error,omitempty"`
	Code   int    `json:"code"`
	Signal int    `json:"signal"`
}

// runInit sets the namespaces up, starts the process, passes signals on, and
// reaps. When it ends, the kernel ends all that is left in its PID namespace.
func runInit() int {
	runtime.LockOSThread() // no_new_privs is a thread's
	for _, fd := range []int{3, 4} {
		syscall.CloseOnExec(fd)
	}
	control, out := bufio.NewReader(os.NewFile(3, "control")), json.NewEncoder(os.NewFile(4, "report"))
	var s stage
	line, err := control.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &s)
	}
	if err == nil {
		err = s.enter()
	}
	var child int
	if err == nil {
		child, err = s.exec()
	}
	if err != nil {
		_ = out.Encode(report{Error: err.Error()})
		return 1
	}
	if out.Encode(report{PID: child}) != nil {
		return 1
	}
	go func() {
		for {
			n, err := control.ReadByte()
			if err != nil {
				os.Exit(1) // whoever wanted the process is gone
			}
			_ = syscall.Kill(child, syscall.Signal(n))
		}
	}()
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		if errors.Is(err, syscall.EINTR) || err == nil && pid != child {
			continue
		}
		end := report{Code: status.ExitStatus()}
		if status.Signaled() {
			end.Signal = int(status.Signal())
			end.Code = 128 + end.Signal
		}
		_ = out.Encode(end)
		return 0
	}
}

// enter makes the root directory the root, with the host's programs in it. What
// an earlier process of the container has left there is not trusted: os.Root
// follows no link out of it.
func (s *stage) enter() error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	root, err := os.OpenRoot(s.Root)
	if err != nil {
		return err
	}
	for _, dir := range append([]string{"/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc", "/opt"}, s.Share...) {
		if err := share(root, dir); err != nil {
			return fmt.Errorf("show %s: %w", dir, err)
		}
	}
	if err := root.MkdirAll("tmp", 0o755); err != nil {
		return err
	}
	if err := mount(root, "/dev", "/dev", "", syscall.MS_BIND|syscall.MS_REC); err != nil {
		return fmt.Errorf("show /dev: %w", err)
	}
	// The host's own is needed until here.
	if err := mount(root, "/proc", "proc", "proc", syscall.MS_NOSUID|syscall.MS_NODEV|syscall.MS_NOEXEC); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	if s.Hostname != "" {
		if err := syscall.Sethostname([]byte(s.Hostname)); err != nil {
			return fmt.Errorf("set the host name: %w", err)
		}
	}
	dir := filepath.Join("/", s.Dir)
	if err := errors.Join(syscall.Chroot(s.Root), os.MkdirAll(dir, 0o755), os.Chdir(dir)); err != nil {
		return fmt.Errorf("enter %s: %w", s.Root, err)
	}
	return nil
}

// mount mounts something on a directory in root, which is made if need be.
func mount(root *os.Root, dir, source, fstype string, flags uintptr) error {
	dir = strings.TrimPrefix(filepath.Clean(dir), "/")
	if err := root.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := root.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	// By descriptor: the name may mean something else by now.
	return syscall.Mount(source, fmt.Sprintf("/proc/self/fd/%d", f.Fd()), fstype, flags, "")
}

// share shows a directory of the host, read-only.
func share(root *os.Root, dir string) error {
	fi, err := os.Lstat(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if fi.Mode()&os.ModeSymlink != 0 { // as /bin is to usr/bin
		target, err := os.Readlink(dir)
		if err != nil {
			return err
		}
		if err := root.Symlink(target, strings.TrimPrefix(filepath.Clean(dir), "/")); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
		return nil
	}
	if err := mount(root, dir, dir, "", syscall.MS_BIND|syscall.MS_REC); err != nil {
		return err
	}
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		return err
	}
	// What the host has locked has to stay as it is.
	locked := uintptr(fs.Flags) & (syscall.MS_NOSUID | syscall.MS_NODEV | syscall.MS_NOEXEC)
	return mount(root, dir, "", "", syscall.MS_REMOUNT|syscall.MS_BIND|syscall.MS_RDONLY|locked)
}

// prSetNoNewPrivs is Linux's PR_SET_NO_NEW_PRIVS.
const prSetNoNewPrivs = 38

// exec starts the process.
func (s *stage) exec() (pid int, err error) {
	for _, e := range s.Env {
		if path, ok := strings.CutPrefix(e, "PATH="); ok {
			_ = os.Setenv("PATH", path)
		}
	}
	program, err := exec.LookPath(s.Args[0])
	if err != nil {
		return 0, err
	}
	if _, _, errno := syscall.RawSyscall6(syscall.SYS_PRCTL, prSetNoNewPrivs, 1, 0, 0, 0, 0); errno != 0 {
		return 0, fmt.Errorf("set no_new_privs: %w", errno)
	}
	return syscall.ForkExec(program, s.Args, &syscall.ProcAttr{
		Env: s.Env, Files: []uintptr{0, 1, 2}, Sys: &syscall.SysProcAttr{Setsid: true},
	})
}
