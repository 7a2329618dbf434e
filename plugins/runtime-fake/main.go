// Command runtime-fake is the runtime plugin "fake": sandboxes in memory, with
// faults on demand, for tests of whatever stands above a plugin.
package main

import (
	"log/slog"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/fake"
	"github.com/vzreconciler/vzreconciler/internal/version"
	"github.com/vzreconciler/vzreconciler/plugins"
)

func main() {
	plugins.Serve(func(log *slog.Logger) drivers.Runtime {
		return fake.New(fake.Options{Log: log, Version: version.String()})
	}, plugins.ServeOptions{})
}
