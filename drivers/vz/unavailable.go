//go:build !((darwin && cgo) || vzlookalike)

package vz

import (
	"fmt"
	"runtime"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// theFramework returns a framework that is not there.
func theFramework() framework { return absent{} }

type absent struct{}

func (absent) probe() error {
	if runtime.GOOS != "darwin" {
		return fmt.Errorf("%w: Apple's Virtualization framework is part of macOS: use the runtime \"qemu\" here", drivers.ErrUnavailable)
	}
	return fmt.Errorf("%w: this program was built without cgo: build it on a Mac, with Xcode's command-line tools, by \"make build\"", drivers.ErrUnavailable)
}

func (absent) version() string { return "" }

func (absent) limits() limits { return limits{} }

func (a absent) canSave() error { return fmt.Errorf("%w: %w", drivers.ErrUnsupported, a.probe()) }

func (a absent) newIdentifier() ([]byte, error) { return nil, a.probe() }

func (a absent) newMachine(Description, files) (virtualMachine, error) {
	return nil, a.probe()
}
