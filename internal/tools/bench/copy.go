package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"
)

// copies compares `vzctl cp` with the raw channel: as many bytes through the
// agent's port, with nothing else at either end.
func copies(ctx context.Context, o options, h *host, out io.Writer) error {
	if o.copies < 1 {
		return nil
	}
	sandbox, err := h.up(ctx, "copies")
	if err != nil {
		return err
	}
	size := int64(o.copyMiB) << 20
	raw, err := startRawPort(ctx, h, "copies", size)
	if err != nil {
		return fmt.Errorf("raw channel: %w", err)
	}
	defer raw.end()
	file, back := filepath.Join(h.dir, "copied"), filepath.Join(h.dir, "back")
	want, err := writeRandom(file, size)
	if err != nil {
		return err
	}
	ways := []struct {
		name string
		qemu int // the process that does the guest's part
		run  func() error
	}{
		{"raw channel, host → guest", raw.pid(), func() error { return raw.send(ctx) }},
		{"raw channel, guest → host", raw.pid(), func() error { return raw.receive(ctx) }},
		{"vzctl cp, host → sandbox", sandbox.hypervisor, func() error {
			_, err := h.vzctl(ctx, "cp", "-q", file, "copies:/copied")
			return err
		}},
		{"vzctl cp, sandbox → host", sandbox.hypervisor, func() error {
			_, err := h.vzctl(ctx, "cp", "-q", "copies:/copied", back)
			return err
		}},
	}
	times, cpu := make([][]time.Duration, len(ways)), make([][]time.Duration, len(ways))
	// The first of each warms up and is not counted, unless it is the only one.
	warm := min(o.copies-1, 1)
	for i := range o.copies + warm {
		for k, way := range ways {
			used, start := cpuTime(way.qemu), time.Now()
			if err := way.run(); err != nil {
				return fmt.Errorf("%s: %w", way.name, err)
			}
			if i >= warm {
				times[k] = append(times[k], time.Since(start))
				cpu[k] = append(cpu[k], cpuTime(way.qemu)-used)
			}
		}
		if got, err := checksum(back); err != nil || !bytes.Equal(got, want) {
			return errors.Join(fmt.Errorf("what came back has SHA-256 %x, what was sent %x", got, want), err)
		}
	}
	fmt.Fprintf(out, "Copy of %d MiB, %d runs of each, alternating\n", o.copyMiB, o.copies)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tmedian\tmin\tmax\tMiB/s\tCPU of QEMU\t")
	for k, way := range ways {
		m := median(times[k])
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%.1f\t%s\t\n", way.name, ms(m), ms(slices.Min(times[k])), ms(slices.Max(times[k])),
			float64(o.copyMiB)/m.Seconds(), ms(median(cpu[k])))
	}
	fmt.Fprintf(w, "cp / raw, in\t%.2f\t\t\t\t\t\n", median(times[0]).Seconds()/median(times[2]).Seconds())
	fmt.Fprintf(w, "cp / raw, out\t%.2f\t\t\t\t\t\n", median(times[1]).Seconds()/median(times[3]).Seconds())
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(out, "in and out again, equal each time: SHA-256 %x\n\n", want)
	return h.down(ctx, "copies")
}

// writeRandom writes a file that no layer can shorten and returns its checksum.
func writeRandom(file string, size int64) ([]byte, error) {
	f, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.CopyN(io.MultiWriter(f, sum), rand.Reader, size); err != nil {
		return nil, err
	}
	return sum.Sum(nil), f.Close()
}

func checksum(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	sum := sha256.New()
	_, err = io.Copy(sum, f)
	return sum.Sum(nil), err
}
