package procfs

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"time"
)

// ResidentBytes returns the process's resident memory. The system call for it,
// proc_pid_rusage, needs cgo: ps has it.
func (id ID) ResidentBytes() (uint64, error) {
	if !id.Alive() {
		return 0, fmt.Errorf("process %d: %w", id.PID, ErrGone)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "/bin/ps", "-o", "rss=", "-p", strconv.Itoa(id.PID)).Output()
	if err != nil {
		return 0, fmt.Errorf("process %d: ps: %w", id.PID, err)
	}
	kib, err := strconv.ParseUint(string(bytes.TrimSpace(out)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("process %d: ps: %w", id.PID, err)
	}
	return kib << 10, nil
}
