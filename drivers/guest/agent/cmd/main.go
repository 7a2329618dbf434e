//go:build linux

// Command agent is PID 1 of a sandbox's guest.
package main

import (
	"os"
	"runtime"

	"github.com/vzreconciler/vzreconciler/drivers/guest/agent"
)

// The first thread is kept for main. Others end when they have entered a
// container on behalf of a process; this one could not, and would stay there.
func init() { runtime.LockOSThread() }

func main() {
	if agent.IsStage(os.Args) {
		agent.Stage()
		return
	}
	agent.Main()
}
