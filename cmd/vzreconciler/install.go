package main

import (
	"fmt"
	"os"
	"path/filepath"
)

// guestArchs are the GOARCHs that the guest agent is built for.
func guestArchs() []string { return []string{"amd64", "arm64"} }

// installation is where what belongs to this executable lies: beside it in a
// build tree (bin/guest), in ../libexec/vzreconciler of an
// installed prefix.
type installation struct {
	// dir is the executable's directory.
	dir string
	// agents are the guest agent's executables by GOARCH.
	agents map[string]string
}

func findInstallation() (installation, error) {
	exe, err := os.Executable()
	if err == nil {
		exe, err = filepath.EvalSymlinks(exe)
	}
	if err != nil {
		return installation{}, fmt.Errorf("find what is installed beside this program: %w", err)
	}
	return installationAt(filepath.Dir(exe)), nil
}

// installationAt returns what belongs to an executable in a directory.
func installationAt(dir string) installation {
	roots := []string{dir, filepath.Join(filepath.Dir(dir), "libexec", "vzreconciler")}
	in := installation{dir: dir, agents: map[string]string{}}
	for _, root := range roots {
		for _, arch := range guestArchs() {
			agent := filepath.Join(root, "guest", arch, "agent")
			if _, found := in.agents[arch]; !found && isFile(agent) {
				in.agents[arch] = agent
			}
		}
	}
	return in
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}
