package main

import (
	"bufio"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// cpuTime returns the CPU time that this process has used.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// restTime is long enough for the collector to give memory back that it does
// not need.
const restTime = 3 * time.Second

// atRest returns the resident memory when nothing is going on.
func atRest() int64 {
	runtime.GC()
	time.Sleep(restTime) //nolint:forbidigo // it is the time that is waited for
	return memory("VmRSS")
}

// inUse returns what the heap's live objects and the goroutines' stacks take.
func inUse() (live, stacks int64) {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc), int64(m.StackInuse) //nolint:gosec // of this process
}

// memory returns a field of /proc/self/status in bytes, 0 where there is none.
func memory(field string) int64 {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		return 0
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if k, v, ok := strings.Cut(sc.Text(), ":"); ok && k == field {
			kib, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(v), " kB"), 10, 64)
			return kib << 10
		}
	}
	return 0
}
