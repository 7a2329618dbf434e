package rootfs

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
)

var testTime = time.Date(2024, 2, 3, 4, 5, 6, 0, time.UTC)

// Entries of test layers.
func dir(name string) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755}
}

func file(name string) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644}
}

func symlink(name, target string) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777}
}

func hardlink(name, target string) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target}
}

// archive writes a tar archive. The content of a file is its name and the
// layer's, so that tests see which one won.
func archive(t testing.TB, layer string, entries ...*tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	for _, e := range entries {
		h := *e
		if h.ModTime.IsZero() {
			h.ModTime = testTime
		}
		var content []byte
		if h.Typeflag == tar.TypeReg && h.Size == 0 {
			content = []byte(h.Name + " of " + layer)
			h.Size = int64(len(content))
		} else if h.Typeflag == tar.TypeReg {
			content = make([]byte, h.Size)
		}
		if err := tw.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func layerOf(name string, plain, stored []byte) Layer {
	sum := sha256.Sum256(plain)
	return Layer{
		Name: name, DiffID: hex.EncodeToString(sum[:]),
		Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(stored)), nil },
	}
}

func layer(t testing.TB, name string, entries ...*tar.Header) Layer {
	t.Helper()
	b := archive(t, name, entries...)
	return layerOf(name, b, b)
}

// disk is a built image that is read back with e2fsprogs.
type disk struct {
	t    testing.TB
	path string
}

func build(t testing.TB, layers ...Layer) disk {
	t.Helper()
	temp := t.TempDir()
	path := filepath.Join(t.TempDir(), "root.ext4")
	if err := Build(t.Context(), path, layers, Options{TempDir: temp}); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) != 0 {
		t.Errorf("temporary files left: %v, %v", left, err)
	}
	d := disk{t, path}
	d.check()
	return d
}

// tool finds a program of e2fsprogs, which ordinary users do not have in PATH.
func tool(t testing.TB, name string) string {
	t.Helper()
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/sbin", "/usr/sbin", "/opt/homebrew/opt/e2fsprogs/sbin") {
		if p := filepath.Join(dir, name); exec.Command(p, "-V").Run() == nil { //nolint:noctx // a version
			return p
		}
	}
	t.Fatalf("%s is missing: run \"make setup\" (package e2fsprogs)", name)
	return ""
}

func (d disk) check() {
	d.t.Helper()
	out, err := exec.CommandContext(d.t.Context(), tool(d.t, "e2fsck"), "-fn", d.path).CombinedOutput()
	if err != nil {
		d.t.Errorf("e2fsck: %v\n%s", err, out)
	}
}

func (d disk) debugfs(format string, args ...any) string {
	d.t.Helper()
	var out, stderr bytes.Buffer
	cmd := exec.CommandContext(d.t.Context(), tool(d.t, "debugfs"), "-R", fmt.Sprintf(format, args...), d.path)
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Run(); err != nil {
		d.t.Fatal(err)
	}
	if strings.Contains(stderr.String(), "File not found") {
		return ""
	}
	return out.String()
}

func (d disk) stat(path string) string { return d.debugfs("stat %q", path) }

func (d disk) inode(path string) string {
	return regexp.MustCompile(`Inode: \d+`).FindString(d.stat(path))
}

func (d disk) wantContent(path, want string) {
	d.t.Helper()
	if got := d.debugfs("cat %q", path); got != want {
		d.t.Errorf("%s: content %q, want %q", path, got, want)
	}
}

func (d disk) wantGone(paths ...string) {
	d.t.Helper()
	for _, p := range paths {
		if s := d.stat(p); s != "" {
			d.t.Errorf("%s is still there:\n%s", p, s)
		}
	}
}

func (d disk) wantStat(path string, wants ...string) {
	d.t.Helper()
	got := d.stat(path)
	flat := strings.Join(strings.Fields(got), " ")
	for _, want := range wants {
		if !strings.Contains(flat, want) {
			d.t.Errorf("%s: no %q in\n%s", path, want, got)
		}
	}
}

func TestAttributesSurvive(t *testing.T) {
	long := strings.Repeat("n", 200) + "/" + strings.Repeat("m", 255)
	capability := "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	d := build(t, layer(t, "L1",
		&tar.Header{Typeflag: tar.TypeDir, Name: "./", Mode: 0o751, Uid: 3},
		&tar.Header{Typeflag: tar.TypeReg, Name: "bin/su", Mode: 0o4755, Uid: 100000, Gid: 70000},
		&tar.Header{Typeflag: tar.TypeReg, Name: "bin/ping", Mode: 0o755, Format: tar.FormatPAX,
			PAXRecords: map[string]string{xattrPrefix + "security.capability": capability, xattrPrefix + "user.note": "hi",
				xattrPrefix + "trusted.overlay.opaque": "y"}},
		&tar.Header{Typeflag: tar.TypeChar, Name: "dev/null", Mode: 0o666, Devmajor: 1, Devminor: 3},
		&tar.Header{Typeflag: tar.TypeBlock, Name: "dev/disk", Mode: 0o660, Devmajor: 259, Devminor: 300},
		&tar.Header{Typeflag: tar.TypeFifo, Name: "run/fifo", Mode: 0o600},
		&tar.Header{Typeflag: tar.TypeDir, Name: "tmp", Mode: 0o1777},
		symlink("lib", "usr/lib"),
		symlink("escape", "../../../../etc/passwd"),
		symlink("longlink", strings.Repeat("x/", 100)),
		file(long),
		file("/absolute"),
		&tar.Header{Typeflag: tar.TypeReg, Name: "zeros", Mode: 0o600, Size: 4 << 20},
	))
	d.wantStat("/", "Mode: 0751", "User: 3 ")
	d.wantStat("/bin/su", "Mode: 04755", "User: 100000 Group: 70000", "Links: 1", "2024")
	d.wantStat("/bin/ping", "security.capability", `user.note (2) = "hi"`)
	if strings.Contains(d.stat("/bin/ping"), "overlay") {
		t.Error("an attribute of overlayfs was kept")
	}
	if got := d.debugfs("ea_get -x /bin/ping security.capability"); !strings.Contains(got, "01 00 00 02 00 04") {
		t.Errorf("security.capability is %q", got)
	}
	d.wantStat("/dev/null", "Type: character special", "major/minor number: 01:03")
	d.wantStat("/dev/disk", "Type: block special", "major/minor number: 259:300")
	d.wantStat("/run/fifo", "Type: FIFO")
	d.wantStat("/tmp", "Mode: 01777")
	d.wantStat("/lib", `Fast link dest: "usr/lib"`)
	d.wantStat("/escape", `Fast link dest: "../../../../etc/passwd"`)
	d.wantStat("/longlink", "Type: symlink", "Size: 200")
	d.wantContent("/"+long, long+" of L1")
	d.wantContent("/absolute", "/absolute of L1")
	d.wantStat("/zeros", "Size: 4194304")
	fi, err := os.Stat(d.path)
	if err != nil {
		t.Fatal(err)
	}
	if used := fi.Sys().(*syscall.Stat_t).Blocks * 512; used > 2<<20 {
		t.Errorf("the image takes %d bytes of disk, want the zeros to be a hole", used)
	}
	if fi.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, want 0600", fi.Mode())
	}
}

func TestUpperLayerReplaces(t *testing.T) {
	d := build(t,
		layer(t, "L1", dir("d"), file("d/keep"), file("d/replace"), file("f"), dir("e"), file("e/x"), symlink("s", "d"), symlink("gone", "d")),
		layer(t, "L2", &tar.Header{Typeflag: tar.TypeDir, Name: "d", Mode: 0o700}, file("d/replace"), dir("f"), file("f/in"), file("e"),
			symlink("d/keep2", "keep"), dir("gone")),
	)
	d.wantStat("/d", "Mode: 0700")
	d.wantContent("/d/keep", "d/keep of L1")
	d.wantContent("/d/replace", "d/replace of L2")
	d.wantContent("/f/in", "f/in of L2")
	d.wantContent("/e", "e of L2")
	d.wantStat("/s", "symlink")
	d.wantStat("/gone", "Type: directory")
}

func TestWhiteouts(t *testing.T) {
	d := build(t,
		layer(t, "L1", file("a/f1"), file("a/f2"), dir("a/sub"), file("a/sub/x"), file("b/one"), file("b/two"), file("b/deep/old"), file("c/old")),
		layer(t, "L2",
			file("a/.wh.f1"), file("a/.wh.sub"), file("a/.wh.never-was"), file("nowhere/.wh.x"),
			// The order within a layer does not matter.
			file("b/new"), file("b/deep/new"), file("b/.wh..wh..opq"),
			file("c/.wh.old"), file("c/old"),
			file(".wh..wh.plnk/1.2"), file(".wh..wh.aufs"),
		),
	)
	d.wantGone("/a/f1", "/a/sub", "/b/one", "/b/two", "/b/deep/old", "/nowhere", "/.wh..wh.plnk", "/.wh..wh.aufs", "/a/.wh.f1")
	d.wantContent("/a/f2", "a/f2 of L1")
	d.wantContent("/b/new", "b/new of L2")
	d.wantContent("/b/deep/new", "b/deep/new of L2")
	d.wantContent("/c/old", "c/old of L2")
}

func TestHardLinksAcrossLayers(t *testing.T) {
	d := build(t,
		layer(t, "L1", file("orig"), hardlink("same", "orig"), file("lower"), file("doomed"), symlink("sym", "orig"), hardlink("symlink2", "sym")),
		layer(t, "L2",
			hardlink("d/to-lower", "lower"), hardlink("kept", "/doomed"), file(".wh.doomed"),
			file("orig"), // replaces the target: "same" keeps the old file
		),
	)
	d.wantContent("/orig", "orig of L2")
	d.wantContent("/same", "orig of L1")
	d.wantStat("/same", "Links: 1")
	d.wantContent("/d/to-lower", "lower of L1")
	if d.inode("/lower") != d.inode("/d/to-lower") || d.inode("/lower") == "" {
		t.Errorf("link to a lower layer is another file: %s, %s", d.inode("/lower"), d.inode("/d/to-lower"))
	}
	d.wantStat("/lower", "Links: 2")
	d.wantGone("/doomed")
	d.wantContent("/kept", "doomed of L1")
	if d.inode("/sym") != d.inode("/symlink2") {
		t.Error("a hard link to a symbolic link is another file")
	}
}

func TestParentThatIsASymlinkIsFollowedWithinTheImage(t *testing.T) {
	d := build(t,
		layer(t, "L1", dir("usr/bin"), symlink("bin", "usr/bin"), symlink("abs", "/usr/lib/x"), symlink("up", "../../../../usr"), file("usr/bin/old")),
		layer(t, "L2", file("bin/new"), file("abs/made"), file("up/top"), file("bin/.wh.old")),
	)
	d.wantStat("/bin", "symlink")
	d.wantContent("/usr/bin/new", "bin/new of L2")
	d.wantContent("/usr/lib/x/made", "abs/made of L2")
	d.wantContent("/usr/top", "up/top of L2")
	d.wantGone("/usr/bin/old")
}

func TestCompressionIsToldByContent(t *testing.T) {
	plain := archive(t, "L1", file("f"))
	var gz, zs bytes.Buffer
	gw := gzip.NewWriter(&gz)
	zw, err := zstd.NewWriter(&zs)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []io.WriteCloser{gw, zw} {
		if _, err := w.Write(plain); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for name, stored := range map[string][]byte{"tar": plain, "gzip": gz.Bytes(), "zstd": zs.Bytes()} {
		t.Run(name, func(t *testing.T) {
			build(t, layerOf("L1", plain, stored)).wantContent("/f", "f of L1")
		})
	}
}

func TestPOSIXACLTakesItsFormOnDisk(t *testing.T) {
	// user::rw-, user:1000:r--, group::r--, mask::r--, other::r--
	var acl []byte
	acl = binary.LittleEndian.AppendUint32(acl, 2)
	for _, e := range [][3]uint32{{1, 6, ^uint32(0)}, {2, 4, 1000}, {4, 4, ^uint32(0)}, {16, 4, ^uint32(0)}, {32, 4, ^uint32(0)}} {
		acl = binary.LittleEndian.AppendUint16(acl, uint16(e[0]))
		acl = binary.LittleEndian.AppendUint16(acl, uint16(e[1]))
		acl = binary.LittleEndian.AppendUint32(acl, e[2])
	}
	d := build(t, layer(t, "L1", &tar.Header{Typeflag: tar.TypeReg, Name: "f", Format: tar.FormatPAX,
		PAXRecords: map[string]string{xattrPrefix + "system.posix_acl_access": string(acl)}}))
	got := strings.Join(strings.Fields(d.debugfs("ea_get -x -V /f system.posix_acl_access")), " ")
	want := "01 00 00 00 01 00 06 00 02 00 04 00 e8 03 00 00 04 00 04 00 10 00 04 00 20 00 04 00"
	if !strings.Contains(d.stat("/f"), "system.posix_acl_access") {
		t.Errorf("no ACL (%s), want %s", got, want)
	}
	if disk, ok, err := diskACL("posix_acl_access", string(acl)); err != nil || !ok || fmt.Sprintf("% x", disk) != want {
		t.Errorf("got % x, %v, %v, want %s", disk, ok, err, want)
	}
}

func TestHostileLayerIsRefused(t *testing.T) {
	base := layer(t, "L1", dir("d"), file("f"), symlink("loop", "loop2"), symlink("loop2", "loop"))
	plain := archive(t, "L2", file("x"), file("y"))
	for name, tc := range map[string]struct {
		layer Layer
		want  string
	}{
		"dots":                   {layer(t, "L2", file("../evil")), "leaves the image"},
		"dots within":            {layer(t, "L2", file("d/../../evil")), "leaves the image"},
		"whiteout with dots":     {layer(t, "L2", file("d/../.wh.f")), "leaves the image"},
		"whiteout of parent":     {layer(t, "L2", file("d/.wh...")), "whiteout"},
		"whiteout of itself":     {layer(t, "L2", file("d/.wh..")), "whiteout"},
		"whiteout of nothing":    {layer(t, "L2", file("d/.wh.")), "whiteout"},
		"link outside":           {layer(t, "L2", hardlink("x", "../../etc/shadow")), "leaves the image"},
		"link to nothing":        {layer(t, "L2", hardlink("x", "etc/shadow")), "not there"},
		"link to a directory":    {layer(t, "L2", hardlink("x", "d")), "directory"},
		"link to the root":       {layer(t, "L2", hardlink("x", "/")), "not there"},
		"symlink loop":           {layer(t, "L2", file("loop/x")), "too many symbolic links"},
		"file as parent":         {layer(t, "L2", file("f/x")), "not a directory"},
		"root is a file":         {layer(t, "L2", file("./.")), "root"},
		"long name":              {layer(t, "L2", file(strings.Repeat("x", 256))), "name of 256 bytes"},
		"unknown kind":           {layer(t, "L2", &tar.Header{Typeflag: 'Z', Name: "x"}), "unknown kind"},
		"large attributes":       {layer(t, "L2", &tar.Header{Typeflag: tar.TypeReg, Name: "x", Format: tar.FormatPAX, PAXRecords: map[string]string{xattrPrefix + "user.x": strings.Repeat("x", 5000)}}), "extended attributes"},
		"truncated":              {layerOf("L2", plain, plain[:515]), "truncated"},
		"not a tar":              {layerOf("L2", []byte("x"), bytes.Repeat([]byte("x"), 2048)), "tar"},
		"damaged gzip":           {layerOf("L2", plain, []byte("\x1f\x8b\x08garbagegarbage")), "L2"},
		"another content":        {layerOf("L2", plain, archive(t, "L3", file("x"))), "digest"},
		"something after it":     {layerOf("L2", plain, append(bytes.Clone(plain), "more"...)), "digest"},
		"lost+found is a file":   {layer(t, "L2", file("lost+found")), "cannot hold"},
		"device out of range":    {layer(t, "L2", &tar.Header{Typeflag: tar.TypeChar, Name: "x", Devmajor: 1 << 20}), "out of range"},
		"size over the limit":    {layer(t, "L2", &tar.Header{Typeflag: tar.TypeReg, Name: "x", Size: 3 << 20}), "more than"},
		"too many in its layers": {layer(t, "L2", manyDirs(600)...), "nested too deeply"},
	} {
		t.Run(name, func(t *testing.T) {
			temp := t.TempDir()
			path := filepath.Join(t.TempDir(), "root.ext4")
			err := Build(t.Context(), path, []Layer{base, tc.layer}, Options{TempDir: temp, MaxBytes: 2 << 20})
			if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want ErrInvalid with %q", err, tc.want)
			}
			if _, err := os.Stat(path); err == nil {
				t.Error("there is a result")
			}
			if left, _ := os.ReadDir(temp); len(left) != 0 {
				t.Errorf("temporary files left: %v", left)
			}
		})
	}
}

// manyDirs nests directories deeper than a path can be long, by a symbolic link.
func manyDirs(n int) []*tar.Header {
	deep := strings.Repeat("x/", n)
	return []*tar.Header{dir(deep), symlink("s", deep), file("s/" + deep + "f")}
}

func TestRefusalNamesLayerAndEntry(t *testing.T) {
	err := Build(t.Context(), filepath.Join(t.TempDir(), "x"), []Layer{layer(t, "layer 1 of 1", file("a/../../b"))}, Options{TempDir: t.TempDir()})
	want := `invalid layer: layer 1 of 1: entry "a/../../b": path "a/../../b" leaves the image`
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestLittleSpaceIsLikeAFullDisk(t *testing.T) {
	temp := t.TempDir()
	err := Build(t.Context(), filepath.Join(t.TempDir(), "x"), []Layer{layer(t, "L1", file("f"))}, Options{TempDir: temp, MinFree: 1 << 60})
	if !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v, want ENOSPC", err)
	}
}

func TestCancelledBuildLeavesNothing(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("enough")
	temp := t.TempDir()
	l := layer(t, "L1", file("f"), &tar.Header{Typeflag: tar.TypeReg, Name: "big", Size: 8 << 20})
	err := Build(ctx, filepath.Join(temp, "x"), []Layer{l}, Options{TempDir: temp, Progress: func(int64) { cancel(stop) }})
	if !errors.Is(err, stop) {
		t.Errorf("got %v, want the cause", err)
	}
	if left, _ := os.ReadDir(temp); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func TestManyFiles(t *testing.T) {
	var entries []*tar.Header
	for i := range 5000 {
		entries = append(entries, file(fmt.Sprintf("dir%d/file%d", i%50, i)))
	}
	build(t, layer(t, "L1", entries...)).wantContent("/dir7/file4957", "dir7/file4957 of L1")
}

func TestNoLayersGiveAnEmptyRoot(t *testing.T) {
	build(t).wantStat("/", "Type: directory")
}
