package linuxvm

import "github.com/vzreconciler/vzreconciler/drivers"

// event is what moves a sandbox from one state to another.
type event string

const (
	eventBooted   event = "booted"   // the machine is up and set up
	eventStarted  event = "started"  // a container's init process runs
	eventPaused   event = "paused"   // the CPUs were stopped
	eventResumed  event = "resumed"  // the CPUs run again
	eventStop     event = "stop"     // Stop was called
	eventEnded    event = "ended"    // the machine is gone, or never came to be
	eventShutdown event = "shutdown" // Shutdown was called
)

// transitions says which events a state knows, and where they lead.
var transitions = map[drivers.State]map[event]drivers.State{
	drivers.StateCreated: {
		eventBooted:   drivers.StateBooted,
		eventEnded:    drivers.StateStopped,
		eventShutdown: drivers.StateShuttingDown,
	},
	drivers.StateBooted: {
		eventStarted: drivers.StateRunning,
		eventStop:    drivers.StateStopping,
		eventEnded:   drivers.StateStopped,
	},
	drivers.StateRunning: {
		eventStarted: drivers.StateRunning,
		eventPaused:  drivers.StatePaused,
		eventStop:    drivers.StateStopping,
		eventEnded:   drivers.StateStopped,
	},
	drivers.StatePaused: {
		eventResumed: drivers.StateRunning,
		eventStop:    drivers.StateStopping,
		eventEnded:   drivers.StateStopped,
	},
	drivers.StateStopping: {
		eventEnded: drivers.StateStopped,
	},
	drivers.StateStopped: {
		eventShutdown: drivers.StateShuttingDown,
	},
}

// next returns the state that an event leads to, and false if the state does
// not know the event.
func next(s drivers.State, e event) (drivers.State, bool) {
	to, ok := transitions[s][e]
	return to, ok
}
