//go:build darwin && cgo

// Package wrong calls vz as it cannot be called: only a Mac's compiler would say.
package wrong

import "github.com/Code-Hex/vz/v3"

// Loader gives the number of CPUs for the kernel's path.
func Loader() (*vz.LinuxBootLoader, error) { return vz.NewLinuxBootLoader(1) }
