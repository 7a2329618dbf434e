package vz

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// checkKernel refuses a kernel that the framework would start without a word of
// what is wrong: on arm64 it can enter an uncompressed Image only.
func checkKernel(path, goarch string) error {
	if goarch != "arm64" {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("kernel: %w", err)
	}
	defer f.Close()
	// See Documentation/arch/arm64/booting.rst of the kernel.
	const (
		magicOffset = 56
		magic       = "ARM\x64"
	)
	header := make([]byte, magicOffset+len(magic))
	if _, err := io.ReadFull(f, header); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("kernel: %w", err)
	}
	if string(header[magicOffset:]) != magic {
		return fmt.Errorf("kernel %s: %w: it is no uncompressed arm64 Image: install it with 'vzctl kernel install', which unpacks it",
			path, drivers.ErrInvalidArgument)
	}
	return nil
}
