package reconciler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
	"k8s.io/client-go/util/workqueue"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/internal/state"
	"github.com/vzreconciler/vzreconciler/internal/volumes"
	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/metrics"
)

// Manager keeps every sandbox as its manifest says. It implements api.Backend.
type Manager struct {
	opts    Options
	log     *slog.Logger
	unlock  func() error
	started time.Time
	queue   workqueue.TypedRateLimitingInterface[manifests.Key]
	boots   *semaphore.Weighted
	hub     *hub

	// life is the context in which operations and watches live; it ends with Run.
	life context.Context //nolint:containedctx // they outlive the look at the object that begins them
	end  context.CancelFunc
	work sync.WaitGroup // see spawn

	exports exports

	editing sync.Mutex // of manifest files, by Apply and Delete
	making  sync.Mutex // of a bundle's directories, and removing the one above

	mu      sync.Mutex
	ended   bool // nothing new is begun
	objects map[manifests.Key]*object
	// workloads make objects of their own; owned holds the keys of these by theirs.
	workloads map[manifests.Key]*workloadObject
	owned     map[manifests.Key]map[manifests.Key]struct{}

	configs  map[manifests.Key]*config
	users    map[manifests.Key]map[manifests.Key]struct{} // of a config object, or of a sandbox
	attached attachments
	awaited  map[manifests.Key][]manifests.Key // see awaitClaims
	volumes  *volumes.Store
	networks networks
	phases   map[manifests.Phase]int
	synced   syncState
	// disksSeen is when the disks were looked at; only look uses it.
	disksSeen time.Time
	// suspended is since when no manifest is followed; zero if they are.
	suspended time.Time
	runtimes  []RuntimeInfo
}

// New takes the state directory and loads what is recorded in it. Close gives
// it back; Run does so too.
func New(opts Options) (*Manager, error) {
	opts.setDefaults()
	unlock := func() error { return nil }
	if !opts.Locked {
		var err error
		if unlock, err = LockStateDir(opts.StateDir); err != nil {
			return nil, err
		}
	}
	m := &Manager{
		opts:    opts,
		log:     opts.Log,
		unlock:  unlock,
		started: time.Now(),
		queue:   newQueue(opts.Metrics),
		boots:   semaphore.NewWeighted(int64(opts.MaxBoots)),
		hub:     newHub(),
		objects: map[manifests.Key]*object{},

		workloads: map[manifests.Key]*workloadObject{},
		owned:     map[manifests.Key]map[manifests.Key]struct{}{},

		configs: map[manifests.Key]*config{},
		users:   map[manifests.Key]map[manifests.Key]struct{}{},

		attached: attachments{},
		awaited:  map[manifests.Key][]manifests.Key{},
		volumes:  volumes.Open(opts.StateDir.Volumes()),

		networks: networks{each: map[string]*network{}},

		phases:  map[manifests.Phase]int{},
		exports: exports{running: map[manifests.Key]*exportCall{}},
		synced:  syncState{confirmed: map[manifests.Key]time.Time{}, looked: make(chan struct{})},
	}
	m.life, m.end = context.WithCancel(context.Background())
	opts.Metrics.CollectSandboxes(m.measured)
	opts.Metrics.CollectUsage(metrics.Usage{
		Running: m.runningKeys,
		Statistics: func(ctx context.Context, key manifests.Key) (drivers.Statistics, error) {
			return m.statistics(ctx, refOf(key))
		},
	})
	if err := m.load(); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	m.removePartialCopies()
	return m, nil
}

// Close gives the state directory back. It is for a Manager that was never run.
func (m *Manager) Close() error {
	m.end()
	m.queue.ShutDown()
	return m.unlock()
}

// Run converges until ctx ends. It leaves every sandbox as it is: the next
// daemon takes them over. It is called once.
func (m *Manager) Run(ctx context.Context) error {
	defer context.AfterFunc(ctx, m.end)()
	for _, e := range m.allManaged() {
		m.queue.Add(e.key)
	}
	var running sync.WaitGroup
	for range workers {
		running.Go(m.runWorker)
	}
	m.spawn(func() { m.probeRuntimes(m.life) })
	m.spawn(func() { m.keepComplete(m.life) })
	m.spawn(func() { m.pruneKernels(m.life) })
	m.spawn(func() { m.discardExports(m.life) })
	m.beginNetworks()
	err := m.opts.Source.Run(m.life, m.look)
	if ctx.Err() != nil {
		err = nil
	} else {
		err = fmt.Errorf("read the manifests: %w", err)
	}
	m.end()
	m.queue.ShutDown()
	running.Wait()
	m.mu.Lock()
	m.ended = true
	m.mu.Unlock()
	m.work.Wait()
	m.detachAll()
	return errors.Join(err, m.unlock())
}

// spawn runs f in a goroutine that Run waits for. After the end of Run it does
// not.
func (m *Manager) spawn(f func()) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.ended {
		m.work.Go(f)
	}
	return !m.ended
}

func (m *Manager) object(key manifests.Key) *object {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.objects[key]
}

// ensureObject returns the object of a key, made if need be.
func (m *Manager) ensureObject(key manifests.Key) *object {
	m.mu.Lock()
	defer m.mu.Unlock()
	o := m.objects[key]
	if o == nil {
		o = &object{
			managed: managed{key: key}, bundle: m.opts.StateDir.Bundle(key.Namespace, key.Name),
			attach: AttachUnknown, failures: map[Verb]*failure{}, refreshing: make(chan struct{}, 1),
		}
		m.objects[key] = o
	}
	return o
}

// forget drops an object that is no more. Its mutex is held.
func (m *Manager) forget(o *object) {
	o.dead = true
	o.stopProbers()
	m.mu.Lock()
	delete(m.objects, o.key)
	delete(m.awaited, o.key)
	if v := o.view.Load(); v != nil {
		m.countPhase(v.status.Phase, -1)
	}
	m.wakeUsers(o.key)
	m.mu.Unlock()
	m.opts.Metrics.Forget(o.key)
	m.hub.removed(o.key, o.view.Load())
	claims := o.claims
	m.unrefer(o)
	m.detachClaims(o)
	m.reclaimTemplates(o.key.Namespace, claims)
	m.disown(&o.managed)
}

// allObjects returns the sandboxes known now, in no order.
func (m *Manager) allObjects() []*object {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make([]*object, 0, len(m.objects))
	for _, o := range m.objects {
		all = append(all, o)
	}
	return all
}

// detachAll lets go of every plugin process.
func (m *Manager) detachAll() {
	for _, o := range m.allObjects() {
		o.mu.Lock()
		if o.instance != nil {
			o.instance.Detach()
		}
		o.mu.Unlock()
	}
}

// event records an event and says the same in the log.
func (m *Manager) event(key manifests.Key, typ, reason, format string, args ...any) {
	message := fmt.Sprintf(format, args...)
	m.opts.Events.Record(key, typ, reason, message)
	level := slog.LevelInfo
	if typ != eventNormal {
		level = slog.LevelWarn
	}
	m.log.Log(m.life, level, message, "object", key.String(), "reason", reason)
}

// persist writes an object's record.
func (m *Manager) persist(o *object) error {
	m.making.Lock()
	err := state.MkdirAll(string(o.bundle))
	m.making.Unlock()
	if err != nil {
		return err
	}
	return o.record.save(o.bundle.ObjectFile())
}
