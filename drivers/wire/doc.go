// Package wire carries the types of package drivers over gRPC: conversions,
// errors that keep their kind, and a process's stdio on a stream. The guest
// agent, the runtime plugins and the control API all speak it, so that a byte
// typed at a terminal passes through one piece of code at every hop.
package wire
