package drivers

import (
	"context"
	"encoding/json"
	"io"
	"time"
)

// Runtime drives one sandbox through its life. The states and the rules that
// bind each route to them are those of Apple container's RuntimeService:
//
//	created → booted → running ⇄ paused
//	             └────────┴──────────┴→ stopping → stopped → shuttingDown
//
// RestoreState leads from created to booted, running or paused at once. A failed
// Bootstrap or RestoreState, or a machine that ends by itself, leads to stopped.
// A call in a state that does not allow it fails with ErrInvalidState, naming
// the state. Implementations are safe for concurrent use; Wait, State and
// Statistics are never blocked by a Stop that is waiting out its grace period.
type Runtime interface {
	// Info says what this runtime is. It works in every state.
	Info(ctx context.Context) (Info, error)

	// Probe reports whether this host can run sandboxes with this runtime. A nil
	// error means it can. Otherwise the error wraps ErrUnavailable and says what
	// to install or change. It works in every state.
	Probe(ctx context.Context) error

	// Bootstrap reads the Configuration from the bundle directory, boots the VM
	// and waits until its agent answers: created → booted. If it fails, everything
	// it made is cleaned up and the state is stopped.
	Bootstrap(ctx context.Context, req BootstrapRequest) error

	// CreateProcess registers a process in a container without starting it.
	// Each container's init process is registered by Bootstrap, under the
	// container's name. It needs booted or running; an id in use is
	// ErrInvalidArgument.
	CreateProcess(ctx context.Context, id, container string, spec ProcessSpec) error

	// StartProcess starts a registered process. Starting a container's init
	// process in state booted moves the sandbox to running. A container's init
	// process that has exited may be started again: it keeps the container's
	// writable layer. Output goes to the log named after the id.
	StartProcess(ctx context.Context, id string) error

	// Exec creates and starts a process in a container and connects stdio to it
	// until it exits. Cancelling ctx kills the process. It needs running.
	Exec(ctx context.Context, container string, spec ProcessSpec, stdio Stdio) (ExitStatus, error)

	// Attach connects stdio to a running process until it exits or ctx is
	// cancelled, which leaves the process running.
	Attach(ctx context.Context, id string, stdio Stdio) (ExitStatus, error)

	// Kill sends a signal, by Linux number, to a process. It needs running.
	Kill(ctx context.Context, id string, signal int) error

	// Resize sets the size of a process's terminal. It needs running.
	Resize(ctx context.Context, id string, size TerminalSize) error

	// Wait blocks until the process has exited; late callers get the stored status.
	Wait(ctx context.Context, id string) (ExitStatus, error)

	// Stop ends the sandbox: each container's init process gets its stop signal,
	// then, when the grace period is over, SIGKILL; then the VM is always powered
	// off. A paused sandbox is resumed first. From any state but booted, running
	// and paused it does nothing and succeeds.
	Stop(ctx context.Context, opts StopOptions) error

	// State reports the sandbox as it is now. It works in every state.
	State(ctx context.Context) (Snapshot, error)

	// Statistics reports resource use. It needs running.
	Statistics(ctx context.Context) (Statistics, error)

	// Dial connects to an address in the sandbox. ctx bounds the connecting only:
	// whoever gets the connection closes it. Where nothing listens, the error is
	// ErrRefused. It needs booted or running; the end of the sandbox ends the
	// connection, a pause holds it up.
	Dial(ctx context.Context, to Address) (Conn, error)

	// Pause freezes the VM's CPUs; Resume lets them run again and sets the
	// guest's clock from the host's. Pause needs running, Resume needs paused.
	Pause(ctx context.Context) error
	Resume(ctx context.Context) error

	// CopyIn unpacks a tar archive into a container's file system, its volumes
	// included. No file has its name before it is whole. It needs booted or
	// running; the container's processes need not run. Before its first start a
	// container has no /proc, /sys and /dev. A Reader cannot be interrupted: a read
	// that is under way when CopyIn fails goes on.
	CopyIn(ctx context.Context, req CopyInRequest, archive io.Reader) error

	// CopyOut writes what is at a path of a container to w, as a tar archive, from
	// the same file system and in the same states as CopyIn. What the kernel makes
	// up (/proc, /sys) is packed only when asked for by its own path. The archive is
	// the guest's: whoever unpacks it must not trust it.
	CopyOut(ctx context.Context, req CopyOutRequest, w io.Writer) error

	// SnapshotDisk copies the sandbox's private writable disk to a file that it
	// makes at path, on this host: holes stay holes, and file systems that can
	// share the blocks do. In booted and running the guest's file systems are
	// frozen meanwhile, so that the copy is whole in itself; processes that write
	// wait. In stopped the disk is copied as it lies. Other states are refused,
	// paused too: a guest that stands still cannot write out what it holds.
	SnapshotDisk(ctx context.Context, path string) error

	// SaveState writes the whole machine, as it is at one moment, into a directory
	// that it makes at path, on this host: its memory, its devices and a copy of its
	// private writable disk, which belong together. It needs booted, running or
	// paused. The machine stands still until that is written, and calls that need
	// the guest wait; then it goes on where it was, its clock set anew, or, with
	// opts.Stop, ends in stopped. A failure leaves no directory, and the machine goes
	// on in any case. Whoever can read the directory can read all that the sandbox
	// knew, secrets too.
	SaveState(ctx context.Context, path string, opts SaveOptions) error

	// RestoreState is another way than Bootstrap out of created: to where the
	// machine was that SaveState wrote to path, be that booted, running or paused.
	// Its processes go on, the ends of those that have ended are known, and logs
	// begin where the saved sandbox's stood. Connections into the sandbox, and the
	// processes of Exec, are gone. The clock is set and the guest's random generator
	// seeded anew. The bundle's writable disk is replaced by a copy of the saved one;
	// what is at path stays as it is and can be restored again. The configuration in
	// the bundle must be the saved one's, but for its ID, CacheDir and SocketDir, and
	// hypervisor and processor must be the same: what does not fit, or is damaged, is
	// ErrInvalidArgument, and the bundle's own disk stays. If it fails, everything it
	// made is cleaned up and the state is stopped.
	RestoreState(ctx context.Context, req BootstrapRequest, path string) error
	// Update makes a sandbox have other limits, resolver and host names than it was
	// made with, without its processes being disturbed; it may be repeated. A memory
	// limit below what the container cannot do without is ErrExhausted, and then
	// nothing is changed of that container. A container that is not there is
	// ErrNotFound. It needs booted or running.
	Update(ctx context.Context, live Live) error

	// Events sends the current Snapshot and then one after every change, until
	// ctx is cancelled or the sandbox is shut down; then the channel is closed.
	// A slow reader misses intermediate snapshots, never the latest.
	Events(ctx context.Context) (<-chan Snapshot, error)

	// Shutdown releases the runtime; it is the last call. It needs created or
	// stopped.
	Shutdown(ctx context.Context) error
}

// Info describes a runtime.
type Info struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	// Capabilities are some of those that there are: see Capabilities.
	Capabilities []string `json:"capabilities,omitempty"`
	// Platforms that containers may have, as "linux/amd64".
	Platforms []string `json:"platforms,omitempty"`
	// RuntimeDataSchema is the JSON Schema of Configuration.RuntimeData; empty
	// means that the runtime takes none.
	RuntimeDataSchema json.RawMessage `json:"runtimeDataSchema,omitempty"`
}

// BootstrapRequest says where the sandbox is described.
type BootstrapRequest struct {
	// Bundle is the sandbox's directory; it holds ConfigurationFile.
	Bundle string
	// Secrets are the values that Configuration refers to by name. They are kept
	// in memory only: neither the bundle nor a log ever holds them.
	Secrets map[string][]byte
}

// StopOptions modify Stop.
type StopOptions struct {
	// Signal, by Linux number, sent to each init process. 0 means the container's
	// own stop signal, and SIGTERM where it has none.
	Signal int
	// GracePeriod is how long the processes have before SIGKILL.
	GracePeriod time.Duration
}

// SaveOptions modify SaveState.
type SaveOptions struct {
	// Stop ends the sandbox once its state is written: without a signal to its
	// processes, which go on where it is restored.
	Stop bool
}

// State is where a sandbox is in its life.
type State string

// The states, in order.
const (
	StateCreated      State = "created"
	StateBooted       State = "booted"
	StateRunning      State = "running"
	StatePaused       State = "paused"
	StateStopping     State = "stopping"
	StateStopped      State = "stopped"
	StateShuttingDown State = "shuttingDown"
)

// Snapshot is a sandbox at one moment.
type Snapshot struct {
	State State `json:"state"`
	// Reason says in words why the sandbox is stopped when nobody asked for it:
	// "the virtual machine process exited: signal: killed".
	Reason    string          `json:"reason,omitempty"`
	Processes []ProcessStatus `json:"processes,omitempty"`
	Machine   *Machine        `json:"machine,omitempty"`
	// Timeline holds the stages passed since Bootstrap, oldest first.
	Timeline []Stage `json:"timeline,omitempty"`
}

// Process returns the status of the process with the given id.
func (s Snapshot) Process(id string) (ProcessStatus, bool) {
	for _, p := range s.Processes {
		if p.ID == id {
			return p, true
		}
	}
	return ProcessStatus{}, false
}

// Machine tells what the VM runs on.
type Machine struct {
	Hypervisor  string `json:"hypervisor"`            // "qemu 7.2.19"
	Type        string `json:"type,omitempty"`        // "q35"
	Accelerator string `json:"accelerator,omitempty"` // "kvm", "tcg", "hvf"
	// AcceleratorReason says why it is not the hardware's, for people.
	AcceleratorReason string `json:"acceleratorReason,omitempty"`
	// CPU is the host's processor, as far as guests can tell one from another.
	CPU string `json:"cpu,omitempty"`
	// Identifier is the hypervisor's own name for the machine, if one that goes on
	// where it was must have the same. It stays with the runtime: State leaves it out.
	Identifier    string `json:"identifier,omitempty"`
	PID           int    `json:"pid,omitempty"`           // of the hypervisor process
	StartTime     uint64 `json:"startTime,omitempty"`     // of that process, see internal/procfs
	KernelVersion string `json:"kernelVersion,omitempty"` // uname -r in the guest
	BootID        string `json:"bootID,omitempty"`        // /proc/sys/kernel/random/boot_id in the guest
}

// Stage names of a Timeline.
const (
	StageBootstrap = "bootstrap" // Bootstrap or RestoreState was called
	StageVMStarted = "vmStarted" // the hypervisor runs the VM
	StageAgentUp   = "agentUp"   // the agent answered
	StageBooted    = "booted"    // disks, mounts and containers are ready
	StageRunning   = "running"   // the first container's init process runs, or runs again
)

// Stage is a point passed on the way up.
type Stage struct {
	Name string    `json:"name"`
	Time time.Time `json:"time"`
}

// Statistics is the resource use of a sandbox and of each of its containers.
type Statistics struct {
	Time       time.Time              `json:"time"`
	Sandbox    ResourceUse            `json:"sandbox"`
	Containers map[string]ResourceUse `json:"containers,omitempty"`
	// HostMemoryBytes is the resident memory of the hypervisor process.
	HostMemoryBytes uint64 `json:"hostMemoryBytes,omitempty"`
}

// ResourceUse holds counters since boot and gauges of the moment.
type ResourceUse struct {
	CPUUsec          uint64 `json:"cpuUsec"`
	MemoryBytes      uint64 `json:"memoryBytes"`
	MemoryLimitBytes uint64 `json:"memoryLimitBytes,omitempty"`
	Processes        uint64 `json:"processes"`
	NetworkRxBytes   uint64 `json:"networkRxBytes"`
	NetworkTxBytes   uint64 `json:"networkTxBytes"`
	BlockReadBytes   uint64 `json:"blockReadBytes"`
	BlockWriteBytes  uint64 `json:"blockWriteBytes"`
	// Containers share the sandbox's network: theirs is not told apart.
	NetworkRxPackets uint64 `json:"networkRxPackets,omitempty"`
	NetworkTxPackets uint64 `json:"networkTxPackets,omitempty"`
	NetworkRxErrors  uint64 `json:"networkRxErrors,omitempty"`
	NetworkTxErrors  uint64 `json:"networkTxErrors,omitempty"`
	// ProcessLimit is how many processes there may be; 0 is no limit.
	ProcessLimit uint64 `json:"processLimit,omitempty"`
	// The pressures are nil where the guest's kernel does not tell.
	CPUPressure    *Pressure `json:"cpuPressure,omitempty"`
	MemoryPressure *Pressure `json:"memoryPressure,omitempty"`
	IOPressure     *Pressure `json:"ioPressure,omitempty"`
}

// Pressure is the share of the last ten seconds, in percent, in which processes
// that could have run waited for a resource: some of them, or all.
type Pressure struct {
	Some float64 `json:"some"`
	Full float64 `json:"full"`
}
