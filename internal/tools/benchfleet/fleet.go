package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/fake"
	"github.com/vzreconciler/vzreconciler/internal/state"
	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler"
	"github.com/vzreconciler/vzreconciler/reconciler/bundle"
	"github.com/vzreconciler/vzreconciler/reconciler/events"
	"github.com/vzreconciler/vzreconciler/reconciler/metrics"
	"github.com/vzreconciler/vzreconciler/reconciler/source"
)

// gcPercent is the daemon's.
const gcPercent = 25

const manifest = `apiVersion: vzreconciler.dev/v1alpha1
kind: Sandbox
metadata: {name: s%05d, labels: {app: bench}}
spec:
  podTemplate:
    spec:
      restartPolicy: Always
      containers:
      - name: main
        image: example.com/%s
        command: [serve]
        env: [{name: GREETING, value: hello}]
        ports: [{containerPort: 80}]
        resources: {limits: {cpu: "1", memory: 128Mi}}
`

// fleet is a daemon with its sandboxes.
type fleet struct {
	n         int
	manifests string
	state     bundle.StateDir
	runtimes  *runtimes
	store     *store

	manager *reconciler.Manager
	source  *watched
	cancel  context.CancelFunc
	ended   chan error
}

// watched is a source that tells when a look has been taken in.
type watched struct {
	*source.Directory

	looked chan struct{}
}

func (w *watched) Run(ctx context.Context, out func(source.Snapshot)) error {
	return w.Directory.Run(ctx, func(s source.Snapshot) {
		out(s)
		select {
		case w.looked <- struct{}{}:
		default:
		}
	})
}

func measureFleet(ctx context.Context, o options) (r result, err error) {
	if o.profiles != "" {
		runtime.MemProfileRate = 4096
	}
	debug.SetGCPercent(gcPercent)
	dir, err := os.MkdirTemp("", "vzfleet-")
	if err != nil {
		return r, err
	}
	defer os.RemoveAll(dir)
	f := &fleet{
		n: o.child, manifests: filepath.Join(dir, "manifests"), state: bundle.StateDir(filepath.Join(dir, "state")),
		runtimes: newRuntimes(), store: &store{},
	}
	if err := os.Mkdir(f.manifests, 0o700); err != nil {
		return r, err
	}
	for i := range f.n {
		if err := f.write(i, "app:1"); err != nil {
			return r, err
		}
	}
	r.Objects, r.Emptiness = f.n, atRest()

	stopProfile := profileCPU(o.profiles, "converge")
	begun, cpu := time.Now(), cpuTime()
	if err := f.start(ctx); err != nil {
		return r, err
	}
	if err := f.awaitRunning(ctx); err != nil {
		return r, errors.Join(err, f.stop())
	}
	r.Converge, r.CPU = time.Since(begun), cpuTime()-cpu
	stopProfile()

	stopProfile = profileCPU(o.profiles, "resync")
	if r.Resync, err = f.resync(ctx); err != nil {
		return r, err
	}
	stopProfile()
	stopProfile = profileCPU(o.profiles, "edit")
	if err := f.edits(ctx, o.edits, &r); err != nil {
		return r, err
	}
	stopProfile()
	r.RSS = atRest()
	r.Live, r.Stacks = inUse()
	if err := profileHeap(o.profiles); err != nil {
		return r, err
	}
	if err := f.stop(); err != nil {
		return r, err
	}

	begun = time.Now()
	if err := f.start(ctx); err != nil {
		return r, err
	}
	if err := f.awaitRunning(ctx); err != nil {
		return r, err
	}
	r.Relaunch, r.PeakRSS = time.Since(begun), memory("VmHWM")
	return r, f.stop()
}

// write replaces a manifest as a careful editor does.
func (f *fleet) write(i int, image string) error {
	path := filepath.Join(f.manifests, fmt.Sprintf("s%05d.yaml", i))
	if err := os.WriteFile(path+".tmp", fmt.Appendf(nil, manifest, i, image), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".tmp", path)
}

func (f *fleet) start(ctx context.Context) error {
	recorder, err := events.Open(f.state.Events(), events.Options{})
	if err != nil {
		return err
	}
	f.source = &watched{source.NewDirectory([]string{f.manifests}, source.Options{}), make(chan struct{}, 1)}
	f.manager, err = reconciler.New(reconciler.Options{
		StateDir: f.state, SocketDir: filepath.Join(string(f.state), "s"), ManifestDirs: []string{f.manifests},
		Source: f.source, MaxPrune: -1, Log: slog.New(slog.DiscardHandler), Metrics: metrics.New(prometheus.NewRegistry()),
		Events: recorder, Images: f.store, Kernels: noKernels{}, Runtimes: f.runtimes, DefaultRuntime: "fake",
		Agents: map[string]string{runtime.GOARCH: "/agent"},
	})
	if err != nil {
		return errors.Join(err, recorder.Close())
	}
	ctx, f.cancel = context.WithCancel(ctx)
	f.ended = make(chan error, 1)
	go func() { f.ended <- errors.Join(f.manager.Run(ctx), recorder.Close()) }()
	return nil
}

func (f *fleet) stop() error {
	f.cancel()
	return <-f.ended
}

// awaitRunning waits until every sandbox runs.
func (f *fleet) awaitRunning(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		st, err := f.manager.Status(ctx)
		if err != nil {
			return err
		}
		if st.GetPhases()[string(manifests.PhaseRunning)] == int64(f.n) && st.GetLastSync() != nil {
			return nil
		}
		select {
		case <-tick.C:
		case err := <-f.ended:
			f.ended <- err
			return fmt.Errorf("the daemon ended: %w", err)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// resync returns the CPU time of a look that finds no change: the median.
func (f *fleet) resync(ctx context.Context) (time.Duration, error) {
	var times []time.Duration
	for range 7 {
		atRest()
		select { // what was looked at before
		case <-f.source.looked:
		default:
		}
		cpu := cpuTime()
		f.source.Resync()
		select {
		case <-f.source.looked:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
		times = append(times, cpuTime()-cpu)
	}
	slices.Sort(times)
	return times[len(times)/2], nil
}

// edits changes one file after the other and notes how long each takes to have
// its first step begun.
func (f *fleet) edits(ctx context.Context, edits int, r *result) error {
	var times, cpus []time.Duration
	for i := range edits {
		image := fmt.Sprintf("edited:%d", i)
		asked := f.store.expect("example.com/" + image)
		begun, cpu := time.Now(), cpuTime()
		if err := f.write(i*(f.n/edits), image); err != nil {
			return err
		}
		select {
		case at := <-asked:
			times, cpus = append(times, at.Sub(begun)), append(cpus, cpuTime()-cpu)
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := f.awaitRunning(ctx); err != nil {
			return err
		}
	}
	slices.Sort(times)
	slices.Sort(cpus)
	r.EditCPU = cpus[len(cpus)/2]
	r.EditP50, r.EditP99 = times[len(times)/2], times[len(times)*99/100]
	return nil
}

// measureDriver measures the memory that the driver's sandboxes take by
// themselves.
func measureDriver(ctx context.Context, o options) (r result, err error) {
	debug.SetGCPercent(gcPercent)
	dir, err := os.MkdirTemp("", "vzfleet-")
	if err != nil {
		return r, err
	}
	defer os.RemoveAll(dir)
	r.Objects, r.Emptiness = o.child, atRest()
	var keep []*fake.Runtime
	for i := range o.child {
		rt := fake.New(fake.Options{DiscardLogs: true})
		objects, errs := manifests.Parse("s.yaml", fmt.Appendf(nil, manifest, i, "app:1"))
		if len(errs) > 0 {
			return r, errs[0]
		}
		cfg, _, err := bundle.Configuration(bundle.Input{
			Sandbox: objects[0].Sandbox, Images: map[string]*bundle.Image{"main": {Rootfs: "/rootfs"}}, CacheDir: dir, SocketDir: dir,
		})
		if err != nil {
			return r, err
		}
		if err := state.WriteJSON(filepath.Join(dir, drivers.ConfigurationFile), &cfg); err != nil {
			return r, err
		}
		if err := rt.Bootstrap(ctx, drivers.BootstrapRequest{Bundle: dir}); err != nil {
			return r, err
		}
		if err := rt.StartProcess(ctx, "main"); err != nil {
			return r, err
		}
		if _, err := rt.Events(ctx); err != nil {
			return r, err
		}
		keep = append(keep, rt)
	}
	r.RSS = atRest()
	r.Live, r.Stacks = inUse()
	runtime.KeepAlive(keep)
	return r, nil
}

func profileCPU(dir, name string) (stop func()) {
	if dir == "" {
		return func() {}
	}
	out, err := os.Create(filepath.Join(dir, name+".cpu"))
	if err == nil {
		err = pprof.StartCPUProfile(out)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "benchfleet: profile:", err)
		return func() {}
	}
	return func() {
		pprof.StopCPUProfile()
		_ = out.Close()
	}
}

func profileHeap(dir string) error {
	if dir == "" {
		return nil
	}
	out, err := os.Create(filepath.Join(dir, "heap"))
	if err != nil {
		return err
	}
	return errors.Join(pprof.WriteHeapProfile(out), out.Close())
}
