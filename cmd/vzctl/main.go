// Command vzctl talks to the vzreconciler daemon: it shows what runs, changes
// what should run, and reaches into sandboxes. See `vzctl --help`.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, cancel := context.WithCancel(context.Background())
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		<-caught
		signal.Stop(caught) // the second one ends vzctl whatever it does
		cancel()
	}()
	a := &app{
		stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, getenv: os.Getenv,
		stopSignals: func() { signal.Stop(caught) },
	}
	os.Exit(a.run(ctx, os.Args[1:]))
}
