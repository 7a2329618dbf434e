// Package bundle knows a sandbox's bundle directory: where everything in the
// state directory lies, and how a manifest becomes the drivers.Configuration
// that a runtime is bootstrapped from.
//
// The translation is pure: a Sandbox, the ConfigMaps and Secrets it refers to,
// its images and its kernel go in; a Configuration comes out and, apart from it,
// the values of secrets, which must stay in memory.
package bundle
