//go:build unix && !linux

package qemu

// hide leaves the socket where it is: there is no other way to dial it here.
func hide(path string) (*address, error) { return &address{path: path, named: true}, nil }

// adopted returns the sockets of a QEMU process that another process started.
func adopted(_ int, dir, id string) *sockets {
	s := &sockets{}
	for i := range socketCount {
		s.at[i] = address{path: socketPath(dir, id, i), named: true}
	}
	return s
}
