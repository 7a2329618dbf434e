// Command runtime-qemu is the runtime plugin "qemu".
package main

import (
	"log/slog"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/linuxvm"
	"github.com/vzreconciler/vzreconciler/drivers/qemu"
	"github.com/vzreconciler/vzreconciler/internal/version"
	"github.com/vzreconciler/vzreconciler/plugins"
)

func main() {
	plugins.Serve(func(log *slog.Logger) drivers.Runtime {
		return linuxvm.New(qemu.New(qemu.Options{Log: log}), linuxvm.Options{Log: log, Version: version.String()})
	}, plugins.ServeOptions{})
}
