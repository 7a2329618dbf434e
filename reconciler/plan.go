package reconciler

import (
	"slices"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// Goal is where a sandbox is meant to get.
type Goal string

// The goals.
const (
	GoalHold    Goal = "Hold"    // leave it as it is
	GoalRun     Goal = "Run"     // its containers run
	GoalPause   Goal = "Pause"   // they run, but the VM's CPUs are stopped
	GoalSuspend Goal = "Suspend" // no VM, because the manifest says so
	GoalStop    Goal = "Stop"    // no VM, because a user says so
	GoalExpire  Goal = "Expire"  // no VM, because its shutdownTime has come
	GoalDelete  Goal = "Delete"  // nothing is left of it
)

// up reports whether the goal has a VM.
func (g Goal) up() bool { return g == GoalRun || g == GoalPause }

// Rebuild says what must happen to a VM that was built from an older manifest.
type Rebuild string

// The ways to rebuild.
const (
	RebuildNone    Rebuild = ""
	RebuildRestart Rebuild = "Restart"  // a fresh VM on the same disk
	RebuildNew     Rebuild = "Recreate" // a fresh VM on a fresh disk
)

// Desired is what should be, as far as it decides on the next step.
type Desired struct {
	Goal Goal
	// InitContainers run to completion one after the other, before the others.
	InitContainers []string
	// Containers in the order in which they start.
	Containers []string
	Rebuild    Rebuild
	// Purge says that the disk goes with the VM, when that is to go.
	Purge bool
	// Update says that the VM that runs has limits or the like of an older manifest.
	Update bool
	// Blocked says that what the sandbox refers to is not there: what runs may go
	// on, but nothing can be built.
	Blocked bool
	// Waiting says that other objects come first: what runs may go on, and all may
	// be brought here, but no VM is built; what is to be deleted is not yet.
	Waiting bool
	// Yields says that what comes first needs a volume that the sandbox has: while
	// Waiting, its VM is ended, though the one that replaces it cannot be built yet.
	Yields bool
}

// Attachment is how the reconciler stands with a sandbox's plugin process.
type Attachment string

// The attachments.
const (
	AttachUnknown Attachment = "Unknown"  // nobody looked yet since the daemon started
	AttachNone    Attachment = "None"     // there is none
	AttachLost    Attachment = "Lost"     // it is gone, and may have left things behind
	AttachUp      Attachment = "Attached" // it answers
)

// Observed is what is, as far as it decides on the next step.
type Observed struct {
	Now    time.Time
	Attach Attachment
	// State and Processes come from the plugin; they count when it is attached.
	State     drivers.State
	Processes map[string]drivers.ProcessState
	// Survivor says that the VM has outlived its plugin process and may be taken
	// over by a new one.
	Survivor bool
	// Prepared says that all that a boot needs is at hand: images, kernel,
	// configuration.
	Prepared bool
	// Disk says that there is a writable disk.
	Disk bool
	// Finished says that the sandbox ran to its end and stays ended.
	Finished bool
	// BuildAfter and EndAfter are the times before which, after a failure, no
	// step to build a VM may be tried again, and none of the others.
	BuildAfter, EndAfter time.Time
	// UpdateAfter is the same for Update, which puts nothing else off.
	UpdateAfter time.Time
	Containers  map[string]ObservedContainer
}

// ObservedContainer is what the reconciler remembers of a container.
type ObservedContainer struct {
	// Done says that the container has exited and is not to be started again.
	Done bool
	// Completed says that its process in this VM has exited with 0.
	Completed bool
	// Unhealthy says that a probe found its process to be one that must be ended.
	Unhealthy bool
	// StartAfter is the end of its back-off.
	StartAfter time.Time
}

// Verb is what an Action does.
type Verb string

// The verbs. Each can be repeated after a crash at any point.
const (
	ActReattach   Verb = "Reattach"       // look for a plugin process that an earlier daemon left running
	ActPrepare    Verb = "Prepare"        // bring images here, find the kernel, translate the manifest
	ActLaunch     Verb = "Launch"         // start the plugin process
	ActBootstrap  Verb = "Bootstrap"      // write the configuration, boot the VM
	ActTakeOver   Verb = "TakeOver"       // have the new plugin process take over the VM of one that died
	ActStart      Verb = "StartContainer" // start a container's init process
	ActKill       Verb = "KillContainer"  // end a container's init process
	ActUpdate     Verb = "Update"         // change limits and the like of what runs
	ActPause      Verb = "Pause"          // stop the VM's CPUs
	ActResume     Verb = "Resume"         // let them run again
	ActStop       Verb = "Stop"           // end the containers and the VM
	ActShutdown   Verb = "Shutdown"       // end the plugin process
	ActCleanUp    Verb = "CleanUp"        // end what a lost plugin process left behind
	ActRemoveDisk Verb = "RemoveDisk"     // remove the writable disk, so that the next boot makes a fresh one
	ActRemove     Verb = "Remove"         // remove the bundle and forget the object
)

// Action is one step.
type Action struct {
	Verb      Verb
	Container string
}

func (a Action) String() string {
	if a.Container != "" {
		return string(a.Verb) + " " + a.Container
	}
	return string(a.Verb)
}

// Plan is what to do: the steps, in order, as far as they can be foreseen. Only
// the first is taken before the world is looked at again.
type Plan struct {
	Actions []Action
	// Again, if not zero, is when to look again though nothing happened.
	Again time.Time
}

// plan says how to get from what is to what should be. It is pure.
func plan(d Desired, o Observed) Plan {
	switch {
	case o.Attach == AttachUnknown:
		return do(ActReattach)
	case d.Goal == GoalHold:
		return Plan{}
	case o.Survivor:
		return takeOver(o)
	case d.Goal == GoalDelete && d.Waiting:
		return Plan{}
	case d.Goal == GoalDelete:
		p, done := end(o)
		if !done {
			return p
		}
		return p.then(ActRemove).after(o.Now, o.EndAfter)
	case !d.Goal.up() || o.Finished:
		p, done := end(o)
		if done && d.Purge && o.Disk {
			p = p.then(ActRemoveDisk).after(o.Now, o.EndAfter)
		}
		return p
	}
	return bringUp(d, o)
}

// takeOver has a new plugin process go on with a VM, whatever becomes of it then:
// it is not for the death of the old one that what runs in it is disturbed.
func takeOver(o Observed) Plan {
	p := do(ActTakeOver)
	if o.Attach != AttachUp {
		p = do(ActLaunch, ActTakeOver)
	}
	return p.after(o.Now, o.BuildAfter)
}

// end takes the VM and its plugin process away. It is not done when it must
// wait for an end that is under way.
func end(o Observed) (p Plan, done bool) {
	switch o.Attach {
	case AttachNone:
		return Plan{}, true
	case AttachLost:
		p = do(ActCleanUp)
	default:
		switch o.State {
		case drivers.StateStopping:
			return Plan{}, false
		case drivers.StatePaused:
			p = do(ActResume, ActStop, ActShutdown)
		case drivers.StateBooted, drivers.StateRunning:
			p = do(ActStop, ActShutdown)
		default:
			p = do(ActShutdown)
		}
	}
	return p.after(o.Now, o.EndAfter), true
}

func bringUp(d Desired, o Observed) Plan {
	if d.Rebuild == RebuildRestart && o.Attach == AttachUp && o.State == drivers.StateCreated {
		d.Rebuild = RebuildNone // This is the fresh one.
	}
	if o.Attach != AttachUp || d.Rebuild != RebuildNone {
		return build(d, o)
	}
	switch o.State {
	case drivers.StateCreated:
		if d.Blocked || d.Waiting { // It must not hold a turn to boot while it waits.
			return do(ActShutdown).after(o.Now, o.EndAfter)
		}
		return prepare(o).then(ActBootstrap).starts(d).after(o.Now, o.BuildAfter)
	case drivers.StateBooted, drivers.StateRunning:
		p, initialised := initialise(d, o)
		if !initialised {
			return p
		}
		if o.State == drivers.StateRunning {
			if p := killUnhealthy(d, o); len(p.Actions) > 0 || !p.Again.IsZero() {
				return p
			}
		}
		p = startContainers(d, o)
		if d.Update && len(p.Actions) == 0 {
			u := do(ActUpdate).after(o.Now, o.UpdateAfter)
			if len(u.Actions) > 0 {
				return u
			}
			p.Again = earliest(p.Again, u.Again)
		}
		if d.Goal == GoalPause && len(p.Actions) == 0 && p.Again.IsZero() && o.State == drivers.StateRunning {
			return do(ActPause).after(o.Now, o.EndAfter)
		}
		return p
	case drivers.StatePaused:
		if d.Goal == GoalRun {
			return do(ActResume).after(o.Now, o.EndAfter)
		}
		return Plan{}
	case drivers.StateStopping:
		return Plan{}
	default: // The VM is gone, though nobody asked for it.
		return do(ActShutdown).after(o.Now, o.EndAfter)
	}
}

// build makes a fresh VM. What an old one leaves is cleared away first, but one
// that runs only once all that replaces it is at hand.
func build(d Desired, o Observed) Plan {
	if o.Attach == AttachLost {
		return do(ActCleanUp).after(o.Now, o.EndAfter)
	}
	if d.Blocked {
		return Plan{}
	}
	p := prepare(o)
	if d.Waiting && (!d.Yields || o.Attach != AttachUp) {
		return p.after(o.Now, o.BuildAfter)
	}
	if o.Attach == AttachUp {
		ending, done := end(o)
		if !done {
			return Plan{}
		}
		p.Actions = append(p.Actions, ending.Actions...)
	}
	if d.Waiting {
		return p.after(o.Now, o.BuildAfter)
	}
	if d.Rebuild == RebuildNew {
		p = p.then(ActRemoveDisk)
	}
	return p.then(ActLaunch, ActBootstrap).starts(d).after(o.Now, o.BuildAfter)
}

func prepare(o Observed) Plan {
	if o.Prepared {
		return Plan{}
	}
	return do(ActPrepare)
}

// initialise runs the first init container that has not completed; the second
// result says that all have.
func initialise(d Desired, o Observed) (Plan, bool) {
	for _, name := range d.InitContainers {
		c := o.Containers[name]
		switch {
		case c.Completed:
			continue
		case o.Processes[name] == drivers.ProcessRunning:
			return Plan{}, false
		case c.Done && o.Processes[name] == drivers.ProcessExited: // and failed: nothing follows
			return Plan{}, false
		case c.StartAfter.After(o.Now):
			return Plan{Again: c.StartAfter}, false
		}
		return Plan{Actions: []Action{{ActStart, name}}}.after(o.Now, o.EndAfter), false
	}
	return Plan{}, true
}

// startContainers starts each container that does not run and may.
func startContainers(d Desired, o Observed) Plan {
	var p Plan
	for _, name := range d.Containers {
		c := o.Containers[name]
		if c.Done || o.Processes[name] == drivers.ProcessRunning {
			continue
		}
		if c.StartAfter.After(o.Now) {
			p.Again = earliest(p.Again, c.StartAfter)
			continue
		}
		p.Actions = append(p.Actions, Action{ActStart, name})
	}
	if delayed := p.after(o.Now, o.EndAfter); len(delayed.Actions) < len(p.Actions) {
		p = Plan{Again: earliest(p.Again, delayed.Again)}
	}
	return p
}

// killUnhealthy ends the containers that must be; their restart policy says what
// follows.
func killUnhealthy(d Desired, o Observed) Plan {
	var p Plan
	for _, name := range d.Containers {
		if o.Containers[name].Unhealthy && o.Processes[name] == drivers.ProcessRunning {
			p.Actions = append(p.Actions, Action{ActKill, name})
		}
	}
	return p.after(o.Now, o.EndAfter)
}

func do(verbs ...Verb) Plan { return Plan{}.then(verbs...) }

func (p Plan) then(verbs ...Verb) Plan {
	for _, v := range verbs {
		p.Actions = append(p.Actions, Action{Verb: v})
	}
	return p
}

func (p Plan) starts(d Desired) Plan {
	for _, name := range slices.Concat(d.InitContainers, d.Containers) {
		p.Actions = append(p.Actions, Action{ActStart, name})
	}
	if d.Goal == GoalPause {
		p = p.then(ActPause)
	}
	return p
}

// after puts the whole plan off until a time.
func (p Plan) after(now, t time.Time) Plan {
	if len(p.Actions) > 0 && t.After(now) {
		return Plan{Again: t}
	}
	return p
}

// earliest returns the earlier of two times of which a zero one does not count.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
