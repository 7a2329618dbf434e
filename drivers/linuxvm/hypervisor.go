package linuxvm

import (
	"context"
	"encoding/json"
	"io"
	"net"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// Hypervisor makes virtual machines. It is what a new hypervisor implements,
// in a folder of its own beside this one.
type Hypervisor interface {
	// Name is the name of the runtime built on it: "qemu".
	Name() string
	// Probe reports whether the hypervisor can be used on this host; the error
	// wraps drivers.ErrUnavailable and says what to install or change.
	Probe(ctx context.Context) error
	// RuntimeDataSchema is the JSON Schema of MachineConfig.RuntimeData; empty if
	// it takes none.
	RuntimeDataSchema() json.RawMessage
	// RequiredModules names the kernel modules that the guest must load before
	// the agent can be reached on this hypervisor, without their dependencies.
	RequiredModules() []string
	// Start starts a machine and returns once its CPUs run.
	Start(ctx context.Context, cfg MachineConfig) (Machine, error)
	// Adopt takes over a machine that a process of this runtime started from cfg
	// and described as was before it died. The error is drivers.ErrNotFound if the
	// machine is gone, as it always is where machines end with their process.
	Adopt(ctx context.Context, cfg MachineConfig, was drivers.Machine) (Machine, error)
}

// Restorer is a Hypervisor that can save machines and restore them: all of its
// Machines are Savers.
type Restorer interface {
	Hypervisor
	// CanSave says why it cannot on this host, if that is so. The error wraps
	// drivers.ErrUnsupported.
	CanSave() error
	// Restore makes a machine from cfg that is where another was when it was saved
	// to the file at path, and described as was. Its CPUs stand still until Resume.
	// The error is drivers.ErrInvalidArgument if the two do not fit.
	Restore(ctx context.Context, cfg MachineConfig, was drivers.Machine, path string) (Machine, error)
}

// Sharer is a Hypervisor that may give machines folders of the host's.
type Sharer interface {
	// SharesHostPaths reports whether it can on this host.
	SharesHostPaths() bool
}

// Networked is a Hypervisor whose machines can have Interfaces.
type Networked interface {
	Hypervisor
	// Networked says nothing but that.
	Networked()
}

// Saver is a Machine whose memory and devices can be saved.
type Saver interface {
	// Save writes them to a file that it makes at path, private to the user. The CPUs
	// stand still, and do after it; what the guest has written to its disks is there
	// then. If it fails, or ctx ends, the machine is as it was before and writes no
	// more to the file.
	Save(ctx context.Context, path string) error
}

// Machine is one running virtual machine.
type Machine interface {
	// DialAgent opens the byte channel to the agent. The guest may not listen
	// yet: the caller does the handshake.
	DialAgent(ctx context.Context) (net.Conn, error)
	// Pause stops the CPUs, Resume lets them run again if they do not.
	Pause(ctx context.Context) error
	Resume(ctx context.Context) error
	// Kill powers the machine off at once and waits until it is gone.
	Kill(ctx context.Context) error
	// Exited is closed when the machine is gone, by whatever cause; ExitReason
	// then says which, for people, or is empty after a power-off by the guest or Kill.
	Exited() <-chan struct{}
	ExitReason() string
	// Describe tells what the machine runs on.
	Describe() drivers.Machine
}

// MachineConfig is a virtual machine, described for any hypervisor.
type MachineConfig struct {
	ID          string
	CPUs        int
	MemoryBytes int64
	Kernel      drivers.Kernel
	Initrd      string
	// KernelArgs come after the hypervisor's own and before Kernel.Args.
	KernelArgs []string
	Disks      []Disk
	// Shares are folders of the host's.
	Shares     []Share
	Interfaces []Interface
	// Console receives what the guest prints on its serial console. Writes must
	// not block for long.
	Console io.Writer
	// SocketDir is a short private directory for the machine's sockets, CacheDir
	// one for what machines share, such as the verdict on hardware acceleration, and
	// StateDir one for what the machine must find again at its next start.
	SocketDir            string
	CacheDir             string
	StateDir             string
	NestedVirtualization bool
	RuntimeData          []byte
}

// Disk is a raw block device. The guest finds it by its serial, of at most 20
// bytes.
type Disk struct {
	Serial   string
	Path     string
	ReadOnly bool
}

// SharedFile is the name of a single file in its Share.
const SharedFile = "file"

// Share is a folder of the host's, or one with nothing in it but a single file of
// the host's, which the guest mounts as virtiofs by its tag.
type Share struct {
	Tag string
	// Root is a directory, and Path what is shared, relative to it: no link on the way
	// there leads out of Root, nor does any in the folder lead out of that.
	Root, Path string
	// File says that it is a file.
	File bool
	// ReadOnly keeps the whole machine from writing to it.
	ReadOnly bool
}

// Interface is a network interface. The machine serves its frames on a stream
// socket at Socket, each after its length, to one at a time and to the next when
// that is gone.
type Interface struct {
	Socket string
	MAC    string
}
