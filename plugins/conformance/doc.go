// Package conformance is the contract of drivers.Runtime as a suite that can be
// run against any implementation, in this process or in a plugin's.
//
// The sandbox under test has one container whose image has a shell, cat, sleep,
// stty and pwd: busybox is enough. Each check gets sandboxes of its
// own from the caller and asks for them by what their container runs.
package conformance
