// Package api is the daemon's control API: a gRPC service on a Unix socket that
// only the user who runs the daemon, and root, may use.
//
// Server carries calls to a Backend, which the reconciler implements; Dial
// returns the client that vzctl uses. Objects travel as JSON, in the form that
// `vzctl get -o json` prints; errors keep their kind, as package wire carries
// them. The package decides nothing: it knows neither manifests nor sandboxes.
package api
