package reconciler

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/trace"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/fake"
	"github.com/vzreconciler/vzreconciler/internal/images"
	"github.com/vzreconciler/vzreconciler/internal/kernels"
	"github.com/vzreconciler/vzreconciler/internal/procfs"
	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/bundle"
	"github.com/vzreconciler/vzreconciler/reconciler/events"
	"github.com/vzreconciler/vzreconciler/reconciler/metrics"
	"github.com/vzreconciler/vzreconciler/reconciler/source"
)

// world is a host in memory: manifests, images, a kernel, plugin processes. It
// outlives the daemons that are run in it one after the other.
type world struct {
	t        *testing.T
	state    bundle.StateDir
	dir      string // of the manifests
	files    map[string]string
	onDisk   bool                // the manifests are read from dir, not from files
	missing  atomic.Bool         // the directory of the manifests cannot be read
	settling bool                // something in it changed a moment ago
	revision *manifests.Revision // of which all files are
	problem  *source.Problem     // of the source
	real     source.Source
	images   *testImages
	kernels  *testKernels
	runtimes *testRuntimes
	networks *testNetworks
	maxPrune int
	tracer   trace.Tracer
	log      *slog.Logger
	steps    stepLog // begun by any daemon

	*daemon
}

// daemon is one run of a Manager.
type daemon struct {
	m      *Manager
	reg    *prometheus.Registry
	events *events.Recorder
	force  chan struct{} // to look at the manifests
	cancel context.CancelFunc
	ended  chan error
}

// inWorld runs a test in a new world, in virtual time, with a daemon started.
func inWorld(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		defer func() {
			w.stop()
			w.runtimes.killAll()
			w.networks.killAll()
			synctest.Wait()
		}()
		test(t, w)
	})
}

func newWorld(t *testing.T) *world {
	t.Helper()
	dir := t.TempDir()
	w := &world{
		t: t, state: bundle.StateDir(filepath.Join(dir, "state")), dir: filepath.Join(dir, "manifests"),
		files: map[string]string{}, maxPrune: -1,
		images:   &testImages{pulled: map[string]int{}, fails: map[string]error{}},
		kernels:  &testKernels{},
		runtimes: newTestRuntimes(),
		networks: &testNetworks{running: map[string]*testNetwork{}},
	}
	people := slog.DiscardHandler
	if os.Getenv("VZ_TEST_LOG") != "" {
		people = slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})
	}
	w.steps = newStepLog(people)
	w.log = slog.New(w.steps)
	if err := os.MkdirAll(w.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return w
}

// start runs a daemon, and lets it settle.
func (w *world) start() {
	w.t.Helper()
	w.run()
	synctest.Wait()
}

func (w *world) run() {
	w.t.Helper()
	rec, err := events.Open(w.state.Events(), events.Options{})
	if err != nil {
		w.t.Fatal(err)
	}
	d := &daemon{
		reg: prometheus.NewRegistry(), events: rec,
		force: make(chan struct{}, 1), ended: make(chan error, 1),
	}
	w.daemon = d
	d.m, err = New(w.options())
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(w.t.Context())
	d.cancel = cancel
	go func() { d.ended <- d.m.Run(ctx) }()
}

func (w *world) options() Options {
	return Options{
		StateDir: w.state, SocketDir: filepath.Join(string(w.state), "s"), ManifestDirs: []string{w.dir}, Source: w.source(),
		MaxPrune: w.maxPrune, Log: w.log, Tracer: w.tracer, Metrics: metrics.New(w.reg), Events: w.events,
		Images: w.images, Kernels: w.kernels, Runtimes: w.runtimes, Networks: w.networks, DefaultRuntime: "fake",
		Agents: map[string]string{runtime.GOARCH: "/agent"}, MaxBoots: 2,
	}
}

// stop ends the daemon and leaves the rest of the world as it is.
func (w *world) stop() {
	w.t.Helper()
	w.halt()
	synctest.Wait()
}

func (w *world) halt() {
	w.t.Helper()
	w.cancel()
	if err := <-w.ended; err != nil {
		w.t.Errorf("Run: %v", err)
	}
	if err := w.events.Close(); err != nil {
		w.t.Errorf("close events: %v", err)
	}
}

// source is what the daemon reads: the world itself, unless there is a real one.
func (w *world) source() source.Source {
	if w.real != nil {
		return w.real
	}
	return w
}

// Run implements Source.
func (w *world) Run(ctx context.Context, out func(source.Snapshot)) error {
	out(w.snapshot())
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-w.force:
			out(w.snapshot())
		}
	}
}

// Resync implements Source.
func (w *world) Resync() {
	select {
	case w.force <- struct{}{}:
	default:
	}
}

// Status implements Source.
func (w *world) Status() []source.Status {
	s := source.Status{Name: "directory", Roots: []string{w.dir + "/"}, Revision: w.revision, Problem: w.problem}
	if !w.missing.Load() {
		s.LastSync = time.Now()
	}
	return []source.Status{s}
}

func (w *world) snapshot() source.Snapshot {
	s := source.Snapshot{Complete: !w.missing.Load() && !w.settling, Settling: w.settling, Time: time.Now(), Sources: w.Status()}
	if w.missing.Load() {
		s.Errors = append(s.Errors, &manifests.Error{Position: manifests.Position{File: w.dir}, Message: "no such directory"})
		return s
	}
	if w.onDisk {
		w.readFiles()
	}
	for _, name := range slices.Sorted(maps.Keys(w.files)) {
		objects, errs := manifests.Parse(filepath.Join(w.dir, name), []byte(w.files[name]))
		for i := range objects {
			objects[i].Revision = w.revision
		}
		s.Objects = append(s.Objects, manifests.Pointers(objects)...)
		s.Errors = append(s.Errors, errs...)
	}
	return s
}

func (w *world) readFiles() {
	w.files = map[string]string{}
	entries, err := os.ReadDir(w.dir)
	if err != nil {
		w.t.Error(err)
	}
	for _, e := range entries {
		if !manifests.IsManifestFile(e.Name()) {
			continue
		}
		data, err := os.ReadFile(filepath.Join(w.dir, e.Name()))
		if err != nil {
			w.t.Error(err)
		}
		w.files[e.Name()] = string(data)
	}
}

// look has the daemon see the manifests as they are, and settle.
func (w *world) look() {
	w.Resync()
	synctest.Wait()
}

// write changes a manifest file and lets the daemon see it and settle.
func (w *world) write(name, content string) {
	w.files[name] = content
	w.look()
}

func (w *world) remove(names ...string) {
	for _, name := range names {
		delete(w.files, name)
	}
	w.look()
}

// sandbox returns a manifest. Lines are added to its container.
func sandbox(name string, containerLines ...string) string {
	return podLike(name, "", containerLines...)
}

// podLike returns a manifest with lines added to its PodSpec and container.
func podLike(name, podLines string, containerLines ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `apiVersion: vzreconciler.dev/v1alpha1
kind: Sandbox
metadata: {name: %s}
spec:
  podTemplate:
    spec:
`, name)
	if podLines != "" {
		fmt.Fprintf(&b, "      %s\n", strings.ReplaceAll(podLines, "\n", "\n      "))
	}
	b.WriteString("      containers:\n      - name: main\n        image: example.com/app:1\n        command: [serve]\n")
	for _, l := range containerLines {
		fmt.Fprintf(&b, "        %s\n", l)
	}
	return b.String()
}

func sandboxKey(name string) manifests.Key {
	return manifests.Key{Kind: manifests.KindSandbox, Namespace: "default", Name: name}
}

// status returns what the API shows of a sandbox.
func (w *world) status(name string) manifests.SandboxStatus {
	w.t.Helper()
	v := w.view(name)
	if v == nil {
		w.t.Fatalf("there is no sandbox %s", name)
	}
	return v.status
}

func (w *world) view(name string) *view {
	if o := w.m.object(sandboxKey(name)); o != nil {
		return o.view.Load()
	}
	return nil
}

// wantPhase fails the test unless the sandbox is in a phase.
func (w *world) wantPhase(name string, want manifests.Phase) {
	w.t.Helper()
	if got := w.status(name); got.Phase != want {
		w.t.Fatalf("sandbox %s is %s, want %s\n%s", name, got.Phase, want, describe(got))
	}
}

// wantCondition fails the test unless a condition has a status ("True", "False",
// "" for absent) and, if given, a reason and a text in its message.
func (w *world) wantCondition(name, typ, status, reason, text string) {
	w.t.Helper()
	st := w.status(name)
	for _, c := range st.Conditions {
		if c.Type == typ {
			if string(c.Status) != status || reason != "" && c.Reason != reason || !strings.Contains(c.Message, text) {
				w.t.Fatalf("sandbox %s: %s is %s, %s, %q; want %s, %s, %q", name, typ, c.Status, c.Reason, c.Message, status, reason, text)
			}
			return
		}
	}
	if status != "" {
		w.t.Fatalf("sandbox %s has no condition %s\n%s", name, typ, describe(st))
	}
}

func (w *world) wantEvent(name, reason string) {
	w.t.Helper()
	for _, e := range w.events.List(events.Filter{Name: name}) {
		if e.Reason == reason {
			return
		}
	}
	w.t.Fatalf("sandbox %s has no event %s: %v", name, reason, w.events.List(events.Filter{Name: name}))
}

func describe(st manifests.SandboxStatus) string {
	var b strings.Builder
	for _, c := range st.Conditions {
		fmt.Fprintf(&b, "  %s=%s %s %s\n", c.Type, c.Status, c.Reason, c.Message)
	}
	return b.String()
}

// after lets virtual time pass and everything settle.
func after(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // of the bubble: it takes no time
	synctest.Wait()
}

// testImages is an image store in memory.
type testImages struct {
	mu     sync.Mutex
	pulled map[string]int
	fails  map[string]error
	delay  time.Duration
	opens  string // the docker configuration without which nothing is given
}

func (s *testImages) fail(ref string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fails[ref] = err
}

func (s *testImages) Ensure(ctx context.Context, ref string, opts images.EnsureOptions) (*images.Image, error) {
	s.mu.Lock()
	delay, err := s.delay, s.fails[ref]
	s.pulled[ref]++
	if s.opens != "" && !slices.ContainsFunc(opts.Secrets, func(p images.PullSecret) bool { return string(p.DockerConfig) == s.opens }) {
		err = fmt.Errorf("%w: example.com refuses", images.ErrUnauthorized)
	}
	s.mu.Unlock()
	select {
	case <-time.After(delay):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	return &images.Image{Reference: ref, Digest: "sha256:" + ref, Rootfs: "/rootfs"}, nil
}

func (s *testImages) Get(ref, _ string) (*images.Image, error) {
	return &images.Image{Reference: ref, Digest: "sha256:" + ref}, nil
}

func (s *testImages) List() ([]*images.Image, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*images.Image
	for ref := range s.pulled {
		all = append(all, &images.Image{Reference: ref, Digest: "sha256:" + ref})
	}
	return all, nil
}

func (s *testImages) Remove(string) (int64, error) { return 1, nil }

type testKernels struct {
	mu     sync.Mutex
	err    error
	pruned func(inUse func(dir string) bool)
}

func (k *testKernels) Prune(_ context.Context, inUse func(dir string) bool) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.pruned != nil {
		k.pruned(inUse)
	}
	return nil
}

func (k *testKernels) Get(name string) (kernels.Kernel, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return kernels.Kernel{Name: name, Image: "/kernels/1/vmlinuz"}, k.err
}

// testRuntimes runs plugin processes in memory.
type testRuntimes struct {
	mu       sync.Mutex
	running  map[string]*testProcess
	launches map[string]int
	booting  int // now, and at most
	maxBoots int
	pid      int
	err      error
	cleanUp  error // what CleanUp fails with
	faults   fake.Faults
	// answer, if not nil, is what probes of a sandbox get: by "exec" or "dial".
	answer func(ctx context.Context, sandbox, by string) error
	probed map[string]int // how often, by sandbox
	// noUpdate makes the runtime one that cannot change what runs.
	noUpdate bool
	// hypervisor is the process that VMs are said to run in: one that outlives
	// all of the test. Zero, as at first, VMs end with their plugin process.
	hypervisor procfs.ID
	// left holds the VMs whose plugin process is gone, by bundle.
	left map[string]*fake.Runtime
}

// testProcess is a plugin process and the VM in it.
type testProcess struct {
	*fake.Runtime

	owner *testRuntimes
	name  string
	pid   int
	done  chan struct{}
	end   sync.Once
	// waiting says that the VM is to be taken over yet.
	waiting atomic.Bool
}

func newTestRuntimes() *testRuntimes {
	return &testRuntimes{running: map[string]*testProcess{}, left: map[string]*fake.Runtime{}, launches: map[string]int{}, probed: map[string]int{}, pid: 1000}
}

func (r *testRuntimes) Launch(_ context.Context, name, dir string) (Instance, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if name != "fake" {
		return nil, fmt.Errorf("runtime plugin %q: %w", name, drivers.ErrNotFound)
	}
	if r.err != nil {
		return nil, r.err
	}
	if r.running[dir] != nil {
		return nil, errors.New("a plugin process runs already")
	}
	r.pid++
	p := &testProcess{owner: r, name: filepath.Base(dir), pid: r.pid, done: make(chan struct{})}
	if p.Runtime = r.left[dir]; p.Runtime != nil {
		p.waiting.Store(true)
		delete(r.left, dir)
	} else {
		p.Runtime = fake.New(fake.Options{Faults: r.faults, DiscardLogs: true})
	}
	r.running[dir] = p
	r.launches[filepath.Base(dir)]++
	return p, nil
}

func (r *testRuntimes) Reattach(_ context.Context, dir string) (Instance, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := r.running[dir]; p != nil {
		return p, nil
	}
	return nil, drivers.ErrNotFound
}

func (r *testRuntimes) CleanUp(_ context.Context, dir string, _ ...procfs.ID) error {
	r.mu.Lock()
	err := r.cleanUp
	r.mu.Unlock()
	if err == nil {
		r.kill(dir)
	}
	return err
}

func (r *testRuntimes) failCleanUp(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cleanUp = err
}

func (*testRuntimes) Needs(string) (bundle.Needs, error) {
	return bundle.Needs{Image: true, Kernel: true}, nil
}

func (*testRuntimes) Info(ctx context.Context, _ string) (drivers.Info, error) {
	return fake.New(fake.Options{Version: "1"}).Info(ctx)
}

func (r *testRuntimes) List(context.Context) ([]RuntimeInfo, error) {
	return []RuntimeInfo{{Name: "fake", Version: "1"}}, nil
}

// process returns the plugin process of a sandbox, nil if there is none.
func (r *testRuntimes) process(name string) *testProcess {
	r.mu.Lock()
	defer r.mu.Unlock()
	for dir, p := range r.running {
		if filepath.Base(dir) == name {
			return p
		}
	}
	return nil
}

func (r *testRuntimes) launched(name string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.launches[name]
}

func (r *testRuntimes) kill(dir string) {
	r.mu.Lock()
	p, vm := r.running[dir], r.left[dir]
	delete(r.running, dir)
	delete(r.left, dir)
	r.mu.Unlock()
	if p != nil {
		p.kill()
	}
	if vm != nil {
		vm.Crash("killed")
		_ = vm.Shutdown(context.Background())
	}
}

func (r *testRuntimes) killAll() {
	r.mu.Lock()
	dirs := slices.AppendSeq(slices.Collect(maps.Keys(r.running)), maps.Keys(r.left))
	r.mu.Unlock()
	for _, dir := range dirs {
		r.kill(dir)
	}
}

// forget makes a process that is being killed one that cannot be reattached to.
func (r *testRuntimes) forget(p *testProcess) {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.running, func(_ string, q *testProcess) bool { return p == q })
}

// abandon ends the plugin process of a sandbox as SIGKILL does; its VM runs on.
func (r *testRuntimes) abandon(name string) {
	p := r.process(name)
	r.mu.Lock()
	defer r.mu.Unlock()
	for dir, q := range r.running {
		if p == q {
			r.left[dir] = p.Runtime
			delete(r.running, dir)
			p.end.Do(func() { close(p.done) })
		}
	}
}

// kill ends the process as SIGKILL does, and its VM with it: nobody hears how
// the VM ended.
func (p *testProcess) kill() {
	p.end.Do(func() {
		close(p.done)
		p.Crash("killed")
		_ = p.Runtime.Shutdown(context.Background())
	})
}

func (p *testProcess) State(ctx context.Context) (drivers.Snapshot, error) {
	select {
	case <-p.done:
		return drivers.Snapshot{}, errors.New("the process is gone")
	default:
	}
	if p.waiting.Load() {
		return drivers.Snapshot{State: drivers.StateCreated}, nil
	}
	snap, err := p.Runtime.State(ctx)
	if snap.Machine != nil {
		snap.Machine.PID, snap.Machine.StartTime = p.owner.hypervisor.PID, p.owner.hypervisor.StartTime
	}
	return snap, err
}

func (p *testProcess) Bootstrap(ctx context.Context, req drivers.BootstrapRequest) error {
	if p.waiting.Swap(false) {
		return nil // It was taken over.
	}
	p.owner.mu.Lock()
	p.owner.booting++
	p.owner.maxBoots = max(p.owner.maxBoots, p.owner.booting)
	p.owner.mu.Unlock()
	defer func() {
		p.owner.mu.Lock()
		p.owner.booting--
		p.owner.mu.Unlock()
	}()
	return p.Runtime.Bootstrap(ctx, req)
}

// Exec answers probes, as Dial does. What the program prints is the error's text.
func (p *testProcess) Exec(ctx context.Context, container string, spec drivers.ProcessSpec, stdio drivers.Stdio) (drivers.ExitStatus, error) {
	answer := p.owner.answering(p.name)
	if answer == nil {
		return p.Runtime.Exec(ctx, container, spec, stdio)
	}
	err := answer(ctx, p.name, "exec")
	if ctx.Err() != nil {
		return drivers.ExitStatus{}, ctx.Err()
	}
	if err != nil {
		_, _ = fmt.Fprintln(stdio.Stdout, err)
		return drivers.ExitStatus{Code: 1}, nil
	}
	return drivers.ExitStatus{}, nil
}

func (p *testProcess) Dial(ctx context.Context, to drivers.Address) (drivers.Conn, error) {
	answer := p.owner.answering(p.name)
	if answer == nil {
		return p.Runtime.Dial(ctx, to)
	}
	if err := answer(ctx, p.name, "dial"); err != nil {
		return nil, err
	}
	return nopConn{}, nil
}

func (p *testProcess) Update(ctx context.Context, live drivers.Live) error {
	if p.owner.noUpdate {
		return drivers.Unsupported{}.Update(ctx, live)
	}
	return p.Runtime.Update(ctx, live)
}

// answering returns what answers a probe, and counts it.
func (r *testRuntimes) answering(name string) func(ctx context.Context, sandbox, by string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.answer != nil {
		r.probed[name]++
	}
	return r.answer
}

func (r *testRuntimes) setAnswer(answer func(ctx context.Context, sandbox, by string) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = answer
}

func (r *testRuntimes) probes(name string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.probed[name]
}

type nopConn struct{}

func (nopConn) Read([]byte) (int, error)    { return 0, io.EOF }
func (nopConn) Write(p []byte) (int, error) { return len(p), nil }
func (nopConn) Close() error                { return nil }
func (nopConn) CloseWrite() error           { return nil }

func (p *testProcess) Shutdown(ctx context.Context) error {
	if err := p.Runtime.Shutdown(ctx); err != nil {
		return err
	}
	p.end.Do(func() { close(p.done) })
	return nil
}

func (p *testProcess) PID() int              { return p.pid }
func (p *testProcess) Done() <-chan struct{} { return p.done }
func (p *testProcess) Detach()               {}

func (k *testKernels) set(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.err = err
}

func duration(d time.Duration) fake.Duration { return fake.Duration(d) }

// makeDisk makes the file that a runtime would make for its disk.
func makeDisk(t *testing.T, w *world, name string) string {
	t.Helper()
	path := w.state.Bundle("default", name).Disk()
	if err := os.WriteFile(path, []byte("disk"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// wantMetric fails the test unless the metrics have a line.
func (w *world) wantMetric(line string) {
	w.t.Helper()
	rec := httptest.NewRecorder()
	promhttp.HandlerFor(w.reg, promhttp.HandlerOpts{}).ServeHTTP(rec, httptest.NewRequestWithContext(w.t.Context(), http.MethodGet, "/metrics", nil))
	text := rec.Body.String()
	if !strings.Contains("\n"+text, "\n"+line+"\n") {
		name, _, _ := strings.Cut(line, "{")
		name, _, _ = strings.Cut(name, " ")
		var have []string
		for l := range strings.Lines(text) {
			if strings.HasPrefix(l, name) {
				have = append(have, l)
			}
		}
		w.t.Fatalf("no metric %q, but %q", line, have)
	}
}

// wantNowhere fails the test if a file below dir holds a text.
func wantNowhere(t *testing.T, dir, text string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		files++
		data, err := os.ReadFile(path)
		if err == nil && strings.Contains(string(data), text) {
			t.Errorf("%s holds it", path)
		}
		return err
	})
	if err != nil || files == 0 {
		t.Fatalf("read %d files: %v", files, err)
	}
}

func (s *testImages) Describe(string, string) (manifest, config []byte, err error) {
	return []byte("{}"), []byte("{}"), nil
}

func (s *testImages) Tag(_ context.Context, ref, _ string) error { return s.err(ref) }

func (s *testImages) Push(_ context.Context, ref string, opts images.PushOptions) (string, error) {
	opts.Progress(images.Progress{Stage: images.StagePushing, Complete: 1, Total: 1})
	return "sha256:" + ref, s.err(ref)
}

func (s *testImages) Save(_ context.Context, refs []string, _ string, w io.Writer) error {
	_, err := io.WriteString(w, strings.Join(refs, " "))
	return err
}

func (s *testImages) Load(_ context.Context, archive io.Reader, _ images.LoadOptions) ([]*images.Image, error) {
	b, err := io.ReadAll(archive)
	return []*images.Image{{Reference: string(b), Digest: "sha256:" + string(b)}}, err
}

func (s *testImages) err(ref string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fails[ref]
}
