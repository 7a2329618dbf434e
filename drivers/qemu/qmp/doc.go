// Package qmp speaks QEMU's machine protocol: JSON objects, one a line, over a
// stream. It knows the protocol and no command in particular.
//
// What arrives is bounded: a line longer than MaxLine ends the connection.
package qmp
