//go:build darwin && cgo

// Package intelless uses what vz has on arm64 only.
package intelless

import "github.com/Code-Hex/vz/v3"

// Save is not there on an Intel Mac.
func Save(m *vz.VirtualMachine) error { return m.SaveMachineStateToPath("/nowhere") }
