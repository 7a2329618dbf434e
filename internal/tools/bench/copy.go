package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/u-root/u-root/pkg/cpio"
)

// copyBytes is how much is copied at a time.
const copyBytes = 100 << 20

// copies compares `vzctl cp` with the raw channel: the same bytes through a
// virtio-serial port of a bare QEMU, which busybox reads and writes.
func copies(ctx context.Context, o options, h *host, out io.Writer) error {
	if o.copies < 1 {
		return nil
	}
	s, err := h.up(ctx, "copies")
	if err != nil {
		return err
	}
	raw, err := newRawChannel(ctx, o, h, s)
	if err != nil {
		return err
	}
	file, back := filepath.Join(h.dir, "copied"), filepath.Join(h.dir, "back")
	data := make([]byte, copyBytes)
	_, _ = rand.Read(data) // never fails
	if err := os.WriteFile(file, data, 0o600); err != nil {
		return err
	}
	cp := func(args ...string) (time.Duration, error) {
		start := time.Now()
		_, err := h.vzctl(ctx, append([]string{"cp", "-q"}, args...)...)
		return time.Since(start), err
	}
	var times [4][]time.Duration
	// The first of each warms the caches and is not counted.
	for i := range o.copies + 1 {
		var got [4]time.Duration
		if got[0], got[1], err = raw.measure(ctx); err != nil {
			return fmt.Errorf("raw channel: %w", err)
		}
		if got[2], err = cp(file, "copies:/copied"); err != nil {
			return err
		}
		if got[3], err = cp("copies:/copied", back); err != nil {
			return err
		}
		if i == 0 {
			continue
		}
		for k, d := range got {
			times[k] = append(times[k], d)
		}
	}
	fmt.Fprintf(out, "Copy of %d MiB, %d runs of each, alternating\n", copyBytes>>20, o.copies)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tmedian\tmin\tmax\tMiB/s\t")
	for i, name := range []string{"raw channel, host → guest", "raw channel, guest → host", "vzctl cp, host → sandbox", "vzctl cp, sandbox → host"} {
		m := median(times[i])
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%.1f\t\n", name, ms(m), ms(slices.Min(times[i])), ms(slices.Max(times[i])), float64(copyBytes>>20)/m.Seconds())
	}
	fmt.Fprintf(w, "cp / raw, in\t%.2f\t\t\t\t\n", median(times[0]).Seconds()/median(times[2]).Seconds())
	fmt.Fprintf(w, "cp / raw, out\t%.2f\t\t\t\t\n", median(times[1]).Seconds()/median(times[3]).Seconds())
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(out)
	return h.down(ctx, "copies")
}

// rawChannel is a bare QEMU with a virtio-serial port.
type rawChannel struct {
	kernel, initrd, socket, machine, accel string
}

// portModules are what the port needs of Debian's kernel, in order.
var portModules = []string{
	"virtio/virtio_ring", "virtio/virtio_pci_modern_dev", "virtio/virtio_pci_legacy_dev", "virtio/virtio",
	"virtio/virtio_pci", "char/virtio_console",
}

const (
	portReady = "port ready"
	portTaken = "all read"
)

func newRawChannel(ctx context.Context, o options, h *host, s *sandbox) (*rawChannel, error) {
	out, err := h.vzctl(ctx, "kernel", "list", "-o", "json")
	if err != nil {
		return nil, err
	}
	var list struct {
		Items []struct {
			Image      string `json:"image"`
			ModulesDir string `json:"modulesDir"`
		} `json:"items"`
	}
	if err := json.Unmarshal([]byte(out), &list); err != nil || len(list.Items) == 0 {
		return nil, fmt.Errorf("no kernel in %q: %w", out, err)
	}
	r := &rawChannel{
		kernel: list.Items[0].Image, initrd: filepath.Join(h.dir, "raw.cpio"), socket: filepath.Join(h.dir, "raw.sock"),
		machine: s.machine, accel: s.accel,
	}
	busybox, err := os.ReadFile(o.busybox)
	if err != nil {
		return nil, err
	}
	records := []cpio.Record{
		cpio.Directory("bin", 0o755), cpio.Directory("dev", 0o755), cpio.Directory("m", 0o755),
		cpio.CharDev("dev/console", 0o600, 5, 1),
		cpio.StaticFile("bin/busybox", string(busybox), 0o755),
	}
	var script strings.Builder
	script.WriteString("#!/bin/busybox sh\nB=/bin/busybox\n$B mount -t devtmpfs none /dev\n")
	for _, m := range portModules {
		data, err := os.ReadFile(filepath.Join(list.Items[0].ModulesDir, "kernel", "drivers", m+".ko"))
		if err != nil {
			return nil, err
		}
		name := "m/" + filepath.Base(m)
		records = append(records, cpio.StaticFile(name, string(data), 0o644))
		script.WriteString("$B insmod /" + name + "\n")
	}
	fmt.Fprintf(&script, `until [ -e /dev/vport0p1 ] || [ -e /dev/vport1p1 ]; do $B usleep 10000; done
exec 3<>$(echo /dev/vport*p1)
echo %s
$B head -c %d <&3 >/dev/null
echo %s
$B dd if=/dev/zero bs=1M count=%d >&3 2>/dev/null
$B poweroff -f
`, portReady, copyBytes, portTaken, copyBytes>>20)
	records = append(records, cpio.StaticFile("init", script.String(), 0o755))
	return r, writeArchive(r.initrd, records)
}

func writeArchive(file string, records []cpio.Record) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer f.Close()
	w := cpio.Newc.Writer(f)
	for _, r := range records {
		if err := w.WriteRecord(r); err != nil {
			return err
		}
	}
	return cpio.WriteTrailer(w)
}

// measure returns how long the bytes took into the guest and out of it.
func (r *rawChannel) measure(ctx context.Context) (in, out time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	_ = os.Remove(r.socket)
	l, err := new(net.ListenConfig).Listen(ctx, "unix", r.socket)
	if err != nil {
		return 0, 0, err
	}
	defer l.Close()
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", //nolint:gosec // a fixed program
		"-machine", r.machine, "-accel", r.accel, "-cpu", "max", "-m", "128", "-smp", "1",
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-kernel", r.kernel, "-initrd", r.initrd, "-append", "console=ttyS0 quiet panic=-1 reboot=t",
		"-serial", "stdio", "-device", "virtio-serial-pci,max_ports=4",
		"-chardev", "socket,id=ch0,path="+r.socket, "-device", "virtserialport,chardev=ch0,name=raw,nr=1")
	console, err := cmd.StdoutPipe()
	if err != nil {
		return 0, 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, 0, err
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	port, err := l.Accept()
	if err != nil {
		return 0, 0, err
	}
	defer port.Close()
	if deadline, ok := ctx.Deadline(); ok {
		_ = port.SetDeadline(deadline)
	}
	lines := bufio.NewScanner(console)
	if err := awaitLine(lines, portReady); err != nil {
		return 0, 0, err
	}
	start := time.Now()
	piece := make([]byte, 1<<20)
	for range copyBytes / len(piece) {
		if _, err := port.Write(piece); err != nil {
			return 0, 0, err
		}
	}
	if err := awaitLine(lines, portTaken); err != nil {
		return 0, 0, err
	}
	in = time.Since(start)
	start = time.Now()
	if _, err := io.CopyN(io.Discard, port, copyBytes); err != nil {
		return 0, 0, err
	}
	return in, time.Since(start), nil
}

func awaitLine(lines *bufio.Scanner, want string) error {
	for lines.Scan() {
		if strings.Contains(lines.Text(), want) {
			return nil
		}
	}
	return errors.Join(fmt.Errorf("the guest did not say %q", want), lines.Err())
}
