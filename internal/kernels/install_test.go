package kernels

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz"
)

// testELF is a small x86-64 ELF file with one note.
func testELF(noteName string, noteType uint32, size int) []byte {
	le := binary.LittleEndian
	b := make([]byte, size)
	copy(b, "\x7fELF\x02\x01\x01")
	le.PutUint16(b[16:], 2)  // ET_EXEC
	le.PutUint16(b[18:], 62) // x86-64
	le.PutUint32(b[20:], 1)
	le.PutUint64(b[32:], 64) // program headers
	le.PutUint16(b[52:], 64)
	le.PutUint16(b[54:], 56)
	le.PutUint16(b[56:], 1)
	ph := b[64:]
	le.PutUint32(ph, 4) // PT_NOTE
	le.PutUint64(ph[8:], 128)
	le.PutUint64(ph[32:], 24)
	le.PutUint64(ph[40:], 24)
	note := b[128:]
	le.PutUint32(note, uint32(len(noteName)+1))
	le.PutUint32(note[4:], 4)
	le.PutUint32(note[8:], noteType)
	copy(note[12:], noteName)
	copy(b[256:], "Linux version 6.6.6-test (me@here) ")
	return b
}

func pvhELF() []byte { return testELF("Xen", 18, 64<<10) }

type compress func(t *testing.T, plain []byte) []byte

func sizeTrailer(b []byte, n int) []byte {
	return binary.LittleEndian.AppendUint32(b, uint32(n))
}

func gzipped(t *testing.T, plain []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	mustWrite(t, w.Write, plain)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func mustWrite(t *testing.T, write func([]byte) (int, error), b []byte) {
	t.Helper()
	if _, err := write(b); err != nil {
		t.Fatal(err)
	}
}

func lz4ed(t *testing.T, plain []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := lz4.NewWriter(&b)
	if err := w.Apply(lz4.LegacyOption(true)); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, w.Write, plain)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return sizeTrailer(b.Bytes(), len(plain))
}

func zstded(t *testing.T, plain []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return sizeTrailer(w.EncodeAll(plain, nil), len(plain))
}

func xzed(t *testing.T, plain []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := xz.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	mustWrite(t, w.Write, plain)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return sizeTrailer(b.Bytes(), len(plain))
}

// bzImage is a kernel file around a compressed payload.
func bzImage(version string, payload []byte) []byte {
	le := binary.LittleEndian
	b := make([]byte, 5*512)
	b[x86SetupSects] = 4
	le.PutUint16(b[x86BootFlag:], 0xaa55)
	copy(b[x86Magic:], "HdrS")
	le.PutUint16(b[x86Protocol:], 0x020f)
	le.PutUint16(b[x86KernelVersion:], 0x300)
	le.PutUint16(b[x86XLoadFlags:], 1)
	le.PutUint32(b[x86PayloadOffset:], 16)
	le.PutUint32(b[x86PayloadLength:], uint32(len(payload)))
	copy(b[0x500:], version+" (builder@host) #1 SMP")
	b = append(b, make([]byte, 16)...)
	return append(b, payload...)
}

// module is an ELF file that says what it depends on.
func module(depends string) []byte {
	le := binary.LittleEndian
	info := "license=GPL\x00depends=" + depends + "\x00"
	names := "\x00.modinfo\x00.shstrtab\x00"
	b := make([]byte, 64)
	copy(b, "\x7fELF\x02\x01\x01")
	le.PutUint16(b[16:], 1)
	le.PutUint16(b[18:], 62)
	le.PutUint32(b[20:], 1)
	infoOff := len(b)
	b = append(b, info...)
	namesOff := len(b)
	b = append(b, names...)
	shoff := len(b)
	le.PutUint64(b[40:], uint64(shoff))
	le.PutUint16(b[52:], 64)
	le.PutUint16(b[58:], 64)
	le.PutUint16(b[60:], 3)
	le.PutUint16(b[62:], 2)
	section := func(name, typ uint32, off, size int) {
		h := make([]byte, 64)
		le.PutUint32(h, name)
		le.PutUint32(h[4:], typ)
		le.PutUint64(h[24:], uint64(off))
		le.PutUint64(h[32:], uint64(size))
		b = append(b, h...)
	}
	section(0, 0, 0, 0)
	section(1, 1, infoOff, len(info))
	section(10, 3, namesOff, len(names))
	return b
}

type entry struct {
	name    string
	content []byte
}

// deb writes a package with the given files.
func deb(t *testing.T, entries ...entry) string {
	t.Helper()
	var data bytes.Buffer
	tw := tar.NewWriter(&data)
	for _, e := range entries {
		if err := tw.WriteHeader(&tar.Header{Name: e.name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(e.content))}); err != nil {
			t.Fatal(err)
		}
		mustWrite(t, tw.Write, e.content)
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	b.WriteString("!<arch>\n")
	member := func(name string, content []byte) {
		fmt.Fprintf(&b, "%-16s%-12d%-6d%-6d%-8s%-10d`\n", name, 0, 0, 0, "100644", len(content))
		b.Write(content)
		if len(content)%2 == 1 {
			b.WriteByte('\n')
		}
	}
	member("debian-binary", []byte("2.0\n"))
	member("control.tar.gz", gzipped(t, make([]byte, 1024)))
	member("data.tar.gz", gzipped(t, data.Bytes()))
	return write(t, "kernel.deb", b.Bytes())
}

func write(t *testing.T, name string, b []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// files lists what lies below dir, but for the lock.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var list []string
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && d.Name() != lockFile {
			rel, _ := filepath.Rel(dir, p)
			list = append(list, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestBzImageIsUnpackedWhateverItsCompression(t *testing.T) {
	for name, c := range map[string]compress{"gzip": gzipped, "lz4": lz4ed, "zstd": zstded, "xz": xzed} {
		t.Run(name, func(t *testing.T) {
			s := Open(filepath.Join(t.TempDir(), "kernels"))
			file := write(t, "vmlinuz", bzImage("6.6.6-test", c(t, pvhELF())))
			k, err := s.Install(t.Context(), InstallOptions{Image: file})
			if err != nil {
				t.Fatal(err)
			}
			if k.Name != DefaultName || k.Version != "6.6.6-test" || k.Arch != "amd64" || k.ModulesDir != "" || k.Source != file {
				t.Errorf("got %+v", k)
			}
			got, err := os.ReadFile(k.VMLinux)
			if err != nil || !bytes.Equal(got, pvhELF()) {
				t.Errorf("vmlinux: %d bytes, %v", len(got), err)
			}
			again, err := s.Get("")
			if err != nil || again != k {
				t.Errorf("Get: %+v, %v, want what Install returned", again, err)
			}
			if fi, err := os.Stat(k.Image); err != nil || fi.Mode().Perm() != 0o600 {
				t.Errorf("image: %v, %v", fi, err)
			}
		})
	}
}

func TestKernelThatCannotBeUnpackedIsKeptWithoutVMLinux(t *testing.T) {
	for name, payload := range map[string][]byte{
		"lzo":         append([]byte("\x89LZO\x00\r\n"), make([]byte, 100)...),
		"no PVH note": gzipped(t, testELF("GNU", 3, 4096)),
	} {
		t.Run(name, func(t *testing.T) {
			s := Open(t.TempDir())
			k, err := s.Install(t.Context(), InstallOptions{Image: write(t, "vmlinuz", bzImage("1.2.3", payload))})
			if err != nil {
				t.Fatal(err)
			}
			if k.VMLinux != "" {
				t.Errorf("vmlinux is %q, want none", k.VMLinux)
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(k.Image), vmlinuxFile)); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("a vmlinux is left behind: %v", err)
			}
		})
	}
}

func TestBadKernelIsRefusedAndLeavesNothing(t *testing.T) {
	good := bzImage("1.2.3", lz4ed(t, pvhELF()))
	damaged := bytes.Clone(good)
	damaged[len(damaged)-1]++
	for name, b := range map[string][]byte{
		"empty":             {},
		"text":              []byte(strings.Repeat("not a kernel ", 100)),
		"truncated":         good[:len(good)-100],
		"wrong size inside": damaged,
		"ELF without PVH":   testELF("GNU", 3, 4096),
		"gzip of text":      gzipped(t, []byte(strings.Repeat("text", 1000))),
	} {
		t.Run(name, func(t *testing.T) {
			s := Open(t.TempDir())
			_, err := s.Install(t.Context(), InstallOptions{Image: write(t, "vmlinuz", b)})
			if !errors.Is(err, ErrInvalid) {
				t.Errorf("got %v, want ErrInvalid", err)
			}
			if left := files(t, s.dir); len(left) != 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestArm64KernelIsStoredUncompressed(t *testing.T) {
	image := make([]byte, 4096)
	copy(image, "MZ")
	copy(image[56:], "ARM\x64")
	copy(image[512:], "Linux version 6.7.8-arm64 (x@y) ")
	payload := zstded(t, image)
	zboot := make([]byte, 64)
	copy(zboot, "MZ\x00\x00zimg")
	binary.LittleEndian.PutUint32(zboot[8:], 64)
	binary.LittleEndian.PutUint32(zboot[12:], uint32(len(payload)))
	for name, b := range map[string][]byte{"Image": image, "Image.gz": gzipped(t, image), "zboot": append(zboot, payload...)} {
		t.Run(name, func(t *testing.T) {
			k, err := Open(t.TempDir()).Install(t.Context(), InstallOptions{Image: write(t, "Image", b)})
			if err != nil {
				t.Fatal(err)
			}
			if k.Arch != "arm64" || k.Version != "6.7.8-arm64" || k.VMLinux != "" {
				t.Errorf("got %+v", k)
			}
			if got, err := os.ReadFile(k.Image); err != nil || !bytes.Equal(got, image) {
				t.Errorf("image: %d bytes, %v", len(got), err)
			}
		})
	}
}

func kernelEntries(t *testing.T, version string) []entry {
	t.Helper()
	dir := "./lib/modules/" + version + "/"
	return []entry{
		{"./boot/config-" + version, []byte("CONFIG")},
		{"./boot/vmlinuz-" + version, bzImage(version, lz4ed(t, pvhELF()))},
		{dir + "modules.order", []byte("kernel/fs/overlayfs/overlay.ko\n")},
		{dir + "kernel/fs/overlayfs/overlay.ko", module("")},
		{dir + "kernel/drivers/scsi/virtio_scsi.ko.xz", xzOnly(t, module("scsi-mod,virtio"))},
		{dir + "kernel/drivers/scsi/scsi_mod.ko", module("scsi_common")},
		{dir + "kernel/drivers/scsi/scsi_common.ko", module("")},
		{dir + "kernel/drivers/scsi/megaraid.ko", module("scsi_mod")},
		{dir + "kernel/drivers/net/ethernet/e1000.ko", module("")},
		{dir + "kernel/drivers/net/veth.ko", module("")},
		{dir + "kernel/drivers/virtio/virtio.ko", module("")},
		{"./usr/share/doc/linux-image/copyright", []byte("GPL")},
	}
}

func xzOnly(t *testing.T, b []byte) []byte {
	x := xzed(t, b)
	return x[:len(x)-4]
}

func TestPackageYieldsKernelAndTheModulesOfAVM(t *testing.T) {
	s := Open(t.TempDir())
	k, err := s.Install(t.Context(), InstallOptions{Name: "k1", Deb: deb(t, kernelEntries(t, "6.1.0-9-cloud")...)})
	if err != nil {
		t.Fatal(err)
	}
	if k.Version != "6.1.0-9-cloud" || k.VMLinux == "" {
		t.Errorf("got %+v", k)
	}
	got := strings.Join(files(t, k.ModulesDir), " ")
	want := "kernel/drivers/net/veth.ko kernel/drivers/scsi/scsi_common.ko kernel/drivers/scsi/scsi_mod.ko " +
		"kernel/drivers/scsi/virtio_scsi.ko kernel/drivers/virtio/virtio.ko kernel/fs/overlayfs/overlay.ko modules.order"
	if got != want {
		t.Errorf("modules:\n got %s\nwant %s", got, want)
	}
	if b, err := os.ReadFile(filepath.Join(k.ModulesDir, "kernel/drivers/scsi/virtio_scsi.ko")); err != nil || !bytes.Equal(b, module("scsi-mod,virtio")) {
		t.Errorf("module is not decompressed: %v", err)
	}
}

func TestImageWithModulesDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "6.6.6-test")
	file := filepath.Join(dir, "kernel/fs/fuse/fuse.ko")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, module(""), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc", filepath.Join(dir, "build")); err != nil {
		t.Fatal(err)
	}
	s := Open(t.TempDir())
	k, err := s.Install(t.Context(), InstallOptions{Image: write(t, "vmlinux", pvhELF()), Modules: dir})
	if err != nil {
		t.Fatal(err)
	}
	if k.Version != "6.6.6-test" || k.VMLinux == "" || strings.Join(files(t, k.ModulesDir), " ") != "kernel/fs/fuse/fuse.ko" {
		t.Errorf("got %+v with %v", k, files(t, k.ModulesDir))
	}
	_, err = s.Install(t.Context(), InstallOptions{Image: write(t, "vmlinuz", bzImage("9.9.9", gzipped(t, pvhELF()))), Modules: dir})
	if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "9.9.9") {
		t.Errorf("modules of another version: got %v, want ErrInvalid that names it", err)
	}
}

func TestHostilePackageIsRefused(t *testing.T) {
	good := kernelEntries(t, "1.2.3")
	whole, err := os.ReadFile(deb(t, good...))
	if err != nil {
		t.Fatal(err)
	}
	for name, file := range map[string]string{
		"name that leaves":  deb(t, append(good, entry{"./lib/modules/1.2.3/../../../../evil.ko", module("")})...),
		"two kernels":       deb(t, append(good, good[1])...),
		"no kernel":         deb(t, good[2:]...),
		"modules of others": deb(t, append(good, entry{"./lib/modules/9/kernel/fs/x.ko", module("")})...),
		"module no ELF":     deb(t, append(good, entry{"./lib/modules/1.2.3/kernel/fs/x.ko", []byte("x")})...),
		"truncated":         write(t, "x.deb", whole[:len(whole)-700]),
		"no package":        write(t, "x.deb", []byte("hello")),
	} {
		t.Run(name, func(t *testing.T) {
			s := Open(t.TempDir())
			_, err := s.Install(t.Context(), InstallOptions{Deb: file})
			if err == nil || !strings.Contains(err.Error(), "not a ") {
				t.Errorf("got %v, want a refusal", err)
			}
			if left := files(t, s.dir); len(left) != 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestNewVersionLeavesTheOldOneToThoseWhoUseIt(t *testing.T) {
	s := Open(t.TempDir())
	install := func(version string) Kernel {
		t.Helper()
		k, err := s.Install(t.Context(), InstallOptions{Deb: deb(t, kernelEntries(t, version)...)})
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	v1 := install("1.0.0")
	v2 := install("2.0.0")
	if again := install("2.0.0"); again.Image != v2.Image {
		t.Errorf("the same kernel again lies in another place: %s, %s", again.Image, v2.Image)
	}
	if k, err := s.Get("default"); err != nil || k.Version != "2.0.0" {
		t.Fatalf("got %+v, %v, want 2.0.0", k, err)
	}
	if err := s.Prune(t.Context(), func(dir string) bool { return dir == filepath.Dir(v1.Image) }); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(v1.VMLinux); err != nil {
		t.Errorf("the version in use is gone: %v", err)
	}
	if err := s.Prune(t.Context(), func(string) bool { return false }); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(v1.Image); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the unused version is still there: %v", err)
	}
	if _, err := s.Get(""); err != nil {
		t.Errorf("the version in use by default is gone: %v", err)
	}
}

func TestFailedInstallKeepsTheKernelThatIsThere(t *testing.T) {
	s := Open(t.TempDir())
	before, err := s.Install(t.Context(), InstallOptions{Deb: deb(t, kernelEntries(t, "1.0.0")...)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Install(t.Context(), InstallOptions{Image: write(t, "bad", []byte("bad"))}); err == nil {
		t.Fatal("a bad kernel was installed")
	}
	if after, err := s.Get(""); err != nil || after != before {
		t.Errorf("got %+v, %v, want what was there", after, err)
	}
}

func TestWhatAnInterruptedInstallLeftIsCleared(t *testing.T) {
	s := Open(t.TempDir())
	left := filepath.Join(s.dir, tempPrefix+"123")
	if err := os.Mkdir(left, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Install(t.Context(), InstallOptions{Deb: deb(t, kernelEntries(t, "1.0.0")...)}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(left); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("still there: %v", err)
	}
}

func TestMissingKernelSaysWhatToRun(t *testing.T) {
	s := Open(filepath.Join(t.TempDir(), "none"))
	_, err := s.Get("default")
	if !errors.Is(err, ErrNotInstalled) || err.Error() != `kernel "default" is not installed; run "vzctl kernel install"` {
		t.Errorf("got %v", err)
	}
	if _, err := s.Get("../x"); err == nil || errors.Is(err, ErrNotInstalled) {
		t.Errorf("bad name: got %v", err)
	}
	if list, err := s.List(); err != nil || len(list) != 0 {
		t.Errorf("List: %v, %v", list, err)
	}
	if err := s.Remove(t.Context(), "x"); !errors.Is(err, ErrNotInstalled) {
		t.Errorf("Remove: %v", err)
	}
}

func TestListAndRemove(t *testing.T) {
	s := Open(t.TempDir())
	for _, name := range []string{"b", "a"} {
		if _, err := s.Install(t.Context(), InstallOptions{Name: name, Deb: deb(t, kernelEntries(t, "1.0.0")...)}); err != nil {
			t.Fatal(err)
		}
	}
	list, err := s.List()
	if err != nil || len(list) != 2 || list[0].Name != "a" || list[1].Name != "b" {
		t.Fatalf("got %v, %v, want a and b", list, err)
	}
	if err := s.Remove(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if list, err = s.List(); err != nil || len(list) != 1 || list[0].Name != "b" {
		t.Fatalf("got %v, %v, want b", list, err)
	}
	if err := os.Remove(list[0].Image); err != nil {
		t.Fatal(err)
	}
	if list, err = s.List(); err == nil || len(list) != 0 {
		t.Errorf("a kernel without its image is listed: %v, %v", list, err)
	}
}

func TestInstallingAgainRepairsADamagedKernel(t *testing.T) {
	s := Open(t.TempDir())
	pkg := deb(t, kernelEntries(t, "1.0.0")...)
	before, err := s.Install(t.Context(), InstallOptions{Deb: pkg})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(before.Image); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(""); err == nil {
		t.Fatal("the damage is not seen")
	}
	after, err := s.Install(t.Context(), InstallOptions{Deb: pkg})
	if err != nil || after.Image != before.Image {
		t.Fatalf("got %+v, %v", after, err)
	}
	if _, err := s.Get(""); err != nil {
		t.Error(err)
	}
	if entries, err := filepath.Glob(filepath.Join(s.dir, tempPrefix+"*")); err != nil || len(entries) != 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

func TestVersionInAPackageCannotReachATerminal(t *testing.T) {
	pkg := deb(t, append(kernelEntries(t, "1.2.3")[:2], entry{"./lib/modules/1.2\x1b[31m/kernel/fs/x.ko", module("")})...)
	_, err := Open(t.TempDir()).Install(t.Context(), InstallOptions{Deb: pkg})
	if !errors.Is(err, ErrInvalid) || strings.Contains(err.Error(), "\x1b") {
		t.Errorf("got %q, want a refusal that can be printed", err)
	}
}
