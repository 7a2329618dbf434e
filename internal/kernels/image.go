package kernels

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"regexp"
	"strings"
)

// maxKernelBytes bounds a kernel, compressed or not.
const maxKernelBytes = 512 << 20

// format is what a kernel file is.
type format int

const (
	formatBzImage format = iota + 1 // x86: real-mode set-up code and a compressed vmlinux
	formatELF                       // x86: vmlinux itself
	formatArm64                     // arm64: uncompressed Image
	formatGzip                      // arm64: Image.gz
	formatZboot                     // arm64: EFI application that holds a compressed Image
)

// image is a parsed kernel file.
type image struct {
	format format
	arch   string
	// version is empty where the file does not tell before it is unpacked.
	version string
	// payload is the compressed kernel within the file, if there is one.
	payload []byte
}

// Offsets of the x86 boot protocol's header, see Documentation/arch/x86/boot.rst
// of the kernel.
const (
	x86SetupSects    = 0x1f1
	x86BootFlag      = 0x1fe
	x86Magic         = 0x202
	x86Protocol      = 0x206
	x86KernelVersion = 0x20e
	x86XLoadFlags    = 0x236
	x86PayloadOffset = 0x248
	x86PayloadLength = 0x24c
	x86HeaderEnd     = 0x250
	x86SectorSize    = 512
)

// parseImage recognises a kernel by its content.
func parseImage(b []byte) (image, error) {
	le := binary.LittleEndian
	switch {
	case len(b) >= x86HeaderEnd && string(b[x86Magic:x86Magic+4]) == "HdrS" && le.Uint16(b[x86BootFlag:]) == 0xaa55:
		return parseBzImage(b)
	case bytes.HasPrefix(b, []byte(elf.ELFMAG)):
		return image{format: formatELF, arch: "amd64", version: scanVersion(b)}, nil
	case len(b) >= 28 && string(b[:2]) == "MZ" && string(b[4:8]) == "zimg":
		payload, err := slice(b, uint64(le.Uint32(b[8:])), uint64(le.Uint32(b[12:])))
		if err != nil {
			return image{}, err
		}
		return image{format: formatZboot, arch: "arm64", payload: payload}, nil
	case isArm64Image(b):
		return image{format: formatArm64, arch: "arm64", version: scanVersion(b)}, nil
	case bytes.HasPrefix(b, magicGzip):
		return image{format: formatGzip, arch: "arm64", payload: b}, nil
	}
	return image{}, fmt.Errorf("%w: it is neither an x86 bzImage, an x86-64 ELF file, an arm64 Image (plain or gzip) nor an EFI zboot image", ErrInvalid)
}

func isArm64Image(b []byte) bool {
	return len(b) >= 64 && string(b[56:60]) == "ARM\x64"
}

func parseBzImage(b []byte) (image, error) {
	le := binary.LittleEndian
	protocol := le.Uint16(b[x86Protocol:])
	if protocol < 0x020c || le.Uint16(b[x86XLoadFlags:])&1 == 0 {
		return image{}, fmt.Errorf("%w: it is no 64-bit x86 kernel (boot protocol %d.%02d)", ErrInvalid, protocol>>8, protocol&0xff)
	}
	img := image{format: formatBzImage, arch: "amd64"}
	if off := int(le.Uint16(b[x86KernelVersion:])); off != 0 && off+x86SectorSize < len(b) {
		img.version = firstWord(b[off+x86SectorSize:])
	}
	sects := uint64(b[x86SetupSects])
	if sects == 0 {
		sects = 4
	}
	var err error
	img.payload, err = slice(b, (sects+1)*x86SectorSize+uint64(le.Uint32(b[x86PayloadOffset:])), uint64(le.Uint32(b[x86PayloadLength:])))
	return img, err
}

// slice is b[off:off+n] of a file that may be damaged.
func slice(b []byte, off, n uint64) ([]byte, error) {
	if n == 0 || off > uint64(len(b)) || n > uint64(len(b))-off {
		return nil, fmt.Errorf("%w: the file is truncated or its header damaged (%d bytes are said to be at %d, the file has %d)", ErrInvalid, n, off, len(b))
	}
	return b[off : off+n], nil
}

func firstWord(b []byte) string {
	b = b[:min(len(b), 256)]
	if i := bytes.IndexAny(b, " \x00\n"); i >= 0 {
		b = b[:i]
	}
	if v := string(b); versionRE.MatchString(v) {
		return v
	}
	return ""
}

var bannerRE = regexp.MustCompile(`Linux version ([0-9][0-9A-Za-z.+~_-]{0,127}) `)

// scanVersion finds the version in an uncompressed kernel's banner.
func scanVersion(b []byte) string {
	if m := bannerRE.FindSubmatch(b); m != nil {
		return string(m[1])
	}
	return ""
}

// hasPVHEntry reports whether r is an x86-64 ELF file that a hypervisor can
// enter at its PVH entry point: one with the note XEN_ELFNOTE_PHYS32_ENTRY.
func hasPVHEntry(r io.ReaderAt) bool {
	const (
		physEntry32 = 18
		maxNotes    = 1 << 20
	)
	f, err := elf.NewFile(r)
	if err != nil || f.Class != elf.ELFCLASS64 || f.Machine != elf.EM_X86_64 || f.Type != elf.ET_EXEC {
		return false
	}
	for _, p := range f.Progs {
		if p.Type != elf.PT_NOTE || p.Filesz > maxNotes {
			continue
		}
		notes, err := io.ReadAll(p.Open())
		if err != nil {
			continue
		}
		for len(notes) >= 12 {
			nameSize, descSize := align4(f.ByteOrder.Uint32(notes)), align4(f.ByteOrder.Uint32(notes[4:]))
			typ := f.ByteOrder.Uint32(notes[8:])
			notes = notes[12:]
			if nameSize+descSize > uint64(len(notes)) {
				break
			}
			if typ == physEntry32 && strings.TrimRight(string(notes[:nameSize]), "\x00") == "Xen" {
				return true
			}
			notes = notes[nameSize+descSize:]
		}
	}
	return false
}

func align4(n uint32) uint64 {
	if n > math.MaxUint32-3 {
		return math.MaxUint32
	}
	return uint64(n+3) &^ 3
}
