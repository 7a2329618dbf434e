package kernels

import (
	"bytes"
	"compress/gzip"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// moduleFile reports whether a file of a modules directory is kept, and under
// which name: modules lose the suffix of their compression.
func moduleFile(name string) (string, bool) {
	switch name {
	case "modules.builtin", "modules.builtin.modinfo", "modules.order":
		return name, true
	}
	if !strings.HasPrefix(name, "kernel/") {
		return "", false
	}
	switch path.Ext(name) {
	case ".gz", ".xz", ".zst":
		name = strings.TrimSuffix(name, path.Ext(name))
	}
	return name, path.Ext(name) == ".ko"
}

// moduleReader decompresses a module as its original name says.
func moduleReader(name string, r io.Reader) (io.Reader, error) {
	switch path.Ext(name) {
	case ".gz":
		return gzip.NewReader(r)
	case ".xz":
		return xz.NewReader(r)
	case ".zst":
		z, err := zstd.NewReader(r, zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	}
	return r, nil
}

// vmDrivers are the directories of kernel/drivers whose modules serve a VM
// that has virtio devices and nothing else.
var vmDrivers = map[string]bool{
	"block": true, "cdrom": true, "char": true, "crypto": true, "dax": true, "md": true, "net": true,
	"ptp": true, "rtc": true, "vdpa": true, "vhost": true, "virtio": true,
}

// hardwareNet are the directories of kernel/drivers/net that drive hardware, or
// devices of other hypervisors.
var hardwareNet = map[string]bool{
	"arcnet": true, "can": true, "dsa": true, "ethernet": true, "fddi": true, "fjes": true, "hamradio": true,
	"hippi": true, "hyperv": true, "ieee802154": true, "mctp": true, "mdio": true, "pcs": true, "phy": true,
	"plip": true, "usb": true, "vmxnet3": true, "wan": true, "wireless": true, "wwan": true, "xen-netback": true,
}

// keepModule says which modules are kept, by path below the modules directory.
// The rule: all that is no driver (file systems, network protocols, crypto,
// KVM, …), and of the drivers those of vmDrivers and whatever else is called
// virtio. What a kept module depends on is kept too.
func keepModule(name string) bool {
	parts := strings.Split(name, "/")
	if len(parts) < 3 || parts[1] == "sound" {
		return len(parts) < 3
	}
	if parts[1] != "drivers" || strings.Contains(name, "virtio") {
		return true
	}
	if parts[2] == "net" && hardwareNet[parts[3]] {
		return false
	}
	return vmDrivers[parts[2]]
}

// pruneModules removes from a modules directory the modules that are not kept.
func pruneModules(dir string) error {
	type module struct {
		path string
		keep bool
	}
	modules := make(map[string]*module)
	var queue []*module
	err := filepath.WalkDir(filepath.Join(dir, "kernel"), func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		m := &module{path: p, keep: keepModule(filepath.ToSlash(rel))}
		modules[moduleName(d.Name())] = m
		if m.keep {
			queue = append(queue, m)
		}
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for len(queue) > 0 {
		m := queue[0]
		queue = queue[1:]
		deps, err := moduleDepends(m.path)
		if err != nil {
			return fmt.Errorf("%w: module %s: %w", ErrInvalid, filepath.Base(m.path), err)
		}
		for _, name := range deps {
			if d := modules[moduleName(name)]; d != nil && !d.keep {
				d.keep = true
				queue = append(queue, d)
			}
		}
	}
	for _, m := range modules {
		if m.keep {
			continue
		}
		if err := os.Remove(m.path); err != nil {
			return err
		}
		// Directories that this empties go too; others refuse.
		for d := filepath.Dir(m.path); d != dir && os.Remove(d) == nil; d = filepath.Dir(d) {
			continue
		}
	}
	return nil
}

// moduleName is the name by which a module is known to others.
func moduleName(file string) string {
	return strings.ReplaceAll(strings.TrimSuffix(file, ".ko"), "-", "_")
}

// moduleDepends reads the names of the modules that the one at path needs.
func moduleDepends(path string) ([]string, error) {
	f, err := elf.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	section := f.Section(".modinfo")
	if section == nil {
		return nil, nil
	}
	if section.Size > 1<<20 {
		return nil, errors.New("its .modinfo section is too large")
	}
	info, err := section.Data()
	if err != nil {
		return nil, err
	}
	for field := range bytes.SplitSeq(info, []byte{0}) {
		if list, ok := bytes.CutPrefix(field, []byte("depends=")); ok && len(list) > 0 {
			return strings.Split(string(list), ","), nil
		}
	}
	return nil, nil
}
