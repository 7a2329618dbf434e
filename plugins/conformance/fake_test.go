package conformance_test

import (
	"path/filepath"
	"testing"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/fake"
	"github.com/vzreconciler/vzreconciler/internal/state"
	"github.com/vzreconciler/vzreconciler/plugins/conformance"
)

func TestFakeKeepsToTheContract(t *testing.T) {
	conformance.Run(conformance.Options{
		Container: "main",
		New: func(_ conformance.T, init drivers.ProcessSpec) conformance.Sandbox {
			return conformance.Sandbox{
				Runtime: fake.New(fake.Options{Version: "test"}),
				Request: drivers.BootstrapRequest{Bundle: bundle(t, init)},
			}
		},
		Run: func(name string, check func(conformance.T)) {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				check(t)
			})
		},
	})
}

// bundle returns the directory of a sandbox of one container.
func bundle(t *testing.T, init drivers.ProcessSpec) string {
	t.Helper()
	dir := t.TempDir()
	err := state.WriteJSON(filepath.Join(dir, drivers.ConfigurationFile), drivers.Configuration{
		Version:    drivers.ConfigurationVersion,
		ID:         "default/test",
		Containers: []drivers.Container{{Name: "main", Process: init}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir
}
