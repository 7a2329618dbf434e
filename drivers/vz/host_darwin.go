package vz

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// hostVersion tells what machines run on, for people.
func hostVersion() string {
	const name = "Virtualization.framework"
	if version, err := unix.Sysctl("kern.osproductversion"); err == nil {
		return name + " of macOS " + version
	}
	return name
}

// hostObstacle says why this Mac cannot run virtual machines, if that is so.
func hostObstacle() error {
	if able, err := unix.SysctlUint32("kern.hv_support"); err == nil && able == 0 {
		return fmt.Errorf("%w: this Mac's processor, or the virtual machine that it is, supports no virtual machines", drivers.ErrUnavailable)
	}
	return nil
}

// hostSaves says why the framework cannot save machines, if it is older than that:
// it must not be asked then.
func hostSaves() error {
	version, err := unix.Sysctl("kern.osproductversion")
	if err != nil {
		return fmt.Errorf("%w: the version of macOS is not known: %w", drivers.ErrUnsupported, err)
	}
	return savesFrom(version)
}
