//go:build linux

package agent

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/vzreconciler/vzreconciler/drivers/guest/agentpb"
	"github.com/vzreconciler/vzreconciler/internal/version"
)

func info() (*agentpb.InfoResponse, error) {
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return nil, err
	}
	bootID, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return nil, err
	}
	return &agentpb.InfoResponse{
		KernelVersion: unix.ByteSliceToString(uts.Release[:]),
		BootId:        strings.TrimSpace(string(bootID)),
		TscKhz:        tscKHz(kernelLog()),
		AgentVersion:  version.String(),
	}, nil
}

// kernelLog returns what the kernel has said so far, or what is left of it.
func kernelLog() string {
	const readAll, bufferSize = 3, 10 // SYSLOG_ACTION_*, see syslog(2)
	size, err := unix.Klogctl(bufferSize, nil)
	if err != nil {
		return ""
	}
	buf := make([]byte, size)
	n, err := unix.Klogctl(readAll, buf)
	if err != nil {
		return ""
	}
	return string(buf[:n])
}

// tscKHz returns the last frequency of the time-stamp counter that the kernel
// found, 0 for none, out of lines like
//
//	[    0.000000] tsc: Detected 2445.424 MHz processor
//	[    1.879532] tsc: Refined TSC clocksource calibration: 2445.425 MHz
func tscKHz(log string) uint64 {
	var khz uint64
	for line := range strings.Lines(log) {
		_, said, ok := strings.Cut(line, "tsc: ")
		if !ok {
			continue
		}
		said, _, ok = strings.Cut(said, " MHz")
		whole, thousandths, dot := strings.Cut(said[strings.LastIndexByte(said, ' ')+1:], ".")
		if !ok || !dot || len(thousandths) != 3 {
			continue
		}
		if n, err := strconv.ParseUint(whole+thousandths, 10, 64); err == nil {
			khz = n
		}
	}
	return khz
}
