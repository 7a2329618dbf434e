package plugins_test

import (
	"log/slog"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/fake"
	"github.com/vzreconciler/vzreconciler/plugins"
)

// The main function of a plugin, as docs/writing-a-plugin.md has it.
func ExampleServe() {
	newRuntime := func(*slog.Logger) drivers.Runtime { return fake.New(fake.Options{}) }

	plugins.Serve(func(log *slog.Logger) drivers.Runtime {
		return newRuntime(log)
	}, plugins.ServeOptions{})
}
