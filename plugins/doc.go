// Package plugins puts a driver into another process, and keeps it there.
//
// A runtime plugin is a program that serves one drivers.Runtime, and so one
// sandbox, over gRPC on a private Unix socket. Both ends are here: Serve is all
// that a plugin's main calls; a Loader finds the plugins that are installed; a
// Launcher starts one for a sandbox and hands back an Instance, which is again
// a drivers.Runtime.
//
// A plugin process outlives whoever launched it: it has a session of its own,
// logs to a file of its own, and what is needed to talk to it again lies in the
// sandbox's bundle directory, where Reattach finds it. The two processes prove
// themselves to each other by keys that lie there too.
//
// Data enters as a plugin.yaml and a bundle directory and leaves as an Instance.
// The package knows nothing of manifests or of the reconciler.
package plugins
