package qemu

import "syscall"

// sysProcAttr puts the child in a process group of its own, away from the
// terminal's Ctrl-C, and has the kernel kill it when its parent dies.
func sysProcAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
