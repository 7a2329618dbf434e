package qemu

import "syscall"

// sysProcAttr puts the child in a session of its own, away from the terminal's
// Ctrl-C, and has the kernel kill a mortal one when its parent dies.
func sysProcAttr(mortal bool) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setsid: true}
	if mortal {
		attr.Pdeathsig = syscall.SIGKILL
	}
	return attr
}
