package drivers

import "encoding/json"

// Files in a sandbox's bundle directory.
const (
	// ConfigurationFile is written by the reconciler and read by the runtime.
	ConfigurationFile = "runtime-configuration.json"
	// LogsDir holds ID.log for each process id, and the sandbox's own logs, whose
	// names no process can have: an id begins with a letter or a digit.
	LogsDir = "logs"
	// VolumesDir holds disks that belong to the sandbox as its writable disk does, and
	// are removed when that is.
	VolumesDir = "volumes"
	// ConsoleLog is what the guest's kernel and agent print.
	ConsoleLog = "_console.log"
)

// BundleEnv is the environment variable that holds the bundle's path in a
// runtime's process. A runtime passes it on to each process that it starts and
// that may outlive it: so it is found, and ended, when nothing else knows of it.
const BundleEnv = "VZ_BUNDLE"

// ConfigurationVersion is the version of Configuration written today.
const ConfigurationVersion = 1

// Configuration is all a runtime needs to make a sandbox.
type Configuration struct {
	Version int `json:"version"`
	// ID is the sandbox's "namespace/name".
	ID       string `json:"id"`
	Hostname string `json:"hostname"`
	CPUs     int    `json:"cpus"`
	// MemoryBytes is the VM's memory.
	MemoryBytes int64 `json:"memoryBytes"`
	// DiskBytes is the apparent size of the private writable disk. The disk lies
	// in the bundle, sparse; it is made at the first Bootstrap and kept after.
	DiskBytes int64  `json:"diskBytes"`
	Kernel    Kernel `json:"kernel"`
	// Agent is the path of the guest agent's executable for the guest's platform.
	Agent string `json:"agent"`
	// CacheDir is where the runtime may keep what sandboxes of this state
	// directory share and what can be made again (initramfs, host probes).
	CacheDir string `json:"cacheDir"`
	// SocketDir is a short private directory for sockets: a bundle's path may be
	// too long for a Unix socket's name.
	SocketDir   string            `json:"socketDir"`
	Containers  []Container       `json:"containers"`
	Volumes     []Volume          `json:"volumes,omitempty"`
	FSGroup     *FSGroup          `json:"fsGroup,omitempty"`
	Sysctls     map[string]string `json:"sysctls,omitempty"`
	DNS         DNS               `json:"dns,omitzero"`
	HostAliases []HostAlias       `json:"hostAliases,omitempty"`
	// Interfaces are the machine's on networks; none means that it has no network.
	Interfaces           []NetworkInterface `json:"interfaces,omitempty"`
	NestedVirtualization bool               `json:"nestedVirtualization,omitempty"`
	// RuntimeData is the runtime's own configuration, checked against
	// Info.RuntimeDataSchema.
	RuntimeData json.RawMessage `json:"runtimeData,omitempty"`
}

// Restorable returns what the configurations of a saved sandbox and of one that is
// restored from it must have in common: all but whose it is, and places of the host
// that the guest does not see.
func (c Configuration) Restorable() Configuration {
	c.ID, c.CacheDir, c.SocketDir = "", "", ""
	return c
}

// Kernel is what the VM boots.
type Kernel struct {
	// Image is the path of the kernel as its package ships it.
	Image string `json:"image"`
	// VMLinux is the path of the same kernel uncompressed (an ELF file), if there
	// is one: it boots faster on hypervisors that can enter it.
	VMLinux string `json:"vmlinux,omitempty"`
	// ModulesDir holds the kernel's modules (the directory that holds "kernel/");
	// empty when the kernel needs none.
	ModulesDir string   `json:"modulesDir,omitempty"`
	Args       []string `json:"args,omitempty"`
}

// Container is one container in the sandbox.
type Container struct {
	Name string `json:"name"`
	// Rootfs is the path of the image's read-only root filesystem, an ext4 disk
	// image shared by every sandbox of that image.
	Rootfs         string      `json:"rootfs"`
	ReadOnlyRootfs bool        `json:"readOnlyRootfs,omitempty"`
	Process        ProcessSpec `json:"process"`
	// StopSignal is a Linux signal number; 0 means SIGTERM.
	StopSignal int     `json:"stopSignal,omitempty"`
	Mounts     []Mount `json:"mounts,omitempty"`
	// CPUMillis and MemoryBytes limit the container; 0 means the VM's own.
	CPUMillis   int64 `json:"cpuMillis,omitempty"`
	MemoryBytes int64 `json:"memoryBytes,omitempty"`
}

// Mount puts a volume into a container.
type Mount struct {
	Volume   string `json:"volume"`
	Path     string `json:"path"`
	SubPath  string `json:"subPath,omitempty"`
	ReadOnly bool   `json:"readOnly,omitempty"`
}

// Volume is storage that containers of the sandbox mount by name: one of its
// members is set.
type Volume struct {
	Name     string          `json:"name"`
	EmptyDir *EmptyDirVolume `json:"emptyDir,omitempty"`
	Files    *FilesVolume    `json:"files,omitempty"`
	Disk     *DiskVolume     `json:"disk,omitempty"`
	HostPath *HostPathVolume `json:"hostPath,omitempty"`
	Image    *ImageVolume    `json:"image,omitempty"`
}

// FSGroup is a Pod's fsGroup: the group that the sandbox's volumes are given to.
type FSGroup struct {
	ID uint32 `json:"id"`
	// OnRootMismatch leaves a volume alone whose root has the group already.
	OnRootMismatch bool `json:"onRootMismatch,omitempty"`
}

// DiskVolume is a disk of its own, which outlives the sandbox.
type DiskVolume struct {
	// Path of the disk, a sparse file. The runtime makes it, with an empty file
	// system, if it is not there, and makes it larger if it is too small.
	Path string `json:"path"`
	// SizeBytes is its apparent size.
	SizeBytes int64 `json:"sizeBytes"`
	// ReadOnly keeps the whole machine from writing to it; others may read it then.
	ReadOnly bool `json:"readOnly,omitempty"`
}

// HostPathVolume is a folder or a file of the host's.
type HostPathVolume struct {
	// Root is a directory that the sandbox may be given parts of.
	Root string `json:"root"`
	// Path of the folder or file, relative to Root, clean. Links are followed as long
	// as they do not lead out of Root; those in the folder are for the guest to follow,
	// and lead nowhere outside of it.
	Path string `json:"path"`
	// Type is what must be there, as in Kubernetes: "Directory", "File", either of
	// them with "OrCreate", or empty for one of the two.
	Type string `json:"type,omitempty"`
	// ReadOnly keeps the whole machine from writing to it.
	ReadOnly bool `json:"readOnly,omitempty"`
}

// ImageVolume is the content of an image, which is never written to.
type ImageVolume struct {
	// Rootfs is as in Container.
	Rootfs string `json:"rootfs"`
}

// EmptyDirVolume is a directory on the writable disk, or in memory.
type EmptyDirVolume struct {
	Memory bool `json:"memory,omitempty"`
	// SizeLimitBytes bounds it; 0 means no bound of its own. One that is not in memory
	// may be on a disk of its own, in VolumesDir.
	SizeLimitBytes int64 `json:"sizeLimitBytes,omitempty"`
}

// FilesVolume is a directory in the guest's memory that holds the given files,
// read-only to containers.
type FilesVolume struct {
	Files []File `json:"files"`
}

// File is one file of a FilesVolume: its Data, or the name of a secret in
// BootstrapRequest.Secrets.
type File struct {
	// Path is relative to the volume, clean, and without "..".
	Path   string `json:"path"`
	Mode   uint32 `json:"mode"`
	Data   []byte `json:"data,omitempty"`
	Secret string `json:"secret,omitempty"`
}

// DNS is written to the containers' /etc/resolv.conf.
type DNS struct {
	Nameservers []string `json:"nameservers,omitempty"`
	Searches    []string `json:"searches,omitempty"`
	Options     []string `json:"options,omitempty"`
}

// HostAlias is a line of the containers' /etc/hosts.
type HostAlias struct {
	IP        string   `json:"ip"`
	Hostnames []string `json:"hostnames"`
}
