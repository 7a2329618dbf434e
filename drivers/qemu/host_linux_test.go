package qemu

import (
	"strings"
	"testing"
)

func TestProcessorIsToldFromOthersByWhatGuestsSee(t *testing.T) {
	const info = "processor\t: 0\nvendor_id\t: AuthenticAMD\nmodel name\t: AMD EPYC\ncpu MHz\t\t: 2596.000\nflags\t\t: fpu vme\n\nprocessor\t: 1\nflags\t\t: none\n"
	cpu := cpuOf(info)
	if !strings.HasPrefix(cpu, "AMD EPYC (") {
		t.Errorf("named %q", cpu)
	}
	if got := cpuOf(strings.Replace(info, "2596", "1400", 1)); got != cpu {
		t.Errorf("%q at another speed, else %q", got, cpu)
	}
	if got := cpuOf(strings.Replace(info, "vme", "avx2", 1)); got == cpu {
		t.Errorf("%q with other features too", got)
	}
}
