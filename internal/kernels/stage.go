package kernels

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/vzreconciler/vzreconciler/internal/debpkg"
	"github.com/vzreconciler/vzreconciler/internal/state"
)

// Bounds of one installation.
const (
	maxModules      = 50_000
	maxModuleBytes  = 256 << 20
	maxModulesTotal = 2 << 30
)

// stage is a kernel being put together in a temporary directory.
type stage struct {
	ctx     context.Context
	dir     string
	img     image
	vmlinux bool
	// modulesVersion is the version that the modules' directory says.
	modulesVersion string
	modules        int
	modulesBytes   int64
}

// addDeb takes the kernel and the modules out of a package.
func (st *stage) addDeb(file string) error {
	return debpkg.WalkFile(file, func(hdr *tar.Header, content io.Reader) error {
		if err := st.ctx.Err(); err != nil {
			return err
		}
		if hdr.Typeflag != tar.TypeReg {
			return nil
		}
		name := hdr.Name
		if base, ok := strings.CutPrefix(name, "boot/"); ok {
			if strings.HasPrefix(base, "vmlinuz-") || strings.HasPrefix(base, "vmlinux-") {
				return st.addImage(content)
			}
			return nil
		}
		rest, ok := strings.CutPrefix(strings.TrimPrefix(name, "usr/"), "lib/modules/")
		if !ok {
			return nil
		}
		version, file, ok := strings.Cut(rest, "/")
		if !ok {
			return nil
		}
		// It becomes part of a path, and of what people are told.
		if !versionRE.MatchString(version) {
			return fmt.Errorf("%w: its modules are of version %q", ErrInvalid, version)
		}
		return st.addModule(version, file, content)
	})
}

// addModulesDir takes the modules of a directory like /lib/modules/VERSION.
func (st *stage) addModulesDir(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, "kernel")); err != nil {
		return fmt.Errorf("%w: %s is no modules directory, it has no %q: name one like /lib/modules/VERSION", ErrInvalid, dir, "kernel/")
	}
	version := filepath.Base(filepath.Clean(dir))
	if !versionRE.MatchString(version) {
		version = ""
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	return fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		if err := st.ctx.Err(); err != nil {
			return err
		}
		if _, keep := moduleFile(name); !keep {
			return nil
		}
		f, err := root.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		return st.addModule(version, name, f)
	})
}

func (st *stage) addModule(version, name string, content io.Reader) error {
	target, keep := moduleFile(name)
	if !keep {
		return nil
	}
	if st.modulesVersion == "" {
		st.modulesVersion = version
	}
	if version != st.modulesVersion {
		return fmt.Errorf("%w: there are modules of two versions, %s and %s", ErrInvalid, st.modulesVersion, version)
	}
	if st.modules++; st.modules > maxModules {
		return fmt.Errorf("%w: more than %d modules", ErrInvalid, maxModules)
	}
	plain, err := moduleReader(name, content)
	if err != nil {
		return fmt.Errorf("%w: module %s: %w", ErrInvalid, name, err)
	}
	file := filepath.Join(st.dir, modulesDir, filepath.FromSlash(path.Clean(target)))
	if err := os.MkdirAll(filepath.Dir(file), state.DirMode); err != nil {
		return err
	}
	n, err := writeFile(file, io.LimitReader(plain, maxModuleBytes+1))
	if st.modulesBytes += n; n > maxModuleBytes || st.modulesBytes > maxModulesTotal {
		return fmt.Errorf("%w: its modules are too large", ErrInvalid)
	}
	if err != nil {
		return fmt.Errorf("module %s: %w", name, err)
	}
	return nil
}

// addImage writes the kernel and, where it can, the kernel uncompressed.
func (st *stage) addImage(r io.Reader) error {
	if st.img.format != 0 {
		return fmt.Errorf("%w: there are two kernels in it", ErrInvalid)
	}
	b, err := io.ReadAll(io.LimitReader(r, maxKernelBytes+1))
	if err != nil {
		return err
	}
	if len(b) > maxKernelBytes {
		return fmt.Errorf("%w: it is larger than %d MiB", ErrInvalid, maxKernelBytes>>20)
	}
	img, err := parseImage(b)
	if err != nil {
		return err
	}
	st.img = img
	file := filepath.Join(st.dir, imageFile)
	switch img.format {
	case formatBzImage:
		if _, err := writeFile(file, bytes.NewReader(b)); err != nil {
			return err
		}
		return st.addVMLinux(func(w io.Writer) error { return unpack(w, img.payload, maxKernelBytes) })
	case formatELF:
		if !hasPVHEntry(bytes.NewReader(b)) {
			return fmt.Errorf("%w: it is an ELF file without a PVH entry (CONFIG_PVH), which no hypervisor here can enter: use the bzImage", ErrInvalid)
		}
		if _, err := writeFile(file, bytes.NewReader(b)); err != nil {
			return err
		}
		return st.addVMLinux(func(w io.Writer) error { _, err := w.Write(b); return err })
	case formatGzip, formatZboot:
		var plain bytes.Buffer
		if err := unpack(&plain, img.payload, maxKernelBytes); err != nil {
			return fmt.Errorf("%w: cannot unpack the arm64 kernel: %w", ErrInvalid, err)
		}
		b = plain.Bytes()
		if !isArm64Image(b) {
			return fmt.Errorf("%w: what it unpacks to is no arm64 Image", ErrInvalid)
		}
		st.img.version = scanVersion(b)
	}
	_, err = writeFile(file, bytes.NewReader(b))
	return err
}

// addVMLinux writes vmlinux with write and keeps it if a hypervisor can enter it.
func (st *stage) addVMLinux(write func(io.Writer) error) error {
	file := filepath.Join(st.dir, vmlinuxFile)
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE|os.O_EXCL, state.FileMode) //nolint:gosec // in our own directory
	if err != nil {
		return err
	}
	defer f.Close()
	err = write(f)
	if err == nil && hasPVHEntry(f) {
		st.vmlinux = true
		return nil
	}
	if err != nil && !errors.Is(err, errUnsupported) {
		return err
	}
	return os.Remove(file)
}

// finish prunes the modules, checks that all belong together and returns the
// version.
func (st *stage) finish() (version string, err error) {
	if st.img.format == 0 {
		return "", fmt.Errorf("%w: there is no kernel in it (boot/vmlinuz-VERSION)", ErrInvalid)
	}
	version = st.img.version
	if version == "" {
		version = st.modulesVersion
	}
	if version == "" {
		version = "unknown"
	}
	if st.img.version != "" && st.modulesVersion != "" && st.img.version != st.modulesVersion {
		return "", fmt.Errorf("%w: the kernel is %s and the modules are of %s", ErrInvalid, st.img.version, st.modulesVersion)
	}
	if st.modules > 0 {
		if err := pruneModules(filepath.Join(st.dir, modulesDir)); err != nil {
			return "", err
		}
	}
	return version, nil
}

// digest names the content of a version's directory.
func digest(dir string) (string, error) {
	h := sha256.New()
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", err
	}
	defer root.Close()
	err = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		f, err := root.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		content := sha256.New()
		if _, err := io.Copy(content, f); err != nil {
			return err
		}
		fmt.Fprintf(h, "%s\x00%x\n", name, content.Sum(nil))
		return nil
	})
	return hex.EncodeToString(h.Sum(nil))[:12], err
}

func writeFile(file string, r io.Reader) (int64, error) {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, state.FileMode) //nolint:gosec // in our own directory
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(f, r)
	return n, errors.Join(err, f.Close())
}
