// Package probe asks the containers of a sandbox how they are, by the rules of
// Kubernetes' startup, liveness and readiness probes.
//
// Do asks once, by way of a Target, which is a drivers.Runtime: what is asked is
// in the sandbox, and no network is needed for it. Loop asks again and again and
// says when the answers decide. What follows from that is not for this package to
// know: it has no state beyond a count and knows no container.
package probe
