//go:build unix && !linux

package qemu

import "syscall"

// sysProcAttr puts the child in a session of its own. There is no parent death
// signal here: whoever finds the child orphaned, by the pid and start time in
// the sandbox's record, ends it.
func sysProcAttr(bool) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setsid: true}
}
