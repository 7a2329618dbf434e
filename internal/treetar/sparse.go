package treetar

import (
	"archive/tar"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Package archive/tar reads archives of files with holes but writes none. What
// follows writes the one format that every tar of today reads, GNU's 1.0 for the
// pax format: https://www.gnu.org/software/tar/manual/html_section/Sparse-Formats.html

const (
	blockBytes = 512
	// maxSegments bounds the map of a file's data; what comes after is data.
	maxSegments = 4096
	// ustarMost is the largest number that an octal field of 7 digits holds.
	ustarMost = 0o7777777
	// ustarSize is the same for the size, of 11 digits.
	ustarSize = 0o77777777777
)

// segment is a part of a file that is no hole.
type segment struct{ off, length int64 }

// sparse writes an entry for a file with holes.
func (p *packer) sparse(f *os.File, hdr *tar.Header, segments []segment) error {
	if err := p.tw.Flush(); err != nil {
		return err
	}
	var list strings.Builder
	fmt.Fprintf(&list, "%d\n", len(segments))
	size := int64(0)
	for _, s := range segments {
		fmt.Fprintf(&list, "%d\n%d\n", s.off, s.length)
		size += s.length
	}
	list.WriteString(strings.Repeat("\x00", padding(int64(list.Len()))))
	size += int64(list.Len())
	head, err := sparseHeader(hdr, size)
	if err != nil {
		return fmt.Errorf("pack %s: %w", hdr.Name, err)
	}
	if _, err := io.WriteString(p.w, head+list.String()); err != nil {
		return err
	}
	for _, s := range segments {
		if err := p.content(p.w, f, s.off, s.length, hdr.Name); err != nil {
			return err
		}
	}
	_, err = p.w.Write(make([]byte, padding(size)))
	return err
}

func padding(n int64) int { return int(-n & (blockBytes - 1)) }

// sparseHeader returns the blocks that come before the map of an entry of so
// many bytes.
func sparseHeader(hdr *tar.Header, size int64) (string, error) {
	if strings.Contains(hdr.Name, "\x00") {
		return "", tar.ErrHeader
	}
	records := map[string]string{
		"GNU.sparse.major": "1", "GNU.sparse.minor": "0",
		"GNU.sparse.name": hdr.Name, "GNU.sparse.realsize": strconv.FormatInt(hdr.Size, 10),
		"mtime": fmt.Sprintf("%d.%09d", hdr.ModTime.Unix(), hdr.ModTime.Nanosecond()),
	}
	if hdr.ModTime.Unix() < 0 {
		records["mtime"] = strconv.FormatInt(hdr.ModTime.Unix(), 10)
	}
	maps.Copy(records, hdr.PAXRecords)
	base := hdr
	plain := *base
	plain.Size = size
	for name, field := range map[string]struct{ value, most int64 }{
		"uid": {int64(hdr.Uid), ustarMost}, "gid": {int64(hdr.Gid), ustarMost}, "size": {size, ustarSize},
	} {
		if field.value > field.most {
			records[name] = strconv.FormatInt(field.value, 10)
		}
	}
	var pax strings.Builder
	for _, key := range slices.Sorted(maps.Keys(records)) {
		pax.WriteString(paxRecord(key, records[key]))
	}
	paxBytes := pax.Len()
	pax.WriteString(strings.Repeat("\x00", padding(int64(paxBytes))))
	ext := &tar.Header{Size: int64(paxBytes), Mode: 0o644}
	return ustar(ext, "PaxHeaders.0/file", tar.TypeXHeader) + pax.String() +
		ustar(&plain, "GNUSparseFile.0/"+shortName(hdr.Name), tar.TypeReg), nil
}

// shortName is what a tar that knows nothing of holes calls the file.
func shortName(name string) string {
	base := path.Base(name)
	const most = 60
	if len(base) > most {
		base = base[:most]
	}
	return base
}

func paxRecord(key, value string) string {
	// The length counts its own digits.
	rest := " " + key + "=" + value + "\n"
	n := len(rest)
	for digits := 1; ; digits++ {
		if total := n + digits; len(strconv.Itoa(total)) == digits {
			return strconv.Itoa(total) + rest
		}
	}
}

// ustar returns a header block.
func ustar(hdr *tar.Header, name string, kind byte) string {
	var b [blockBytes]byte
	octal := func(at, digits int, value, most int64) {
		if value < 0 || value > most {
			value = 0 // a record says it
		}
		copy(b[at:], fmt.Sprintf("%0*o", digits, value))
	}
	copy(b[0:100], name)
	octal(100, 7, hdr.Mode&0o7777, ustarMost)
	octal(108, 7, int64(hdr.Uid), ustarMost)
	octal(116, 7, int64(hdr.Gid), ustarMost)
	octal(124, 11, hdr.Size, ustarSize)
	octal(136, 11, max(hdr.ModTime.Unix(), 0), ustarSize)
	copy(b[148:], "        ")
	b[156] = kind
	copy(b[257:], "ustar\x0000")
	sum := int64(0)
	for _, c := range b {
		sum += int64(c)
	}
	copy(b[148:], fmt.Sprintf("%06o\x00 ", sum))
	return string(b[:])
}
