// Command runtime-vz is the runtime plugin "vz".
package main

import (
	"log/slog"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/linuxvm"
	"github.com/vzreconciler/vzreconciler/drivers/vz"
	"github.com/vzreconciler/vzreconciler/internal/version"
	"github.com/vzreconciler/vzreconciler/plugins"
)

func main() {
	plugins.Serve(func(log *slog.Logger) drivers.Runtime {
		return linuxvm.New(vz.New(vz.Options{Log: log}), linuxvm.Options{Log: log, Version: version.String()})
	}, plugins.ServeOptions{})
}
