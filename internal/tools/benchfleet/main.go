// Command benchfleet measures the reconciler with many sandboxes, which the
// in-memory driver runs in the same process: one process for each of them would
// measure the host. Each size runs in a process of its own, and once more with
// the driver's sandboxes alone, whose memory is not the daemon's and is taken
// off. `make bench` runs it.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"syscall"
	"text/tabwriter"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	var o options
	flag.IntVar(&o.most, "objects", 10000, "the largest fleet")
	flag.IntVar(&o.edits, "edits", 100, "edits to measure in each fleet")
	flag.StringVar(&o.plot, "plot", "", "file for the plot, an SVG")
	flag.StringVar(&o.profiles, "profiles", "", "directory for CPU and heap profiles of the largest fleet")
	flag.IntVar(&o.child, "child", 0, "internal: measure one fleet of this size and print JSON")
	flag.BoolVar(&o.alone, "alone", false, "internal: with -child, the driver's sandboxes without a reconciler")
	flag.Parse()
	err := run(ctx, o, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "benchfleet:", err)
		os.Exit(1)
	}
}

type options struct {
	most, edits, child int
	alone              bool
	plot, profiles     string
}

// result is what is measured of one fleet.
type result struct {
	Objects   int
	RSS       int64         // at rest, bytes
	Live      int64         // objects on the heap then, bytes
	Stacks    int64         // of goroutines then, bytes
	PeakRSS   int64         // at any time
	Converge  time.Duration // from the daemon's start to all Ready
	CPU       time.Duration // used for that
	Resync    time.Duration // CPU of a look that finds no change
	EditP50   time.Duration // from the edit of one file to the first step
	EditP99   time.Duration
	EditCPU   time.Duration // used from an edit to its first step: the median
	Relaunch  time.Duration // from the start of a new daemon to all Ready again
	Emptiness int64         // RSS before there was any object
}

func run(ctx context.Context, o options, out io.Writer) error {
	if o.child > 0 {
		measure := measureFleet
		if o.alone {
			measure = measureDriver
		}
		r, err := measure(ctx, o)
		if err != nil {
			return err
		}
		return json.NewEncoder(out).Encode(r)
	}
	fmt.Fprintf(out, "The reconciler on the in-memory driver, %s, %d CPUs\n", runtime.GOOS+"/"+runtime.GOARCH, runtime.NumCPU())
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "objects\tall Ready\tCPU each\tagain, new daemon\tresync, CPU\tedit → step, CPU\tp50\tp99\tRSS\tRSS each\tlive\tstacks\tpeak RSS\t")
	var points []point
	for _, n := range sizes(o.most) {
		fleet, err := spawn(ctx, o, n, false)
		if err != nil {
			return err
		}
		alone, err := spawn(ctx, o, n, true)
		if err != nil {
			return err
		}
		// What the driver's sandboxes take is not the daemon's.
		daemon := fleet.RSS - fleet.Emptiness - (alone.RSS - alone.Emptiness)
		p := point{
			objects: n, bytes: float64(daemon) / float64(n),
			cpu: fleet.CPU.Seconds() * 1e3 / float64(n), resync: fleet.Resync.Seconds() * 1e6 / float64(n),
		}
		points = append(points, p)
		fmt.Fprintf(w, "%d\t%.1f s\t%.2f ms\t%.1f s\t%d ms\t%d ms\t%d ms\t%d ms\t%.1f MiB\t%.1f KiB\t%.1f KiB\t%.1f KiB\t%.1f MiB\t\n", n,
			fleet.Converge.Seconds(), p.cpu, fleet.Relaunch.Seconds(), fleet.Resync.Milliseconds(),
			fleet.EditCPU.Milliseconds(), fleet.EditP50.Milliseconds(), fleet.EditP99.Milliseconds(),
			float64(fleet.Emptiness+daemon)/(1<<20), p.bytes/1024,
			float64(fleet.Live-alone.Live)/1024/float64(n), float64(fleet.Stacks-alone.Stacks)/1024/float64(n), float64(fleet.PeakRSS)/(1<<20))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if o.plot == "" {
		return nil
	}
	return os.WriteFile(o.plot, plot(points), 0o644) //nolint:gosec // for all to see
}

// sizes returns the sizes of the fleets up to the largest.
func sizes(most int) (all []int) {
	for n := 100; n < most; n *= 10 {
		all = append(all, n)
		if 3*n < most {
			all = append(all, 3*n)
		}
	}
	return append(all, most)
}

// spawn measures a fleet in a process of its own.
func spawn(ctx context.Context, o options, n int, alone bool) (result, error) {
	self, err := os.Executable()
	if err != nil {
		return result{}, err
	}
	args := []string{"-child", strconv.Itoa(n), "-edits", strconv.Itoa(o.edits), "-alone=" + strconv.FormatBool(alone)}
	if n == o.most {
		args = append(args, "-profiles", o.profiles)
	}
	cmd := exec.CommandContext(ctx, self, args...) //nolint:gosec // ourselves
	cmd.Stderr = os.Stderr
	data, err := cmd.Output()
	if err != nil {
		return result{}, fmt.Errorf("%d objects: %w", n, err)
	}
	var r result
	return r, json.Unmarshal(data, &r)
}
