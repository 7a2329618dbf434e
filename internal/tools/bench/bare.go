package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/u-root/u-root/pkg/cpio"
)

// bare is what the cold start is compared with: QEMU by hand, with the kernel as
// its package ships it and an init that prints one line and powers off.
type bare struct {
	qemu, kernel, initrd, machine, accel string
}

const initLine = "init runs"

func newBare(ctx context.Context, o options, h *host) (*bare, error) {
	s, err := h.up(ctx, "probe")
	if err != nil {
		return nil, err
	}
	defer h.down(ctx, "probe") //nolint:errcheck // the next step fails if it did
	out, err := h.vzctl(ctx, "kernel", "list", "-o", "json")
	if err != nil {
		return nil, err
	}
	var list struct {
		Items []struct {
			Image string `json:"image"`
		} `json:"items"`
	}
	if err := json.Unmarshal([]byte(out), &list); err != nil || len(list.Items) == 0 {
		return nil, fmt.Errorf("no kernel in %q: %w", out, err)
	}
	b := &bare{qemu: "qemu-system-x86_64", kernel: list.Items[0].Image, initrd: filepath.Join(h.dir, "bare.cpio"), machine: s.machine, accel: s.accel}
	busybox, err := os.ReadFile(o.busybox)
	if err != nil {
		return nil, err
	}
	return b, writeInitrd(b.initrd, busybox)
}

func writeInitrd(file string, busybox []byte) error {
	script := "#!/bin/busybox sh\necho " + initLine + "\nexec /bin/busybox poweroff -f\n"
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer f.Close()
	w := cpio.Newc.Writer(f)
	records := []cpio.Record{
		cpio.Directory("bin", 0o755), cpio.Directory("dev", 0o755),
		cpio.CharDev("dev/console", 0o600, 5, 1),
		cpio.StaticFile("bin/busybox", string(busybox), 0o755),
		cpio.StaticFile("init", script, uint64(fs.FileMode(0o755))),
	}
	for _, r := range records {
		if err := w.WriteRecord(r); err != nil {
			return err
		}
	}
	return cpio.WriteTrailer(w)
}

func (b *bare) describe() string { return b.machine + " " + b.accel }

// boot returns how long init's line took.
func (b *bare) boot(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	args := []string{
		"-machine", b.machine, "-accel", b.accel, "-cpu", "max", "-m", "128", "-smp", "1",
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-kernel", b.kernel, "-initrd", b.initrd, "-append", "console=ttyS0 quiet panic=-1 reboot=t",
		"-serial", "stdio",
	}
	cmd := exec.CommandContext(ctx, b.qemu, args...) //nolint:gosec // a fixed program
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	var took time.Duration
	sc := bufio.NewScanner(out)
	for sc.Scan() {
		if took == 0 && len(sc.Text()) >= len(initLine) && sc.Text()[:len(initLine)] == initLine {
			took = time.Since(start)
		}
	}
	if err := cmd.Wait(); err != nil {
		return 0, err
	}
	if took == 0 {
		return 0, fmt.Errorf("init printed nothing")
	}
	return took, nil
}
