package bundle

import (
	"fmt"
	"strconv"
	"strings"
)

// Linux's real-time signals, less the two that its threads keep for themselves.
const (
	sigRTMin = 34
	sigRTMax = 64
)

// signals are Linux's numbers; the host's may be others.
func signals() map[string]int {
	return map[string]int{
		"HUP": 1, "INT": 2, "QUIT": 3, "ILL": 4, "TRAP": 5, "ABRT": 6, "IOT": 6, "BUS": 7, "FPE": 8, "KILL": 9,
		"USR1": 10, "SEGV": 11, "USR2": 12, "PIPE": 13, "ALRM": 14, "TERM": 15, "STKFLT": 16, "CHLD": 17, "CLD": 17,
		"CONT": 18, "STOP": 19, "TSTP": 20, "TTIN": 21, "TTOU": 22, "URG": 23, "XCPU": 24, "XFSZ": 25, "VTALRM": 26,
		"PROF": 27, "WINCH": 28, "IO": 29, "POLL": 29, "PWR": 30, "SYS": 31,
	}
}

// SignalNumber returns the Linux number of a signal given by name, with or
// without SIG, or by number; 0 if none is given.
func SignalNumber(s string) (int, error) {
	if s == "" {
		return 0, nil
	}
	if n, err := strconv.Atoi(s); err == nil {
		if n < 1 || n > sigRTMax {
			return 0, fmt.Errorf("there is no signal %d", n)
		}
		return n, nil
	}
	name := strings.TrimPrefix(strings.ToUpper(s), "SIG")
	if n, ok := signals()[name]; ok {
		return n, nil
	}
	n := 0
	if rest, ok := strings.CutPrefix(name, "RTMIN"); ok {
		n = offset(sigRTMin, rest, '+')
	} else if rest, ok := strings.CutPrefix(name, "RTMAX"); ok {
		n = offset(sigRTMax, rest, '-')
	}
	if n < sigRTMin || n > sigRTMax {
		return 0, fmt.Errorf("there is no signal %q", s)
	}
	return n, nil
}

// offset returns base, or base plus or minus the number after the sign, or 0.
func offset(base int, rest string, sign byte) int {
	if rest == "" {
		return base
	}
	n, err := strconv.ParseUint(rest[1:], 10, 8)
	switch {
	case err != nil || rest[0] != sign:
		return 0
	case sign == '-':
		return base - int(n)
	}
	return base + int(n)
}
