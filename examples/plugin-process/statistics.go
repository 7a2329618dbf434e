package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// Statistics adds up what the processes below each run use.
func (s *sandbox) Statistics(context.Context) (drivers.Statistics, error) {
	if err := s.life.Require("statistics", drivers.StateRunning); err != nil {
		return drivers.Statistics{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st := drivers.Statistics{Time: time.Now(), Containers: map[string]drivers.ResourceUse{}}
	for _, c := range s.config.Containers {
		st.Containers[c.Name] = drivers.ResourceUse{}
	}
	for _, p := range s.processes {
		if p.run == nil || p.run.cmd == nil {
			continue
		}
		use := st.Containers[p.status.Container]
		addUse(&use, p.run.cmd.Process.Pid, false)
		st.Containers[p.status.Container] = use
	}
	for _, use := range st.Containers {
		st.Sandbox.CPUUsec += use.CPUUsec
		st.Sandbox.MemoryBytes += use.MemoryBytes
		st.Sandbox.Processes += use.Processes
	}
	return st, nil
}

// addUse adds what a process and all below it use. The first one is ours: it
// costs memory, and is none of the container's processes.
func addUse(use *drivers.ResourceUse, pid int, counts bool) {
	dir := fmt.Sprintf("/proc/%d", pid)
	stat, _ := os.ReadFile(filepath.Join(dir, "stat")) // it may be gone by now
	// Behind the name in brackets: the state is the third field.
	_, rest, _ := strings.Cut(string(stat), ") ")
	if f := strings.Fields(rest); len(f) > 21 && f[0] != "Z" {
		const tick = 10_000 // microseconds
		use.CPUUsec += tick * (number(f[11]) + number(f[12]))
		use.MemoryBytes += uint64(os.Getpagesize()) * number(f[21])
		if counts {
			use.Processes++
		}
	}
	tasks, _ := filepath.Glob(filepath.Join(dir, "task", "*", "children")) // the pattern is good
	for _, task := range tasks {
		children, _ := os.ReadFile(task)
		for child := range strings.FieldsSeq(string(children)) {
			if n, err := strconv.Atoi(child); err == nil {
				addUse(use, n, true)
			}
		}
	}
}

func number(s string) uint64 {
	n, _ := strconv.ParseUint(s, 10, 64)
	return n
}
