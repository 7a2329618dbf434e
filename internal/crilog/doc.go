// Package crilog keeps the output of processes in the log format of the
// Kubernetes container runtime interface, one line of text a line:
//
//	2026-11-23T17:51:18.123456789Z stdout F text
//
// F ends a line of output, P is a piece of a line that goes on in the next
// entry. A Writer turns a process's two output streams into such a file and
// rotates it by size; Read gives its entries back, all or the last ones, and follows
// it as it grows and rotates. The two need not be in one process.
//
// The package knows nothing of sandboxes: bytes in, entries out.
package crilog
