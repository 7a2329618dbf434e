package initramfs

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
)

// Options says what goes into an initramfs.
type Options struct {
	// Agent is the path of the agent's executable.
	Agent string
	// ModulesDir holds the kernel's modules (the directory that holds "kernel/");
	// empty when the kernel needs none.
	ModulesDir string
	// Modules names those that must be loaded before the agent can be reached,
	// without their dependencies. What the agent wants after that is known here.
	Modules []string
}

// Places in the archive.
const (
	// Init is the agent; the kernel starts it as PID 1.
	Init = "init"
	// ModulesDir holds NAME.ko for each module in ListFile.
	ModulesDir = "modules"
	// ListFile has a line "WHEN NAME" for each module, dependencies first.
	ListFile = ModulesDir + "/list"
)

// When the agent loads a module.
const (
	// WhenChannel is before the agent can be reached.
	WhenChannel = "channel"
	// WhenStorage is before disks and containers can be mounted.
	WhenStorage = "storage"
	// WhenNetwork is before interfaces are set up, if the machine has any.
	WhenNetwork = "network"
	// WhenIdle is any time later.
	WhenIdle = "idle"
)

// wanted are the modules for the agent's own needs, in the order to load them.
// A kernel that has one built in, or not at all, goes without it.
var wanted = []struct{ when, name string }{
	{WhenStorage, "virtio_blk"},
	{WhenStorage, "crc32c_generic"}, // ext4 asks for it by alias, not as a dependency
	{WhenStorage, "ext4"},
	{WhenStorage, "overlay"},
	{WhenNetwork, "virtio_net"},
	{WhenIdle, "virtio_rng"},
	{WhenIdle, "virtio_balloon"},
}

// Build writes an initramfs to w.
func Build(w io.Writer, opts Options) error {
	modules, err := resolve(opts.ModulesDir, opts.Modules)
	if err != nil {
		return fmt.Errorf("kernel modules in %s: %w", opts.ModulesDir, err)
	}
	agent, err := os.ReadFile(opts.Agent)
	if err != nil {
		return fmt.Errorf("guest agent: %w", err)
	}
	if !bytes.HasPrefix(agent, []byte("\x7fELF")) {
		return fmt.Errorf("guest agent %s: not a Linux executable", opts.Agent)
	}

	a := &archive{w: w}
	for _, dir := range []string{"dev", "proc", "sys", "run", "mnt", ModulesDir} {
		a.dir(dir)
	}
	// The kernel opens it for PID 1 before anything is mounted.
	a.charDevice("dev/console", 5, 1)
	// It cannot while the console's driver is a module yet to be loaded: then PID 1
	// begins without open files, and a Go program puts this in their place.
	a.charDevice("dev/null", 1, 3)
	a.file(Init, 0o755, agent)
	var list strings.Builder
	for _, m := range modules {
		a.file(ModulesDir+"/"+m.name+".ko", 0o644, m.data)
		fmt.Fprintln(&list, m.when, m.name)
	}
	a.file(ListFile, 0o644, []byte(list.String()))
	return a.close()
}
