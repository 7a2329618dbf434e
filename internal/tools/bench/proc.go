package main

import (
	"bufio"
	"bytes"
	"os"
	"strconv"
	"strings"
	"time"
)

// clockTicks is USER_HZ, which is 100 on every Linux that Go runs on.
const clockTicks = 100

// cpuTime returns the CPU time that a process has used, 0 if it is gone.
func cpuTime(pid int) time.Duration {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	f := bytes.Fields(data[bytes.LastIndexByte(data, ')')+1:])
	var ticks int
	for _, i := range []int{11, 12} { // utime, stime: fields 14 and 15 of proc(5)
		n, _ := strconv.Atoi(string(f[i]))
		ticks += n
	}
	return time.Duration(ticks) * time.Second / clockTicks
}

// rss returns the resident memory of a process in MiB, 0 if it is gone.
func rss(pid int) float64 {
	kib, _ := strconv.ParseFloat(strings.TrimSuffix(field("/proc/"+strconv.Itoa(pid)+"/status", "VmRSS"), " kB"), 64)
	return kib / 1024
}

func cpuModel() string { return field("/proc/cpuinfo", "model name") }

// field returns the value of the first "name: value" line of a file.
func field(file, name string) string {
	f, err := os.Open(file) //nolint:gosec // files of /proc
	if err != nil {
		return ""
	}
	defer f.Close()
	sc := bufio.NewScanner(f)
	for sc.Scan() {
		if k, v, ok := strings.Cut(sc.Text(), ":"); ok && strings.TrimSpace(k) == name {
			return strings.TrimSpace(v)
		}
	}
	return ""
}
