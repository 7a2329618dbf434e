//go:build linux

package agent

import "strings"

const (
	letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	digits  = "0123456789"
)

// Names are checked here once more, whatever the host has checked: they become
// parts of paths, and of the options of mounts. (Without regular expressions:
// to compile one takes an emulated guest milliseconds at each start.)

// nameOK says whether a volume or container may have a name.
func nameOK(name string) bool {
	return len(name) <= 253 && only(name, letters+digits+"_.-") &&
		strings.ContainsAny(name[:1], letters+digits)
}

// sysctlOK says whether a kernel parameter can have a name: two or more parts,
// between them "." or "/".
func sysctlOK(name string) bool {
	parts := strings.FieldsFunc(name, func(r rune) bool { return r == '.' || r == '/' })
	return len(parts) >= 2 && len(strings.Join(parts, ".")) == len(name) &&
		only(name, letters+digits+"_*-./")
}

// sysctlIsIPC says whether each IPC namespace has a kernel parameter of its own.
func sysctlIsIPC(name string) bool {
	name = strings.ReplaceAll(name, "/", ".")
	for _, prefix := range []string{"kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue."} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// only says whether s is not empty and of the given characters.
func only(s, chars string) bool {
	return s != "" && strings.Trim(s, chars) == ""
}
