// Package workload decides what a Job, a CronJob and a StatefulSet make of the
// sandboxes that they own, as Kubernetes' controllers do, and a SandboxWarmPool and
// a SandboxClaim, as agent-sandbox's.
//
// It is pure: what is wanted, what was decided so far, what is there and the time
// go in (PlanJob, PlanCronJob, PlanStatefulSet, PlanWarmPool, PlanClaim); what to
// make, what to remove, the status and when to look again come out. The same input
// gives the same answer, so that a daemon that ended anywhere in between goes on
// where it was.
//
// It knows nothing of manifests' files, queues or disks: package reconciler keeps
// the decisions and carries them out.
package workload
