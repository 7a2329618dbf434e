//go:build unix && !linux

package qemu

import (
	"errors"
	"syscall"
)

const sharedDir = "/"

func shareProcAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

// IsShareHelper reports whether a process with these arguments is to call
// ShareHelper; virtiofsd is for Linux only.
func IsShareHelper([]string) bool { return false }

// ShareHelper is for Linux only.
func ShareHelper([]string) error { return errors.ErrUnsupported }
