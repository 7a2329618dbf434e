// Package installed finds what was installed along with the program that runs:
// beside it in a build tree, in ../libexec/vzreconciler of an installed prefix.
package installed

import (
	"fmt"
	"os"
	"path/filepath"
)

// guestArchs are the GOARCHs that the guest agent is built for.
func guestArchs() []string { return []string{"amd64", "arm64"} }

// Dir returns the directory of the running program, links followed.
func Dir() (string, error) {
	exe, err := os.Executable()
	if err == nil {
		exe, err = filepath.EvalSymlinks(exe)
	}
	if err != nil {
		return "", fmt.Errorf("find what is installed beside this program: %w", err)
	}
	return filepath.Dir(exe), nil
}

// Agents returns the guest agent's executables, by GOARCH, that belong to a
// program in dir.
func Agents(dir string) map[string]string {
	agents := map[string]string{}
	for _, root := range []string{dir, filepath.Join(filepath.Dir(dir), "libexec", "vzreconciler")} {
		for _, arch := range guestArchs() {
			agent := filepath.Join(root, "guest", arch, "agent")
			if _, found := agents[arch]; !found && isFile(agent) {
				agents[arch] = agent
			}
		}
	}
	return agents
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}
