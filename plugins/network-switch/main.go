// Command network-switch is the network plugin "switch".
package main

import (
	"log/slog"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/netswitch"
	"github.com/vzreconciler/vzreconciler/plugins"
)

func main() {
	plugins.ServeNetwork(func(log *slog.Logger) drivers.Network { return netswitch.New(log) }, plugins.ServeOptions{})
}
