// Package e2e drives the built binaries against real virtual machines, real
// registries and real files, as a user would. `make e2e` builds what it needs.
//
// A test names the promise it proves. It owns a host of its own: a daemon with
// a temporary state directory and a folder of manifests.
package e2e
