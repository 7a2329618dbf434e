//go:build linux

package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// The list and the groups are those of package initramfs, which is not imported
// for the decompressors that would come along.
const (
	modulesDir  = "/modules"
	whenChannel = "channel"
	whenStorage = "storage"
	whenNetwork = "network"
	whenIdle    = "idle"
)

// moduleList names the modules of each group in the order to load them.
type moduleList map[string][]string

func readModuleList() (moduleList, error) {
	data, err := os.ReadFile(modulesDir + "/list")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return parseModuleList(string(data)), nil
}

func parseModuleList(s string) moduleList {
	l := moduleList{}
	for line := range strings.Lines(s) {
		if when, name, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			l[when] = append(l[when], name)
		}
	}
	return l
}

// load loads the modules of a group.
func (l moduleList) load(when string) error {
	for _, name := range l[when] {
		if err := loadModule(modulesDir + "/" + name + ".ko"); err != nil {
			return fmt.Errorf("load kernel module %s: %w", name, err)
		}
	}
	return nil
}

// loadModule loads one and frees the memory that its file takes.
func loadModule(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil && !errors.Is(err, unix.EEXIST) {
		return err
	}
	return os.Remove(path)
}
