//go:build linux

package agent

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/vzreconciler/vzreconciler/drivers"
)

const (
	cgroupDir = "/sys/fs/cgroup"
	// containersGroup holds a group for each container.
	containersGroup = cgroupDir + "/containers"
	agentGroup      = cgroupDir + "/agent"
	controllers     = "+cpu +memory +pids +io"

	// agentMemory is kept from what containers may push out of memory.
	agentMemory = 24 << 20
	cpuPeriod   = 100_000 // µs
)

// setupCgroups mounts the hierarchy and makes the groups that never go away.
func setupCgroups() error {
	if err := unix.Mount("cgroup2", cgroupDir, "cgroup2", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount %s: %w", cgroupDir, err)
	}
	tasks, err := os.ReadFile("/proc/sys/kernel/threads-max")
	if err != nil {
		return err
	}
	most, err := strconv.Atoi(strings.TrimSpace(string(tasks)))
	if err != nil {
		return fmt.Errorf("read threads-max: %w", err)
	}
	return setGroup(
		setting{cgroupDir + "/cgroup.subtree_control", controllers},
		setting{agentGroup + "/memory.min", strconv.Itoa(agentMemory)},
		setting{agentGroup + "/cgroup.procs", "0"}, // the agent itself
		setting{containersGroup + "/cgroup.subtree_control", controllers},
		// The agent must be able to fork whatever containers do.
		setting{containersGroup + "/pids.max", strconv.Itoa(most * 3 / 4)},
	)
}

type setting struct{ file, value string }

// setGroup writes files of groups, which it makes where they are not there.
func setGroup(settings ...setting) error {
	for _, s := range settings {
		if err := os.Mkdir(filepath.Dir(s.file), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("make the cgroup: %w", err)
		}
		if err := os.WriteFile(s.file, []byte(s.value), 0); err != nil {
			return fmt.Errorf("set up the cgroup: %w", err)
		}
	}
	return nil
}

// createGroup makes a container's group and returns its directory; zero limits
// are none. When memory runs out the whole container goes, as in Kubernetes: a
// container that lost one process at random is no good.
func createGroup(name string, cpuMillis, memoryBytes int64) (string, error) {
	dir := filepath.Join(containersGroup, name)
	settings := []setting{{dir + "/memory.oom.group", "1"}}
	if cpuMillis > 0 {
		settings = append(settings, cpuLimit(dir, cpuMillis))
	}
	if memoryBytes > 0 {
		settings = append(settings, memoryLimit(dir, memoryBytes))
	}
	return dir, setGroup(settings...)
}

func cpuLimit(dir string, millis int64) setting {
	quota := "max"
	if millis > 0 {
		quota = strconv.FormatInt(max(millis*cpuPeriod/1000, 1000), 10)
	}
	return setting{dir + "/cpu.max", fmt.Sprint(quota, " ", cpuPeriod)}
}

func memoryLimit(dir string, bytes int64) setting {
	limit := "max"
	if bytes > 0 {
		limit = strconv.FormatInt(bytes, 10)
	}
	return setting{dir + "/memory.max", limit}
}

// limitGroup gives a group other limits. It kills nothing: a memory limit that the
// group does not fit into is refused.
func limitGroup(dir string, cpuMillis, memoryBytes int64) error {
	if memoryBytes > 0 {
		if used := int64(singleValue(dir + "/memory.current")); used > memoryBytes { //nolint:gosec // it fits
			reclaim(dir, used-memoryBytes)
		}
		if used := int64(singleValue(dir + "/memory.current")); used > memoryBytes { //nolint:gosec // it fits
			return fmt.Errorf("%w: it uses %d bytes of memory, more than the limit of %d it is to have", drivers.ErrExhausted, used, memoryBytes)
		}
	}
	return setGroup(cpuLimit(dir, cpuMillis), memoryLimit(dir, memoryBytes))
}

// reclaim has the kernel give up what can be had again, as pages of files. It says
// EAGAIN when that is not all that was asked for, which package os would take for a
// reason to wait.
func reclaim(dir string, memoryBytes int64) {
	fd, err := unix.Open(dir+"/memory.reclaim", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return // a kernel before 5.19
	}
	_, _ = unix.Write(fd, strconv.AppendInt(nil, memoryBytes, 10))
	unix.Close(fd)
}

// oomKills counts the processes of a group that were killed for want of memory.
func oomKills(dir string) uint64 {
	return keyedValues(dir + "/memory.events")["oom_kill"]
}

// keyedValues reads a file of lines "KEY NUMBER"; what is not so is left out,
// and a file that cannot be read has none.
func keyedValues(file string) map[string]uint64 {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	values := map[string]uint64{}
	for s := bufio.NewScanner(bytes.NewReader(data)); s.Scan(); {
		key, number, _ := strings.Cut(s.Text(), " ")
		if n, err := strconv.ParseUint(strings.TrimSpace(number), 10, 64); err == nil {
			values[strings.TrimSuffix(key, ":")] = n
		}
	}
	return values
}

// singleValue reads a file that holds one number; "max" and errors are 0.
func singleValue(file string) uint64 {
	data, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(data)), 10, 64)
	if err != nil {
		return 0
	}
	return n
}
