// Command runtime-process is a runtime that is no VM: a container is a tree of
// processes in user, process, mount and host name namespaces of its own. It sees
// the programs of the host, read-only, and a writable root of its own. It is an
// example of a plugin; the host's kernel is all that parts a container from it.
package main

import (
	"log/slog"
	"os"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/plugins"
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == initArg {
		os.Exit(runInit())
	}
	plugins.Serve(func(log *slog.Logger) drivers.Runtime {
		return &sandbox{log: log, processes: map[string]*process{}}
	}, plugins.ServeOptions{})
}
