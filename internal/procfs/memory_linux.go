package procfs

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"syscall"
)

// ResidentBytes returns the process's resident memory, see proc_pid_statm(5).
func (id ID) ResidentBytes() (uint64, error) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(id.PID) + "/statm")
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) || (err == nil && !id.Alive()) {
		return 0, fmt.Errorf("process %d: %w", id.PID, ErrGone)
	}
	if err != nil {
		return 0, err
	}
	fields := bytes.Fields(data)
	if len(fields) < 2 {
		return 0, fmt.Errorf("process %d: unexpected content of its statm file", id.PID)
	}
	pages, err := strconv.ParseUint(string(fields[1]), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("process %d: %w", id.PID, err)
	}
	return pages * uint64(os.Getpagesize()), nil
}
