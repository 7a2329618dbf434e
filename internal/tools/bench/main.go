// Command bench measures the built binaries on this host and prints one table:
// cold start against a bare QEMU of the same kernel, machine type and memory;
// a process in a sandbox against the same on the agent's bare channel; memory and
// CPU of what runs. `make bench` runs it.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"text/tabwriter"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	var o options
	flag.StringVar(&o.bin, "bin", "bin", "directory of the built binaries")
	flag.StringVar(&o.image, "image", "examples/image/busybox.tar", "image of the sandboxes, a docker archive")
	flag.StringVar(&o.deb, "kernel", "", "kernel package")
	flag.StringVar(&o.busybox, "busybox", "/bin/busybox", "static busybox for the bare QEMU's init")
	flag.IntVar(&o.runs, "runs", 9, "cold starts of each kind, alternating")
	flag.IntVar(&o.copies, "copies", 5, "copies of each kind, alternating")
	flag.IntVar(&o.copyMiB, "copy-size", 100, "MiB that are copied at a time")
	flag.IntVar(&o.many, "sandboxes", 20, "sandboxes to hold at once for the daemon's memory")
	flag.DurationVar(&o.idle, "idle", 30*time.Second, "how long CPU use is measured")
	flag.StringVar(&o.only, "only", "", "one part alone: cold, exec, copies or footprint")
	flag.Parse()
	err := run(ctx, o, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type options struct {
	bin, image, deb, busybox string
	only                     string
	runs, many               int
	copies, copyMiB          int
	idle                     time.Duration
}

func run(ctx context.Context, o options, out io.Writer) error {
	for _, p := range []*string{&o.bin, &o.image, &o.deb, &o.busybox} {
		abs, err := filepath.Abs(*p)
		if err != nil {
			return err
		}
		*p = abs
	}
	dir, err := os.MkdirTemp("", "vzbench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	fmt.Fprintf(out, "%s, %d CPUs, %s, %s\n\n", runtime.GOOS+"/"+runtime.GOARCH, runtime.NumCPU(), cpuModel(), time.Now().Format(time.DateOnly))
	h, err := startHost(ctx, o, dir)
	if err != nil {
		return err
	}
	defer h.close()
	for _, part := range []struct {
		name string
		run  func(context.Context, options, *host, io.Writer) error
	}{{"cold", coldStart}, {"exec", execs}, {"copies", copies}, {"footprint", footprint}} {
		if o.only != "" && o.only != part.name {
			continue
		}
		if err := part.run(ctx, o, h, out); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return nil
}

// coldStart alternates bare QEMU boots with sandboxes, so that a busy moment of
// the host hits both.
func coldStart(ctx context.Context, o options, h *host, out io.Writer) error {
	bare, err := newBare(ctx, o, h)
	if err != nil {
		return err
	}
	var bareTimes, ours []time.Duration
	stages := map[string][]time.Duration{}
	var order []string
	// The first of each warms the caches and is not counted.
	for i := range o.runs + 1 {
		line, err := bare.boot(ctx)
		if err != nil {
			return fmt.Errorf("bare QEMU: %w", err)
		}
		total, passed, err := h.coldStart(ctx, fmt.Sprintf("cold%d", i))
		if err != nil {
			return err
		}
		if i == 0 {
			continue
		}
		bareTimes, ours = append(bareTimes, line), append(ours, total)
		order = order[:0]
		for _, s := range passed {
			stages[s.name] = append(stages[s.name], s.after)
			order = append(order, s.name)
		}
	}
	fmt.Fprintf(out, "Cold start, %s, 128 MiB, %d runs of each, alternating\n", bare.describe(), o.runs)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tmedian\tmin\tmax\t")
	row(w, "bare QEMU: start → init's line", bareTimes)
	row(w, "sandbox: file written → process running", ours)
	fmt.Fprintf(w, "ratio of the medians\t%.2f\t\t\t\n", median(ours).Seconds()/median(bareTimes).Seconds())
	for _, s := range order {
		row(w, "… until "+s, stages[s])
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(out)
	return nil
}

// footprint holds one idle sandbox and measures CPU, then many and measures memory.
func footprint(ctx context.Context, o options, h *host, out io.Writer) error {
	s, err := h.up(ctx, "idle")
	if err != nil {
		return err
	}
	procs := []struct {
		name string
		pid  int
	}{{"daemon", h.cmd.Process.Pid}, {"plugin", s.plugin}, {"QEMU, idle guest of 128 MiB", s.hypervisor}}
	before := make([]time.Duration, len(procs))
	for i, p := range procs {
		before[i] = cpuTime(p.pid)
	}
	select {
	case <-time.After(o.idle):
	case <-ctx.Done():
		return ctx.Err()
	}
	fmt.Fprintf(out, "One idle sandbox for %s\n", o.idle)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tCPU, % of a core\tRSS, MiB\t")
	for i, p := range procs {
		cpu := (cpuTime(p.pid) - before[i]).Seconds() / o.idle.Seconds() * 100
		fmt.Fprintf(w, "%s\t%.2f\t%.1f\t\n", p.name, cpu, rss(p.pid))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(out)
	if o.many <= 1 {
		return nil
	}
	began := time.Now()
	var plugins []float64
	for i := range o.many - 1 {
		if err := h.write(fmt.Sprintf("many%d", i)); err != nil {
			return err
		}
	}
	for i := range o.many - 1 {
		s, err := h.ready(ctx, fmt.Sprintf("many%d", i))
		if err != nil {
			return err
		}
		plugins = append(plugins, rss(s.plugin))
	}
	slices.Sort(plugins)
	fmt.Fprintf(out, "%d sandboxes\n", o.many)
	w = tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "%d written at once → all Ready\t%.1f s\t\n", o.many-1, time.Since(began).Seconds())
	fmt.Fprintf(w, "daemon, RSS\t%.1f MiB\t\n", rss(h.cmd.Process.Pid))
	fmt.Fprintf(w, "a plugin, RSS, median\t%.1f MiB\t\n", plugins[len(plugins)/2])
	return w.Flush()
}

func row(w io.Writer, name string, ds []time.Duration) {
	if len(ds) == 0 {
		return
	}
	fmt.Fprintf(w, "%s\t%s\t%s\t%s\t\n", name, ms(median(ds)), ms(slices.Min(ds)), ms(slices.Max(ds)))
}

func ms(d time.Duration) string { return fmt.Sprintf("%d ms", d.Milliseconds()) }

func median(ds []time.Duration) time.Duration {
	s := slices.Sorted(slices.Values(ds))
	return s[len(s)/2]
}
