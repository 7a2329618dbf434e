//go:build darwin && cgo && !arm64 && !vzlookalike

package vz

import (
	"fmt"

	"github.com/vzreconciler/vzreconciler/drivers"
)

func (virtualization) canSave() error {
	return fmt.Errorf("%w: it needs Apple silicon", drivers.ErrUnsupported)
}

func (*appleMachine) Save(string) error { return virtualization{}.canSave() }

func (*appleMachine) Restore(string) error { return virtualization{}.canSave() }
