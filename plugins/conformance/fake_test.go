package conformance_test

import (
	"os"
	"path/filepath"
	"strings"
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
		Run: reported(t, "fake in this process").Record(parallel(t)),
	})
}

// parallel runs the checks side by side.
func parallel(t *testing.T) func(string, func(conformance.T)) {
	t.Helper()
	return func(name string, check func(conformance.T)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			check(t)
		})
	}
}

// reported returns a report that is written at the end of the test.
func reported(t *testing.T, subject string) *conformance.Report {
	t.Helper()
	r := &conformance.Report{Subject: subject}
	t.Cleanup(func() {
		if err := r.WriteFiles(os.Getenv(conformance.ReportEnv)); err != nil {
			t.Error(err)
		}
		var text strings.Builder
		_ = r.WriteText(&text)
		t.Logf("%s", text.String())
		if r.Count(conformance.Passed) == 0 {
			t.Error("not one check has passed")
		}
	})
	return r
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
