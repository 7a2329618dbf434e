// Package imagebuild puts small OCI images together from files of the host, for
// the demo and the tests: no registry, no root, the same bytes each time.
package imagebuild

import (
	"archive/tar"
	"bytes"
	"context"
	"debug/elf"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// File is one entry of a layer. The type bits of Mode say what it is; Target is
// a symbolic link's.
type File struct {
	Path   string
	Mode   fs.FileMode
	Data   []byte
	Target string
}

// Busybox returns an image of a static busybox, for the architecture that it is
// for, with a link for each applet. What another architecture's has for applets is
// asked of this host's own.
func Busybox(ctx context.Context, busybox string) (v1.Image, error) {
	binary, err := os.ReadFile(busybox) //nolint:gosec // the caller's own path
	if err != nil {
		return nil, fmt.Errorf("read busybox: %w", err)
	}
	arch, err := architecture(binary)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", busybox, err)
	}
	runnable := busybox
	if arch != runtime.GOARCH {
		runnable = "busybox"
	}
	list, err := exec.CommandContext(ctx, runnable, "--list").Output() //nolint:gosec // the caller's own program
	if err != nil {
		return nil, fmt.Errorf("list the applets of %s: %w", runnable, err)
	}
	files := []File{
		{Path: "bin", Mode: fs.ModeDir | 0o755},
		{Path: "etc", Mode: fs.ModeDir | 0o755},
		{Path: "home", Mode: fs.ModeDir | 0o755},
		{Path: "root", Mode: fs.ModeDir | 0o700},
		{Path: "tmp", Mode: fs.ModeDir | fs.ModeSticky | 0o777},
		{Path: "var", Mode: fs.ModeDir | 0o755},
		{Path: "etc/passwd", Mode: 0o644, Data: []byte("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n")},
		{Path: "etc/group", Mode: 0o644, Data: []byte("root:x:0:\nnogroup:x:65534:\n")},
		{Path: "bin/busybox", Mode: 0o755, Data: binary},
	}
	for applet := range strings.FieldsSeq(string(list)) {
		if applet != "busybox" {
			files = append(files, File{Path: "bin/" + applet, Mode: fs.ModeSymlink | 0o777, Target: "busybox"})
		}
	}
	return fromFiles(files, arch, v1.Config{Cmd: []string{"/bin/sh"}, Env: []string{"PATH=/bin"}})
}

// architecture returns what a program is for, as GOARCH has it.
func architecture(program []byte) (string, error) {
	file, err := elf.NewFile(bytes.NewReader(program))
	if err != nil {
		return "", err
	}
	switch file.Machine {
	case elf.EM_X86_64:
		return "amd64", nil
	case elf.EM_AARCH64:
		return "arm64", nil
	default:
		return "", fmt.Errorf("it is for %s, which no guest here has", file.Machine)
	}
}

// FromFiles returns an image of one layer that holds files, in their order, for
// this host's architecture.
func FromFiles(files []File, config v1.Config) (v1.Image, error) {
	return fromFiles(files, runtime.GOARCH, config)
}

func fromFiles(files []File, arch string, config v1.Config) (v1.Image, error) {
	var buf bytes.Buffer
	tw := tar.NewWriter(&buf)
	for _, f := range files {
		hdr := &tar.Header{Name: f.Path, Mode: int64(unixMode(f.Mode)), Format: tar.FormatPAX}
		switch f.Mode.Type() {
		case fs.ModeDir:
			hdr.Typeflag = tar.TypeDir
			hdr.Name += "/"
		case fs.ModeSymlink:
			hdr.Typeflag = tar.TypeSymlink
			hdr.Linkname = f.Target
		case 0:
			hdr.Typeflag = tar.TypeReg
			hdr.Size = int64(len(f.Data))
		default:
			return nil, fmt.Errorf("%s: a %v cannot be put into a layer", f.Path, f.Mode.Type())
		}
		if err := tw.WriteHeader(hdr); err != nil {
			return nil, fmt.Errorf("%s: %w", f.Path, err)
		}
		if _, err := tw.Write(f.Data); err != nil {
			return nil, fmt.Errorf("%s: %w", f.Path, err)
		}
	}
	if err := tw.Close(); err != nil {
		return nil, err
	}
	return fromLayer(buf.Bytes(), arch, config)
}

// FromDir returns an image of one layer that holds a directory's content, all
// owned by root.
func FromDir(dir string, config v1.Config) (v1.Image, error) {
	var files []File
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == dir {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		f := File{Path: filepath.ToSlash(rel), Mode: info.Mode()}
		switch info.Mode().Type() {
		case fs.ModeSymlink:
			f.Target, err = os.Readlink(p)
		case 0:
			f.Data, err = os.ReadFile(p) //nolint:gosec // the caller's own directory
		}
		files = append(files, f)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", dir, err)
	}
	return FromFiles(files, config)
}

// WriteDockerArchive writes an image as `docker save` does.
func WriteDockerArchive(file, reference string, img v1.Image) error {
	tag, err := parseTag(reference)
	if err != nil {
		return err
	}
	tmp := path.Join(filepath.Dir(file), "."+filepath.Base(file)+".tmp")
	if err := tarball.WriteToFile(tmp, tag, img); err != nil {
		_ = os.Remove(tmp)
		return fmt.Errorf("write %s: %w", file, err)
	}
	return os.Rename(tmp, file)
}

func fromLayer(layer []byte, arch string, config v1.Config) (v1.Image, error) {
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(layer)), nil
	})
	if err != nil {
		return nil, fmt.Errorf("make a layer: %w", err)
	}
	img, err := mutate.AppendLayers(empty.Image, l)
	if err != nil {
		return nil, fmt.Errorf("append a layer: %w", err)
	}
	cf, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	cf = cf.DeepCopy()
	cf.Architecture, cf.OS, cf.Config = arch, "linux", config
	return mutate.ConfigFile(img, cf)
}

func unixMode(m fs.FileMode) uint32 {
	mode := uint32(m.Perm())
	for _, bit := range []struct {
		from fs.FileMode
		to   uint32
	}{{fs.ModeSetuid, 0o4000}, {fs.ModeSetgid, 0o2000}, {fs.ModeSticky, 0o1000}} {
		if m&bit.from != 0 {
			mode |= bit.to
		}
	}
	return mode
}

func parseTag(reference string) (name.Tag, error) {
	tag, err := name.NewTag(reference)
	if err != nil {
		return name.Tag{}, fmt.Errorf("image name %q: %w", reference, err)
	}
	return tag, nil
}
