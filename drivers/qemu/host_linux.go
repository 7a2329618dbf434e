package qemu

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"runtime"
	"strings"
)

// thisHost looks at the host. What cannot be read is left empty: it only makes
// a verdict last longer.
func thisHost() host {
	read := func(name string) string {
		data, err := os.ReadFile("/proc/sys/kernel/" + name) //nolint:gosec // constant names
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(data))
	}
	return host{
		os:      runtime.GOOS,
		arch:    runtime.GOARCH,
		device:  "/dev/kvm",
		release: read("osrelease"),
		bootID:  read("random/boot_id"),
		cpu:     thisCPU(),
	}
}

func thisCPU() string {
	data, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	return cpuOf(string(data))
}

// cpuOf tells one processor from another by what the kernel says of the first of
// its kind: by name, and all that its guests may have come to rely on.
func cpuOf(cpuinfo string) string {
	first, _, _ := strings.Cut(cpuinfo, "\n\n")
	name := runtime.GOARCH
	var traits []string
	for line := range strings.Lines(first) {
		key, value, _ := strings.Cut(line, ":")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		switch key {
		case "model name":
			name = value
		case "vendor_id", "cpu family", "model", "stepping", "flags",
			"Features", "CPU implementer", "CPU architecture", "CPU variant", "CPU part", "CPU revision":
			traits = append(traits, key+"="+value)
		}
	}
	sum := sha256.Sum256([]byte(strings.Join(traits, "\n")))
	return name + " (" + hex.EncodeToString(sum[:4]) + ")"
}
