//go:build unix && !linux

package qemu

import "syscall"

// sysProcAttr puts the child in a process group of its own. There is no parent
// death signal here: whoever finds the child orphaned, by the pid and start
// time in the sandbox's status, ends it.
func sysProcAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
