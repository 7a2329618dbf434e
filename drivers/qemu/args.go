package qemu

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/vzreconciler/vzreconciler/drivers/linuxvm"
)

// File descriptors that Args expects the QEMU process to inherit.
const (
	// MonitorFD is a listening stream socket for QMP.
	MonitorFD = 3
	// AgentFD is a listening stream socket: the host's end of the agent's port.
	AgentFD = 4
	// ConsoleFD is a listening stream socket for what the guest prints on its
	// serial console. While nobody is connected, that is dropped.
	ConsoleFD = 5
)

// AgentPort is the name of the virtio-serial port that the agent serves on.
const AgentPort = "agent"

// Spec is all that the command line depends on.
type Spec struct {
	// Name is shown in the list of processes.
	Name string
	// Type is the machine type: "q35" or "virt".
	Type string
	// Accelerator is "kvm", "tcg" or "hvf".
	Accelerator string
	// Firmware is the path of a firmware that is quicker than QEMU's own, if any.
	Firmware    string
	CPUs        int
	MemoryBytes int64
	// NestedVirtualization shows the guest the CPU's virtualization extensions.
	NestedVirtualization bool
	// Seccomp has QEMU give up the system calls it needs no more; Linux only.
	Seccomp bool
	// Kernel is the path of anything that QEMU's -kernel takes.
	Kernel     string
	KernelArgs []string
	Initrd     string
	Disks      []linuxvm.Disk
	// Shares are folders of the host's.
	Shares     []Share
	Interfaces []linuxvm.Interface
	// Incoming has QEMU wait for a saved state, and for being told to run.
	Incoming bool
	// Sockets says whether MonitorFD, AgentFD and ConsoleFD are there. Without
	// them the console is on the standard output.
	Sockets bool
}

// Share is a folder of the host's that another process serves.
type Share struct {
	// Tag is what the guest mounts.
	Tag string
	// FD is the descriptor of a connection to that process, which QEMU inherits.
	FD int
}

// Args returns QEMU's arguments, without the program's name.
func Args(s Spec) []string {
	args := []string{
		"-name", "guest=" + escape(s.Name),
		"-machine", machineType(s.Type),
		"-accel", accel(s.Accelerator),
		"-cpu", cpu(s),
		"-smp", "cpus=" + strconv.Itoa(s.CPUs),
		"-m", fmt.Sprintf("size=%dM", mebibytes(s.MemoryBytes)),
		"-nodefaults", "-no-user-config", "-no-reboot",
		"-display", "none",
		"-kernel", s.Kernel,
		"-initrd", s.Initrd,
		"-append", strings.Join(append(consoleArgs(s), s.KernelArgs...), " "),
		"-chardev", console(s.Sockets),
		"-serial", "chardev:console",
		"-device", "virtio-rng-pci,romfile=",
		"-device", "virtio-balloon-pci,romfile=,free-page-reporting=on",
	}
	if s.Seccomp {
		args = append(args, "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny")
	}
	if s.Incoming {
		args = append(args, "-incoming", "defer", "-S")
	}
	if s.Firmware != "" {
		args = append(args, "-bios", s.Firmware)
	}
	if s.Sockets {
		args = append(args,
			"-chardev", socketChardev("monitor", MonitorFD),
			"-mon", "chardev=monitor,mode=control",
			"-chardev", socketChardev("agent", AgentFD),
			"-device", "virtio-serial-pci,max_ports=2,romfile=",
			"-device", "virtserialport,chardev=agent,nr=1,name="+AgentPort)
	}
	if len(s.Shares) > 0 {
		// The process that serves them reads and writes the guest's memory.
		args = append(args, "-object", fmt.Sprintf("memory-backend-memfd,id=memory,share=on,size=%dM", mebibytes(s.MemoryBytes)),
			"-machine", "memory-backend=memory")
	}
	for i, share := range s.Shares {
		id := fmt.Sprintf("share%d", i)
		args = append(args, "-chardev", fmt.Sprintf("socket,id=%s,fd=%d", id, share.FD),
			"-device", "vhost-user-fs-pci,romfile=,queue-size=1024,chardev="+id+",tag="+escape(share.Tag))
	}
	for i, d := range s.Disks {
		args = append(args, disk(fmt.Sprintf("disk%d", i), d)...)
	}
	for i, n := range s.Interfaces {
		args = append(args, netInterface(fmt.Sprintf("net%d", i), n)...)
	}
	return args
}

func mebibytes(n int64) int64 { return (n + 1<<20 - 1) >> 20 }

func console(sockets bool) string {
	if sockets {
		return socketChardev("console", ConsoleFD)
	}
	return "stdio,id=console,signal=off"
}

func socketChardev(id string, fd int) string {
	return fmt.Sprintf("socket,id=%s,fd=%d,server=on,wait=off", id, fd)
}

// machineType returns the machine type without the devices that a guest of ours has
// no use for, and whose discovery costs it time.
func machineType(typ string) string {
	if typ == "q35" {
		return "q35,usb=off,smbus=off,sata=off,hpet=off,vmport=off,graphics=off,dump-guest-core=off"
	}
	return typ + ",gic-version=max,dump-guest-core=off"
}

// accel bounds TCG's cache of translated code, which else grows with the host's
// memory. What a guest of ours runs until its first process fills some 80 MB of
// it: with 32 MB the cache is thrown away on the way and the boot costs 15 to 30 %
// more CPU. The price is 40 MB of the host's for as long as the machine lives.
func accel(name string) string {
	if name == "tcg" {
		return "tcg,tb-size=96"
	}
	return name
}

// cpu shows the guest all that the accelerator can do: distributions begin to
// require x86-64-v2 and v3, and a lesser model boots no faster. TCG is not to say
// that it moves single bytes fast (ERMS, FSRM): it moves eight in the time of one,
// but a kernel that is told so copies and clears all its memory by the byte.
func cpu(s Spec) string {
	if s.Type != "q35" {
		return "max"
	}
	model := "max"
	if s.Accelerator == "tcg" {
		model += ",erms=off,fsrm=off"
	}
	if !s.NestedVirtualization {
		model += ",vmx=off,svm=off"
	}
	return model
}

// consoleArgs come first on the kernel's command line: where it prints, and
// that it ends instead of rebooting when it panics, so that the process's end
// tells of it.
func consoleArgs(s Spec) []string {
	console := "console=ttyS0"
	if s.Type == "virt" {
		console = "console=ttyAMA0"
	}
	args := []string{console, "panic=-1", "reboot=t"}
	if s.Type == "q35" && s.Accelerator == "tcg" {
		// On a busy host an emulated timer ticks late: the kernel must neither panic
		// over it nor give up the time-stamp counter, which is the host's and good.
		args = append(args, "no_timer_check", "tsc=reliable")
	}
	return args
}

func disk(id string, d linuxvm.Disk) []string {
	block := "driver=raw,node-name=" + id
	if d.ReadOnly {
		// The file may be shared by many machines: QEMU opens it read-only and so
		// needs no lock that another would refuse.
		block += ",read-only=on,auto-read-only=off"
	} else {
		// What the guest discards or fills with zeroes goes back to the host.
		block += ",discard=unmap,detect-zeroes=unmap"
	}
	block += ",file.driver=file,file.locking=auto,file.filename=" + escape(d.Path)
	if d.ReadOnly {
		block += ",file.read-only=on"
	} else {
		block += ",file.discard=unmap"
	}
	return []string{
		"-blockdev", block,
		// A write for which the host has no space is kept, and the machine stands still:
		// see space.go. The guest is told of other errors.
		"-device", "virtio-blk-pci,romfile=,werror=enospc,rerror=report,drive=" + id + ",serial=" + escape(d.Serial),
	}
}

// netInterface listens for the network, which may come and go as it likes.
func netInterface(id string, n linuxvm.Interface) []string {
	return []string{
		"-netdev", "stream,id=" + id + ",server=on,addr.type=unix,addr.path=" + escape(n.Socket),
		"-device", "virtio-net-pci,romfile=,netdev=" + id + ",mac=" + n.MAC,
	}
}

// escape protects a value in one of QEMU's comma-separated lists.
func escape(v string) string { return strings.ReplaceAll(v, ",", ",,") }
