package e2e

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vzreconciler/vzreconciler/manifests"
)

// withVolume is a sandbox that has a volume at /data.
func withVolume(name string) string {
	y := strings.Replace(sandboxYAML(name, "sleep infinity"), "        command:",
		"        volumeMounts: [{name: data, mountPath: /data}]\n        command:", 1)
	return strings.Replace(y, "      containers:", "      volumes: [{name: data, emptyDir: {}}]\n      containers:", 1)
}

// makeTree makes a directory with about all that can be copied.
func makeTree(t *testing.T, dir string) {
	t.Helper()
	noise := make([]byte, 8<<20+1)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(noise)
	for _, f := range []struct {
		name string
		data []byte
		mode fs.FileMode
	}{
		{"plain", []byte("text\n"), 0o644},
		{"empty", nil, 0o600},
		{"bin/program", []byte("#!/bin/sh\n"), 0o755},
		{"deep/er/noise", noise, 0o640},
		{"deep/odd name ñ", []byte("odd"), 0o400},
	} {
		path := filepath.Join(dir, f.name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, f.data, f.mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(
		os.Symlink("../plain", filepath.Join(dir, "deep", "link")),
		os.Link(filepath.Join(dir, "plain"), filepath.Join(dir, "hard")),
		os.Mkdir(filepath.Join(dir, "none"), 0o711),
		os.WriteFile(filepath.Join(dir, "holes"), []byte("begin"), 0o600),
		os.Truncate(filepath.Join(dir, "holes"), 32<<20),
	); err != nil {
		t.Fatal(err)
	}
	when := time.Date(2022, 1, 2, 3, 4, 5, 0, time.UTC)
	if err := os.Chtimes(filepath.Join(dir, "plain"), when, when); err != nil {
		t.Fatal(err)
	}
}

// describeTree tells all of a tree that a copy must keep.
func describeTree(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		fmt.Fprintf(&b, "%s %s", name, info.Mode())
		switch {
		case info.Mode().IsRegular():
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " %d %x %d", info.Size(), sha256.Sum256(data), info.ModTime().UnixNano())
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " -> %s", target)
		}
		b.WriteByte('\n')
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestCopiesAndExports(t *testing.T) {
	t.Parallel()
	h := startHost(t)
	h.write("web.yaml", withVolume("web"))
	h.waitReady("web")
	t.Run("TreesComeBackAsTheyWent", h.with(treesComeBack))
	t.Run("NothingLeadsOutOfASandboxOrIntoTheHost", h.with(nothingLeadsOut))
	t.Run("ArchivesPassThrough", h.with(archivesPassThrough))
	t.Run("InterruptedCopyLeavesNoHalfFile", h.with(interrupted))
	t.Run("ExportIsTheSameRunningAndStopped", h.with(exports))
}

// with makes a part of a test of one that shares a host.
func (h *host) with(f func(h *host)) func(*testing.T) {
	return func(t *testing.T) {
		part := *h
		part.t = t
		f(&part)
	}
}

func treesComeBack(h *host) {
	src := filepath.Join(h.t.TempDir(), "tree")
	makeTree(h.t, src)
	want := describeTree(h.t, src)
	for _, at := range []string{"/srv", "/data/srv"} {
		h.vzctlOK("cp", src, "web:"+at)
		out := h.t.TempDir()
		h.vzctlOK("cp", "default/web:"+at, out)
		if got := describeTree(h.t, filepath.Join(out, "srv")); got != want {
			h.t.Errorf("by way of %s:\n%s\nwant\n%s", at, got, want)
		}
		h.vzctlOK("cp", "web:"+at+"/.", filepath.Join(out, "other"))
		if got := describeTree(h.t, filepath.Join(out, "other")); got != want {
			h.t.Errorf("the contents of %s:\n%s\nwant\n%s", at, got, want)
		}
	}
	// A process in the container sees them, and they are root's.
	got := h.vzctlOK("exec", "web", "--", "sh", "-c", "cat /srv/plain; stat -c '%a %u %g %h' /srv/plain /srv/bin/program; du -k /srv/holes | cut -f 1; readlink /srv/deep/link")
	lines := strings.Split(strings.TrimSpace(got), "\n")
	if len(lines) != 5 || lines[0] != "text" || lines[1] != "644 0 0 2" || lines[2] != "755 0 0 1" || lines[4] != "../plain" {
		h.t.Errorf("in the sandbox: %q", lines)
	}
	var kib int
	if _, err := fmt.Sscan(lines[3], &kib); err != nil || kib > 1024 {
		h.t.Errorf("the file with holes takes %s KiB", lines[3])
	}
}

func nothingLeadsOut(h *host) {
	// From the sandbox: links to everywhere.
	h.vzctlOK("exec", "web", "--", "sh", "-c", `mkdir -p /evil/d && cd /evil && echo x >d/f &&
		ln -s /etc/passwd abs && ln -s ../../../../etc/passwd up && ln -s d inside && ln -s /evil/d d/self && mkfifo pipe && mknod dev b 1 1`)
	out := h.t.TempDir()
	_, stderr, code := h.vzctl("cp", "web:/evil", out)
	if code != 0 {
		h.t.Fatalf("exit code %d: %s", code, stderr)
	}
	for _, name := range []string{"abs", "up", "d/self", "pipe", "dev"} {
		if _, err := os.Lstat(filepath.Join(out, "evil", name)); err == nil {
			h.t.Errorf("%s was made", name)
		}
		if !strings.Contains(stderr, "evil/"+name+" ") {
			h.t.Errorf("no warning names %s: %s", name, stderr)
		}
	}
	if got, err := os.Readlink(filepath.Join(out, "evil", "inside")); err != nil || got != "d" {
		h.t.Errorf("the link inside is %q, %v", got, err)
	}

	// Into the sandbox: links that wait there.
	h.vzctlOK("exec", "web", "--", "sh", "-c", "mkdir -p /box && ln -s /etc /box/out && ln -s ../etc /box/up && ln -s /nowhere/file /box/file")
	src := h.t.TempDir()
	for _, name := range []string{"one/out/planted", "two/up/planted", "three/file"} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(filepath.Join(src, name)), 0o755), os.WriteFile(filepath.Join(src, name), []byte("x"), 0o600)); err != nil {
			h.t.Fatal(err)
		}
	}
	for _, dir := range []string{"one", "two"} {
		if _, _, code := h.vzctl("cp", filepath.Join(src, dir)+"/.", "web:/box"); code != 1 {
			h.t.Errorf("%s was copied over a link that leads out: exit code %d", dir, code)
		}
	}
	h.vzctlOK("cp", filepath.Join(src, "three")+"/.", "web:/box")
	if got := h.vzctlOK("exec", "web", "--", "sh", "-c", "ls /etc/planted 2>/dev/null; cat /box/file; ls -d /nowhere 2>/dev/null || true"); got != "x" {
		h.t.Errorf("in the sandbox: %q", got)
	}
	// A path given is one of the container's, links included.
	h.vzctlOK("cp", filepath.Join(src, "three", "file"), "web:/box/out/given")
	if got := h.vzctlOK("exec", "web", "--", "cat", "/etc/given"); got != "x" {
		h.t.Errorf("by way of a link in the destination: %q", got)
	}
}

func archivesPassThrough(h *host) {
	var in bytes.Buffer
	w := tar.NewWriter(&in)
	for _, name := range []string{"a", "b/c"} {
		if err := w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o640, Size: int64(len(name)), Uid: 12, Gid: 34}); err != nil {
			h.t.Fatal(err)
		}
		_, _ = io.WriteString(w, name)
	}
	if err := w.Close(); err != nil {
		h.t.Fatal(err)
	}
	h.vzctlOK("exec", "web", "--", "mkdir", "/pass")
	if _, stderr, code := h.vzctlIn(&in, "cp", "-a", "-", "web:/pass"); code != 0 {
		h.t.Fatalf("exit code %d: %s", code, stderr)
	}
	got := map[string]string{}
	for tr := tar.NewReader(strings.NewReader(h.vzctlOK("cp", "web:/pass", "-"))); ; {
		hdr, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			h.t.Fatal(err)
		}
		data, _ := io.ReadAll(tr)
		got[hdr.Name] = fmt.Sprintf("%s %o %d:%d", data, hdr.Mode, hdr.Uid, hdr.Gid)
	}
	for name, want := range map[string]string{"pass/a": "a 640 12:34", "pass/b/c": "b/c 640 12:34"} {
		if got[name] != want {
			h.t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
}

func interrupted(h *host) {
	// Into the sandbox: vzctl is killed amid a file.
	var in bytes.Buffer
	w := tar.NewWriter(&in)
	if err := w.WriteHeader(&tar.Header{Name: "half", Typeflag: tar.TypeReg, Mode: 0o644, Size: 8 << 20}); err != nil {
		h.t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, 4<<20)); err != nil {
		h.t.Fatal(err)
	}
	h.vzctlOK("exec", "web", "--", "sh", "-c", "mkdir /int && echo old >/int/half")
	cmd := h.command(h.t.Context(), "cp", "-", "web:/int")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		h.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	if _, err := stdin.Write(in.Bytes()); err != nil {
		h.t.Fatal(err)
	}
	list := func() string { return h.vzctlOK("exec", "web", "--", "sh", "-c", "ls -A /int; cat /int/half") }
	h.eventually(soon, "the copy is under way", func() error {
		if got := list(); got == "half\nold\n" {
			return errNotYet
		}
		return nil
	})
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	h.eventually(soon, "the half file goes", func() error {
		if got := list(); got != "half\nold\n" {
			return fmt.Errorf("there is %q", got)
		}
		return nil
	})

	// Out of it: vzctl is interrupted.
	h.vzctlOK("exec", "web", "--", "sh", "-c", "head -c 60000000 /dev/urandom >/int/big")
	out := h.t.TempDir()
	cmd = h.command(h.t.Context(), "cp", "web:/int/big", out)
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	h.eventually(soon, "the copy is under way", func() error {
		if left, err := os.ReadDir(out); err != nil || len(left) == 0 {
			return errNotYet
		}
		return nil
	})
	_ = cmd.Process.Signal(syscall.SIGINT)
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 130 {
		h.t.Errorf("interrupted: %v, want exit code 130", err)
	}
	if left, err := os.ReadDir(out); err != nil || len(left) != 0 {
		h.t.Errorf("left behind: %v, %v", left, err)
	}
	h.vzctlOK("exec", "web", "--", "rm", "/int/big")
}

func exports(h *host) {
	h.vzctlOK("exec", "web", "--", "sh", "-c", "mkdir -p /kept && echo kept >/kept/file && rm /bin/vi && echo volume >/data/file")
	files := func(archive string) map[string]string {
		got := map[string]string{}
		for tr := tar.NewReader(strings.NewReader(archive)); ; {
			hdr, err := tr.Next()
			if errors.Is(err, io.EOF) {
				return got
			}
			if err != nil {
				h.t.Fatal(err)
			}
			sum := sha256.New()
			if _, err := io.Copy(sum, tr); err != nil {
				h.t.Fatal(err)
			}
			got[hdr.Name] = fmt.Sprintf("%c %o %d:%d %s %d %x", hdr.Typeflag, hdr.Mode, hdr.Uid, hdr.Gid, hdr.Linkname, hdr.Size, sum.Sum(nil))
		}
	}
	before := bootID(h.mustGet("web"))
	running := files(h.vzctlOK("export", "web"))
	for _, name := range []string{"./bin/busybox", "./bin/sh", "./kept/file"} {
		if _, ok := running[name]; !ok {
			h.t.Errorf("%s is not in the export", name)
		}
	}
	for _, name := range []string{"./bin/vi", "./data/file", "./proc/1", "./sys/kernel"} {
		if _, ok := running[name]; ok {
			h.t.Errorf("%s is in the export", name)
		}
	}
	if got := h.vzctlOK("exec", "web", "--", "sh", "-c", "echo written >/after && cat /after"); got != "written\n" || bootID(h.mustGet("web")) != before {
		h.t.Errorf("after the export the sandbox is another, or does not write: %q", got)
	}
	h.vzctlOK("exec", "web", "--", "rm", "/after")
	h.vzctlOK("stop", "web")
	h.waitFor("web", "is stopped", func(s *manifests.Sandbox) error {
		if s.Status.Phase != manifests.PhaseStopped {
			return errNotYet
		}
		return nil
	})
	file := filepath.Join(h.t.TempDir(), "web.tar")
	h.vzctlOK("export", "web", "-o", file)
	data, err := os.ReadFile(file)
	if err != nil {
		h.t.Fatal(err)
	}
	stopped := files(string(data))
	var names []string
	for name := range running {
		names = append(names, name)
	}
	for name := range stopped {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if running[name] != stopped[name] {
			h.t.Errorf("%s: running %q, stopped %q", name, running[name], stopped[name])
		}
	}
	// Nothing is left of the VMs that read the copies.
	if left, err := filepath.Glob(filepath.Join(h.state, "sandboxes", "*", "*", "export")); err != nil || len(left) != 0 {
		h.t.Errorf("left behind: %v, %v", left, err)
	}
	if left := h.processes(); len(left) != 0 {
		h.t.Errorf("processes left behind: %v", left)
	}
}
