package source

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// hop is a name in a directory that decides what a path leads to.
type hop struct {
	dir, name string
}

// maxLinks is how many links the kernel follows too.
const maxLinks = 40

// resolve follows all links in an absolute path. It returns the real path and
// the hops on which it depends: each link on the way, and, when the path leads
// nowhere, the name that is missing.
func resolve(path string) (real string, hops []hop, err error) {
	real = "/"
	rest := elements(path)
	for links := 0; len(rest) > 0; {
		name := rest[0]
		rest = rest[1:]
		if name == ".." {
			real = filepath.Dir(real)
			continue
		}
		next := filepath.Join(real, name)
		fi, err := os.Lstat(next)
		if err != nil {
			return "", append(hops, hop{real, name}), err
		}
		if fi.Mode()&os.ModeSymlink == 0 {
			real = next
			continue
		}
		hops = append(hops, hop{real, name})
		if links++; links > maxLinks {
			return "", hops, &os.PathError{Op: "open", Path: path, Err: syscall.ELOOP}
		}
		target, err := os.Readlink(next)
		if err != nil {
			return "", hops, err
		}
		if filepath.IsAbs(target) {
			real = "/"
		}
		rest = append(elements(target), rest...)
	}
	return real, hops, nil
}

// elements returns the names in a path; "." and empty ones mean nothing.
func elements(path string) []string {
	var names []string
	for name := range strings.SplitSeq(path, "/") {
		if name != "" && name != "." {
			names = append(names, name)
		}
	}
	return names
}
