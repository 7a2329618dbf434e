// Command universal joins one program, built for several architectures of macOS,
// into one file that runs on each: what lipo -create does, on any host. A slice is
// copied as it is, so that its signature holds.
//
//	go run ./internal/tools/universal -o vzctl vzctl-arm64 vzctl-amd64
package main

import (
	"bytes"
	"debug/macho"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"os"
)

func main() {
	out := flag.String("o", "", "file to write")
	flag.Parse()
	if err := run(*out, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "universal:", err)
		os.Exit(1)
	}
}

func run(out string, in []string) error {
	if out == "" || len(in) == 0 {
		return errors.New("want -o FILE and the files to join")
	}
	slices := make([][]byte, len(in))
	for i, name := range in {
		var err error
		if slices[i], err = os.ReadFile(name); err != nil {
			return err
		}
	}
	joined, err := join(slices)
	if err != nil {
		return err
	}
	return os.WriteFile(out, joined, 0o755) //nolint:gosec // a program
}

// alignBits is the logarithm of what a slice is aligned to: a page of arm64.
const alignBits = 14

// join returns the universal file of Mach-O files, see <mach-o/fat.h>.
func join(slices [][]byte) ([]byte, error) {
	const headerBytes, archBytes = 8, 20
	be := binary.BigEndian
	header := be.AppendUint32(nil, macho.MagicFat)
	header = be.AppendUint32(header, uint32(len(slices)))
	offset := align(headerBytes + archBytes*len(slices))
	var body []byte
	for i, slice := range slices {
		file, err := macho.NewFile(bytes.NewReader(slice))
		if err != nil {
			return nil, fmt.Errorf("file %d: %w", i+1, err)
		}
		at := offset + len(body)
		for _, v := range []uint32{uint32(file.Cpu), file.SubCpu, uint32(at), uint32(len(slice)), alignBits} {
			header = be.AppendUint32(header, v)
		}
		body = append(body, slice...)
		body = append(body, make([]byte, align(len(body))-len(body))...)
	}
	return append(append(header, make([]byte, offset-len(header))...), body...), nil
}

func align(n int) int { return (n + 1<<alignBits - 1) >> alignBits << alignBits }
