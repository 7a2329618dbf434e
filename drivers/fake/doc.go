// Package fake is a runtime without a virtual machine. It keeps to the contract
// of drivers.Runtime as the real ones do, in memory and at once, and it fails on
// demand: see Faults. Tests run thousands of sandboxes on it in virtual time,
// and as a plugin it lets the whole daemon be tested where no VM can run.
//
// Its processes are small programs of its own: sh -c with a few commands, cat,
// echo, sleep and the like. Any other command of a container's init process
// stands for a server and runs until it is told to end.
package fake
