// Command runtime-qemu is the runtime plugin "qemu".
package main

import (
	"fmt"
	"log/slog"
	"os"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/linuxvm"
	"github.com/vzreconciler/vzreconciler/drivers/qemu"
	"github.com/vzreconciler/vzreconciler/internal/version"
	"github.com/vzreconciler/vzreconciler/plugins"
)

func main() {
	if qemu.IsShareHelper(os.Args) {
		fmt.Fprintln(os.Stderr, qemu.ShareHelper(os.Args))
		os.Exit(1)
	}
	plugins.Serve(func(log *slog.Logger) drivers.Runtime {
		return linuxvm.New(qemu.New(qemu.Options{Log: log}), linuxvm.Options{Log: log, Version: version.String()})
	}, plugins.ServeOptions{})
}
