package installed

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAgentsAreFoundBesideTheExecutable(t *testing.T) {
	for name, root := range map[string]string{"build tree": "bin", "installed prefix": "libexec/vzreconciler"} {
		t.Run(name, func(t *testing.T) {
			prefix := t.TempDir()
			agent := filepath.Join(prefix, root, "guest", "arm64", "agent")
			for _, dir := range []string{filepath.Join(prefix, "bin"), filepath.Dir(agent)} {
				if err := os.MkdirAll(dir, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(agent, nil, 0o755); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(map[string]string{"arm64": agent}, Agents(filepath.Join(prefix, "bin"))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
