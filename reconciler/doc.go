// Package reconciler keeps every sandbox as its manifest says.
//
// A source.Snapshot says what should be. For each object it is judged what the
// manifests say about it (look.go), and the verdict becomes the object's intent.
// From there on every object goes its own way: a work queue wakes it, its record
// is brought in line with its intent (reconcile.go), what its plugin process
// says is taken in (takein.go), and plan says which step is next (plan.go). The
// step is carried out in a goroutine of its own (operation.go, actions.go), one
// at a time for each object, while its status goes on telling what is true
// (status.go). The end of a step, a change that the plugin process reports and a
// change of the manifests all do the same: they wake the object.
//
// A Job, a CronJob, a StatefulSet, a SandboxWarmPool and a SandboxClaim are
// workloads (workload_*.go): what they make is decided in package workload, and the
// intent of a sandbox that they own is theirs instead of a file's (owned.go). From
// there on it is like any other.
//
// Beside the steps, probers ask the containers that run how they are (prober.go,
// package probe); what they find decides on Ready and on which container is ended
// (health.go). What a sandbox waits for is looked up in what others show
// (dependency.go), and how long it may take is kept in progress.go.
//
// What must survive the daemon is in the bundle: the record of what was applied
// (record.go), which is the inventory, and the last status. The processes that
// run sandboxes survive by themselves and are found again.
//
// Nothing is lost by accident: doubt about the manifests keeps an object as it
// was applied, and more removals at once than a bound are held (prune.go).
//
// The package knows nothing of YAML, hypervisors or the guest: it turns a
// manifest into a driver's configuration by package bundle and speaks to
// drivers.Runtime through Runtimes. Manager implements api.Backend
// (backend_*.go); it serves nothing itself.
package reconciler
