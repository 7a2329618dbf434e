//go:build linux

package agent

import (
	"bufio"
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// statistics reads what the kernel counts, of the guest and of each container.
func (g *guest) statistics() (drivers.Statistics, error) {
	g.mu.Lock()
	groups := make(map[string]string, len(g.containers))
	for name, c := range g.containers {
		groups[name] = c.cgroup
	}
	g.mu.Unlock()
	stats := drivers.Statistics{Time: time.Now(), Containers: map[string]drivers.ResourceUse{}}
	for name, dir := range groups {
		if dir != "" {
			stats.Containers[name] = groupUse(dir)
		}
	}
	var err error
	stats.Sandbox, err = guestUse()
	return stats, err
}

func groupUse(dir string) drivers.ResourceUse {
	// Before memory.current: what is read in between the two then counts as in
	// use, and a process that is loading does not look as if it used nothing.
	reclaimable := keyedValues(dir + "/memory.stat")["inactive_file"]
	use := drivers.ResourceUse{
		CPUUsec:          keyedValues(dir + "/cpu.stat")["usage_usec"],
		MemoryBytes:      singleValue(dir + "/memory.current"),
		MemoryLimitBytes: singleValue(dir + "/memory.max"),
		Processes:        singleValue(dir + "/pids.current"),
		ProcessLimit:     singleValue(dir + "/pids.max"),
		CPUPressure:      pressure(dir + "/cpu.pressure"),
		MemoryPressure:   pressure(dir + "/memory.pressure"),
		IOPressure:       pressure(dir + "/io.pressure"),
	}
	// What can be dropped at once is not in use: the kubelet's "working set".
	use.MemoryBytes -= min(use.MemoryBytes, reclaimable)
	io, err := os.ReadFile(dir + "/io.stat")
	if err != nil {
		return use
	}
	for field := range strings.FieldsSeq(string(io)) {
		key, value, _ := strings.Cut(field, "=")
		n, err := strconv.ParseUint(value, 10, 64)
		if err != nil {
			continue
		}
		switch key {
		case "rbytes":
			use.BlockReadBytes += n
		case "wbytes":
			use.BlockWriteBytes += n
		}
	}
	return use
}

func guestUse() (drivers.ResourceUse, error) {
	var use drivers.ResourceUse
	memory := keyedKiB("/proc/meminfo")
	use.MemoryLimitBytes = memory["MemTotal"] << 10
	use.MemoryBytes = use.MemoryLimitBytes - min(use.MemoryLimitBytes, memory["MemAvailable"]<<10)
	use.Processes = singleValue(containersGroup + "/pids.current")
	use.ProcessLimit = singleValue(containersGroup + "/pids.max")
	use.CPUPressure = pressure("/proc/pressure/cpu")
	use.MemoryPressure = pressure("/proc/pressure/memory")
	use.IOPressure = pressure("/proc/pressure/io")
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return use, err
	}
	use.CPUUsec = cpuUsec(string(stat))
	network, err := os.ReadFile("/proc/net/dev")
	if err != nil {
		return use, err
	}
	countNetwork(&use, string(network))
	use.BlockReadBytes, use.BlockWriteBytes = blockBytes("/sys/block")
	return use, nil
}

// keyedKiB reads lines "KEY:  NUMBER kB".
func keyedKiB(file string) map[string]uint64 {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	values := map[string]uint64{}
	for s := bufio.NewScanner(bytes.NewReader(data)); s.Scan(); {
		if f := strings.Fields(s.Text()); len(f) >= 2 {
			values[strings.TrimSuffix(f[0], ":")], _ = strconv.ParseUint(f[1], 10, 64)
		}
	}
	return values
}

// cpuUsec sums the busy time of the first line of /proc/stat, in ticks of 10 ms:
// all of it but idle and waiting for disks, and guests, which are counted twice.
func cpuUsec(stat string) uint64 {
	line, _, _ := strings.Cut(stat, "\n")
	var ticks uint64
	for i, f := range strings.Fields(line) {
		if i == 0 || i == 4 || i == 5 || i > 8 {
			continue
		}
		n, err := strconv.ParseUint(f, 10, 64)
		if err == nil {
			ticks += n
		}
	}
	return ticks * 10_000
}

// countNetwork adds up the interfaces of /proc/net/dev but the loopback: for each
// direction it has bytes, packets, errors and five more.
func countNetwork(use *drivers.ResourceUse, dev string) {
	for line := range strings.Lines(dev) {
		name, counters, ok := strings.Cut(line, ":")
		f := strings.Fields(counters)
		if !ok || strings.TrimSpace(name) == "lo" || len(f) < 11 {
			continue
		}
		for i, sum := range map[int]*uint64{
			0: &use.NetworkRxBytes, 1: &use.NetworkRxPackets, 2: &use.NetworkRxErrors,
			8: &use.NetworkTxBytes, 9: &use.NetworkTxPackets, 10: &use.NetworkTxErrors,
		} {
			n, _ := strconv.ParseUint(f[i], 10, 64)
			*sum += n
		}
	}
}

// pressure reads a file of the kernel's pressure stall information; nil if it
// keeps none.
func pressure(file string) *drivers.Pressure {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	var p drivers.Pressure
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		share, err := strconv.ParseFloat(strings.TrimPrefix(f[1], "avg10="), 64)
		if err != nil {
			continue
		}
		switch f[0] {
		case "some":
			p.Some = share
		case "full":
			p.Full = share
		}
	}
	return &p
}

// blockBytes sums the disks below a directory like /sys/block; see
// Documentation/block/stat.rst for their fields. A sector there is 512 bytes.
func blockBytes(dir string) (read, written uint64) {
	files, err := filepath.Glob(filepath.Join(dir, "vd*", "stat"))
	if err != nil {
		return 0, 0
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		f := strings.Fields(string(data))
		if err != nil || len(f) < 7 {
			continue
		}
		r, _ := strconv.ParseUint(f[2], 10, 64)
		w, _ := strconv.ParseUint(f[6], 10, 64)
		read, written = read+r*512, written+w*512
	}
	return read, written
}
