package initramfs

import (
	"bytes"
	"compress/gzip"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// maxModuleBytes bounds an uncompressed module; the largest known are graphics
// drivers of some 20 MB.
const maxModuleBytes = 64 << 20

// module is one to load.
type module struct {
	name string
	when string
	data []byte
}

// tree is the modules directory of a kernel. Packages do not ship modules.dep
// (depmod makes that when they are installed), so it is read from the modules
// themselves.
type tree struct {
	files   map[string]string // by name, normalised
	builtin map[string]bool
}

// resolve returns the modules to load, each after those it depends on: first
// the required ones, then what the agent wants.
func resolve(dir string, required []string) ([]module, error) {
	if dir == "" {
		return nil, nil
	}
	t, err := openTree(dir)
	if err != nil {
		return nil, err
	}
	r := resolver{tree: t, state: map[string]bool{}}
	for _, name := range required {
		if err := r.add(normalise(name), WhenChannel); err != nil {
			return nil, err
		}
	}
	for _, m := range wanted {
		if _, ok := t.files[m.name]; !ok {
			continue
		}
		if err := r.add(m.name, m.when); err != nil {
			return nil, err
		}
	}
	return r.list, nil
}

type resolver struct {
	tree  tree
	state map[string]bool // false: under way, true: in list
	list  []module
}

func (r *resolver) add(name, when string) error {
	if done, seen := r.state[name]; done {
		return nil
	} else if seen {
		return fmt.Errorf("module %s depends on itself", name)
	}
	path, ok := r.tree.files[name]
	if !ok {
		if r.tree.builtin[name] {
			return nil
		}
		return fmt.Errorf("module %s is neither there nor built into the kernel: install a kernel with virtio support, or its complete modules", name)
	}
	r.state[name] = false
	data, err := readModule(path)
	if err != nil {
		return err
	}
	deps, err := depends(data)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	for _, d := range deps {
		if err := r.add(d, when); err != nil {
			return fmt.Errorf("%s needs: %w", name, err)
		}
	}
	r.state[name] = true
	r.list = append(r.list, module{name: name, when: when, data: data})
	return nil
}

func openTree(dir string) (tree, error) {
	t := tree{files: map[string]string{}, builtin: map[string]bool{}}
	builtin, err := os.ReadFile(filepath.Join(dir, "modules.builtin"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return t, err
	}
	for line := range strings.Lines(string(builtin)) {
		if name, ok := moduleName(strings.TrimSpace(line)); ok {
			t.builtin[name] = true
		}
	}
	err = filepath.WalkDir(filepath.Join(dir, "kernel"), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name, ok := moduleName(path); ok && d.Type().IsRegular() {
			t.files[name] = path
		}
		return nil
	})
	return t, err
}

// moduleName returns the normalised name of the module in a file, if it is one.
func moduleName(path string) (string, bool) {
	base := filepath.Base(path)
	for _, suffix := range []string{".ko", ".ko.xz", ".ko.zst", ".ko.gz"} {
		if name, ok := strings.CutSuffix(base, suffix); ok && name != "" {
			return normalise(name), true
		}
	}
	return "", false
}

// normalise makes one of a module's two spellings: a dash in a file's name is
// an underscore everywhere else.
func normalise(name string) string { return strings.ReplaceAll(name, "-", "_") }

func readModule(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var r io.Reader = f
	switch filepath.Ext(path) {
	case ".xz":
		r, err = xz.NewReader(f)
	case ".gz":
		r, err = gzip.NewReader(f)
	case ".zst":
		var d *zstd.Decoder
		if d, err = zstd.NewReader(f); err == nil {
			defer d.Close()
			r = d
		}
	}
	if err != nil {
		return nil, fmt.Errorf("unpack %s: %w", path, err)
	}
	data, err := io.ReadAll(io.LimitReader(r, maxModuleBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if len(data) > maxModuleBytes {
		return nil, fmt.Errorf("read %s: larger than %d bytes", path, maxModuleBytes)
	}
	return unsigned(data), nil
}

// unsigned returns a module without the signature at its end, if it has one. To
// check it takes an emulated guest tens of milliseconds, each time, and proves
// nothing there: whoever could change the module could change the agent. See
// scripts/sign-file.c in the kernel for the format.
func unsigned(ko []byte) []byte {
	const (
		magic      = "~Module signature appended~\n"
		infoLen    = 12 // struct module_signature; its last four bytes are the length
		lengthSize = 4
	)
	rest, ok := bytes.CutSuffix(ko, []byte(magic))
	if !ok || len(rest) < infoLen {
		return ko
	}
	n := int64(binary.BigEndian.Uint32(rest[len(rest)-lengthSize:])) + infoLen
	if n > int64(len(rest)) {
		return ko
	}
	return rest[:int64(len(rest))-n]
}

// depends returns the names of the modules that one needs, from its .modinfo
// section: strings "key=value", each ended by a NUL.
func depends(ko []byte) ([]string, error) {
	f, err := elf.NewFile(bytes.NewReader(ko))
	if err != nil {
		return nil, fmt.Errorf("no kernel module: %w", err)
	}
	section := f.Section(".modinfo")
	if section == nil {
		return nil, errors.New("no kernel module: it has no .modinfo section")
	}
	info, err := section.Data()
	if err != nil {
		return nil, fmt.Errorf("read .modinfo: %w", err)
	}
	var names []string
	for entry := range strings.SplitSeq(string(info), "\x00") {
		list, ok := strings.CutPrefix(entry, "depends=")
		if !ok {
			continue
		}
		for name := range strings.SplitSeq(list, ",") {
			if name != "" {
				names = append(names, normalise(name))
			}
		}
	}
	return names, nil
}
