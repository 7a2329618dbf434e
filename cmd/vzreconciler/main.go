// Command vzreconciler is the daemon: it watches directories of manifests and
// keeps one lightweight Linux VM per Sandbox converged to what they say. See
// `vzreconciler --help`; vzctl talks to it.
package main

import (
	"context"
	"fmt"
	"os"
)

func main() {
	cmd := newCommand(os.Stderr, run)
	if err := cmd.ExecuteContext(context.Background()); err != nil {
		fmt.Fprintf(os.Stderr, "vzreconciler: %v\n", err)
		os.Exit(exitCode(err))
	}
}
