package initramfs

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/u-root/u-root/pkg/cpio"
	"github.com/ulikunitz/xz"
)

// ko returns a kernel module that depends on others: an ELF file with nothing
// but a .modinfo section.
func ko(t *testing.T, depends string) []byte {
	t.Helper()
	const headerSize, sectionSize = 64, 64
	info := []byte("license=GPL\x00depends=" + depends + "\x00name=x\x00")
	names := []byte("\x00.modinfo\x00.shstrtab\x00")
	infoAt := uint64(headerSize)
	namesAt := infoAt + uint64(len(info))
	sectionsAt := namesAt + uint64(len(names))

	var b bytes.Buffer
	put := func(v any) {
		if err := binary.Write(&b, binary.LittleEndian, v); err != nil {
			t.Fatal(err)
		}
	}
	put([16]byte{0x7f, 'E', 'L', 'F', 2, 1, 1})
	put([]uint16{1, 62})                               // relocatable, x86-64
	put(uint32(1))                                     // version
	put([]uint64{0, 0, sectionsAt})                    // entry, segments, sections
	put(uint32(0))                                     // flags
	put([]uint16{headerSize, 0, 0, sectionSize, 3, 2}) // sizes, counts, names
	b.Write(info)
	b.Write(names)
	section := func(name, typ uint32, at, size uint64) {
		put([]uint32{name, typ})
		put([]uint64{0, 0, at, size})
		put([]uint32{0, 0})
		put([]uint64{1, 0})
	}
	section(0, 0, 0, 0)
	section(1, 1, infoAt, uint64(len(info)))
	section(10, 3, namesAt, uint64(len(names)))
	return b.Bytes()
}

// kernel makes a modules directory.
func kernel(t *testing.T, files map[string][]byte, builtin ...string) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range files {
		path := filepath.Join(dir, "kernel", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	list := strings.Join(builtin, "\n") + "\n"
	if err := os.WriteFile(filepath.Join(dir, "modules.builtin"), []byte(list), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func agentFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "agent")
	if err := os.WriteFile(path, []byte("\x7fELF the agent"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// unpack reads an archive with an implementation that is not ours.
func unpack(t *testing.T, archive []byte) map[string]cpio.Record {
	t.Helper()
	records, err := cpio.ReadAllRecords(cpio.Newc.Reader(bytes.NewReader(archive)))
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]cpio.Record{}
	for _, r := range records {
		m[r.Name] = r
	}
	return m
}

func content(t *testing.T, r cpio.Record) string {
	t.Helper()
	data, err := io.ReadAll(io.NewSectionReader(r, 0, int64(r.FileSize)))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func compressed(t *testing.T, data []byte, open func(io.Writer) (io.WriteCloser, error)) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := open(&b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestModulesComeAfterWhatTheyDependOnAndUncompressed(t *testing.T) {
	ring := ko(t, "")
	dir := kernel(t, map[string][]byte{
		"drivers/virtio/virtio_ring.ko.xz": compressed(t, ring, func(w io.Writer) (io.WriteCloser, error) { return xz.NewWriter(w) }),
		"drivers/virtio/virtio.ko.zst":     compressed(t, ko(t, "virtio_ring"), func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) }),
		"drivers/virtio/virtio_pci.ko.gz":  compressed(t, ko(t, "virtio,virtio_ring,virtio-core"), func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil }),
		"drivers/char/virtio_console.ko":   ko(t, "virtio_ring,virtio"),
		"drivers/block/virtio_blk.ko":      ko(t, "virtio_ring"),
		"fs/overlayfs/overlay.ko":          ko(t, ""),
		"drivers/char/virtio-rng.ko":       ko(t, "virtio"),
		"drivers/gpu/unwanted.ko":          []byte("not even a module"),
	}, "kernel/drivers/virtio/virtio-core.ko", "kernel/fs/ext4/ext4.ko")

	var archive bytes.Buffer
	agent := agentFile(t)
	if err := Build(&archive, Options{Agent: agent, ModulesDir: dir, Modules: []string{"virtio_pci", "virtio-console"}}); err != nil {
		t.Fatal(err)
	}
	files := unpack(t, archive.Bytes())
	want := "channel virtio_ring\nchannel virtio\nchannel virtio_pci\nchannel virtio_console\n" +
		"storage virtio_blk\nstorage overlay\nidle virtio_rng\n"
	if got := content(t, files[ListFile]); got != want {
		t.Errorf("list =\n%swant\n%s", got, want)
	}
	for line := range strings.Lines(want) {
		name := strings.Fields(line)[1]
		if !strings.HasPrefix(content(t, files["modules/"+name+".ko"]), "\x7fELF") {
			t.Errorf("module %s is not there as it is loaded", name)
		}
	}
	if got := content(t, files["modules/virtio_ring.ko"]); got != string(ring) {
		t.Error("a module was changed on the way")
	}
	if _, ok := files["modules/unwanted.ko"]; ok {
		t.Error("a module that nothing needs came along")
	}
	if r := files[Init]; content(t, r) != "\x7fELF the agent" || r.Mode != cpio.S_IFREG|0o755 {
		t.Errorf("init has mode %o", r.Mode)
	}
	if r := files["dev/console"]; r.Mode&cpio.S_IFMT != cpio.S_IFCHR || r.Rmajor != 5 || r.Rminor != 1 {
		t.Errorf("console = %+v", r.Info)
	}
	if r := files["dev/null"]; r.Mode&cpio.S_IFMT != cpio.S_IFCHR || r.Rmajor != 1 || r.Rminor != 3 {
		t.Errorf("dev/null is %+v: without it and a console the agent does not start", r)
	}
}

func TestSignaturesAreLeftOut(t *testing.T) {
	module, signature := ko(t, ""), bytes.Repeat([]byte("s"), 300)
	info := []byte{0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1, 300 - 256}
	const magic = "~Module signature appended~\n"
	signed := slices.Concat(module, signature, info, []byte(magic))
	if got := unsigned(signed); !bytes.Equal(got, module) {
		t.Errorf("%d bytes are left, want the module's %d", len(got), len(module))
	}
	for name, odd := range map[string][]byte{
		"none": module, "no length": []byte(magic), "too long a length": slices.Concat(info, []byte(magic)), "empty": nil,
	} {
		if got := unsigned(odd); !bytes.Equal(got, odd) {
			t.Errorf("%s: it was changed", name)
		}
	}
}

func TestSameContentIsTheSameArchive(t *testing.T) {
	dir := kernel(t, map[string][]byte{"a/overlay.ko": ko(t, "b"), "a/b.ko": ko(t, "")})
	opts := Options{Agent: agentFile(t), ModulesDir: dir}
	var first, second bytes.Buffer
	if err := Build(&first, opts); err != nil {
		t.Fatal(err)
	}
	if err := Build(&second, opts); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("two builds differ")
	}
	if first.Len()%4 != 0 {
		t.Errorf("the archive has %d bytes, which is no multiple of 4", first.Len())
	}
}

func TestBuildSaysWhatIsMissing(t *testing.T) {
	good := agentFile(t)
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		opts Options
		want string
	}{
		"a required module": {Options{Agent: good, ModulesDir: kernel(t, map[string][]byte{"a.ko": ko(t, "")}), Modules: []string{"virtio_pci"}}, "module virtio_pci is neither"},
		"a dependency":      {Options{Agent: good, ModulesDir: kernel(t, map[string][]byte{"a.ko": ko(t, "b")}), Modules: []string{"a"}}, "a needs: module b is neither"},
		"an end":            {Options{Agent: good, ModulesDir: kernel(t, map[string][]byte{"a.ko": ko(t, "b"), "b.ko": ko(t, "a")}), Modules: []string{"a"}}, "depends on itself"},
		"a real module":     {Options{Agent: good, ModulesDir: kernel(t, map[string][]byte{"a.ko": []byte("\x7fELF")}), Modules: []string{"a"}}, "no kernel module"},
		"a real archive":    {Options{Agent: good, ModulesDir: kernel(t, map[string][]byte{"a.ko.xz": []byte("x")}), Modules: []string{"a"}}, "unpack"},
		"the directory":     {Options{Agent: good, ModulesDir: filepath.Join(t.TempDir(), "none")}, "no such file"},
		"the agent":         {Options{Agent: filepath.Join(t.TempDir(), "none")}, "guest agent"},
		"an executable":     {Options{Agent: script}, "not a Linux executable"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if err := Build(io.Discard, tt.opts); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v, want %q in it", err, tt.want)
			}
		})
	}
}

func TestCachedBuildsOnceAndAgainAfterAChange(t *testing.T) {
	cache, agent := t.TempDir(), agentFile(t)
	opts := Options{Agent: agent, ModulesDir: kernel(t, map[string][]byte{"overlay.ko": ko(t, "")})}
	first, err := Cached(cache, opts)
	if err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(first)
	if err != nil {
		t.Fatal(err)
	}
	if mode := before.Mode().Perm(); mode != 0o600 {
		t.Errorf("mode = %o, want 600", mode)
	}
	again, err := Cached(cache, opts)
	if err != nil {
		t.Fatal(err)
	}
	after, err := os.Stat(again)
	if err != nil {
		t.Fatal(err)
	}
	if !os.SameFile(before, after) {
		t.Error("it was built twice")
	}
	if err := os.WriteFile(agent, []byte("\x7fELF a newer agent"), 0o755); err != nil {
		t.Fatal(err)
	}
	newer, err := Cached(cache, opts)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(newer)
	if err != nil {
		t.Fatal(err)
	}
	if newer == first || content(t, unpack(t, data)[Init]) != "\x7fELF a newer agent" {
		t.Error("the old agent was taken from the cache")
	}
}

func TestCachedForgetsWhatNobodyUses(t *testing.T) {
	cache, agent := t.TempDir(), agentFile(t)
	old, err := Cached(cache, Options{Agent: agent, Modules: []string{"old"}})
	if err != nil {
		t.Fatal(err)
	}
	past := time.Now().Add(-2 * keepUnused)
	if err := os.Chtimes(old, past, past); err != nil {
		t.Fatal(err)
	}
	recent, err := Cached(cache, Options{Agent: agent, Modules: []string{"recent"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Cached(cache, Options{Agent: agent, Modules: []string{"new"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(old); !os.IsNotExist(err) {
		t.Errorf("the unused one: %v, want it gone", err)
	}
	if _, err := os.Stat(recent); err != nil {
		t.Errorf("the one in use: %v", err)
	}
}

func TestCachedByManyAtOnceLeavesOneWholeFile(t *testing.T) {
	cache, opts := t.TempDir(), Options{Agent: agentFile(t), ModulesDir: kernel(t, map[string][]byte{"overlay.ko": ko(t, "")})}
	paths := make([]string, 8)
	var wg sync.WaitGroup
	for i := range paths {
		wg.Go(func() {
			path, err := Cached(cache, opts)
			if err != nil {
				t.Error(err)
				return
			}
			data, err := os.ReadFile(path)
			if err != nil {
				t.Error(err)
			}
			unpack(t, data)
			paths[i] = path
		})
	}
	wg.Wait()
	if len(slices.Compact(paths)) != 1 {
		t.Errorf("paths = %q, want one", paths)
	}
	entries, err := os.ReadDir(filepath.Join(cache, cacheSubdir))
	if err != nil || len(entries) != 1 {
		t.Errorf("the cache holds %v, %v; want one file", entries, err)
	}
}

func FuzzDepends(f *testing.F) {
	f.Add([]byte("\x7fELF"))
	f.Add(ko(&testing.T{}, "a,b"))
	f.Fuzz(func(t *testing.T, data []byte) {
		names, err := depends(data)
		if err != nil && names != nil {
			t.Errorf("names %q and error %v", names, err)
		}
		for _, name := range names {
			if name == "" || strings.ContainsAny(name, ",-\x00") {
				t.Errorf("name %q", name)
			}
		}
	})
}
