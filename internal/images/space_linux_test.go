package images

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// fullDiskEnv makes the test binary run inDiskOf instead of waiting for a parent.
const fullDiskEnv = "VZRECONCILER_TEST_FULL_DISK"

// TestFullDiskWhileUnpacking has a real full disk: a small tmpfs in namespaces of
// a child process's own, for which nobody needs to be root.
func TestFullDiskWhileUnpacking(t *testing.T) {
	if dir := os.Getenv(fullDiskEnv); dir != "" {
		inFullDisk(t, dir)
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestFullDiskWhileUnpacking$", "-test.v")
	cmd.Env = append(os.Environ(), fullDiskEnv+"="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("in the child (it needs user namespaces): %v\n%s", err, out)
	}
	if !strings.Contains(string(out), "--- PASS: TestFullDiskWhileUnpacking") {
		t.Fatalf("the child did not run the test:\n%s", out)
	}
}

func inFullDisk(t *testing.T, dir string) {
	const diskBytes = 3 << 20
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", diskBytes)); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Unmount(dir, unix.MNT_DETACH) }()
	// Little to fetch, 8 MiB unpacked.
	big := strings.Repeat("0123456789abcdef", 1<<16)
	contents := make(map[string]string)
	for i := range 8 {
		contents[fmt.Sprintf("f%d", i)] = big + fmt.Sprint(i)
	}
	layoutDir := filepath.Join(t.TempDir(), "layout")
	writeLayout(t, layoutDir, "", testImage(t, tarOf(t, contents)))
	s, err := Open(filepath.Join(dir, "images"), Options{MinFreeBytes: -1})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Ensure(t.Context(), "oci-layout:"+layoutDir, EnsureOptions{Platform: amd64})
	if !errors.Is(err, ErrNoSpace) || !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "free some") {
		t.Errorf("got %v, want ErrNoSpace that says what to do", err)
	}
	nothingLeft(t, s)
	if list, err := s.List(); err != nil || len(list) != 0 {
		t.Errorf("List: %v, %v, want nothing", list, err)
	}
	// A small image still fits.
	smallDir := filepath.Join(t.TempDir(), "layout")
	writeLayout(t, smallDir, "", testImage(t, tarOf(t, map[string]string{"f": "small"})))
	if got := content(t, ensure(t, s, "oci-layout:"+smallDir, IfNotPresent), "/f"); got != "small" {
		t.Errorf("content %q", got)
	}
}

func TestDownloadThatCannotFitIsNotBegun(t *testing.T) {
	srv := newServer(t, nil)
	ref := srv.push(t, "app:v1", testImage(t, tarOf(t, map[string]string{"f": "x"})))
	s := open(t, Options{MinFreeBytes: 1 << 60})
	before := srv.count("GET", "/blobs/")
	_, err := s.Ensure(t.Context(), ref, EnsureOptions{Platform: amd64})
	if !errors.Is(err, ErrNoSpace) {
		t.Errorf("got %v, want ErrNoSpace", err)
	}
	if after := srv.count("GET", "/blobs/"); after-before != 1 {
		t.Errorf("%d blobs were fetched, want the config only", after-before)
	}
}
