package linuxvm

import (
	"testing"

	"github.com/vzreconciler/vzreconciler/drivers"
)

func TestTransitions(t *testing.T) {
	const (
		created      = drivers.StateCreated
		booted       = drivers.StateBooted
		running      = drivers.StateRunning
		paused       = drivers.StatePaused
		stopping     = drivers.StateStopping
		stopped      = drivers.StateStopped
		shuttingDown = drivers.StateShuttingDown
	)
	events := []event{eventBooted, eventStarted, eventPaused, eventResumed, eventStop, eventEnded, eventShutdown}
	for _, tc := range []struct {
		from drivers.State
		to   [7]drivers.State // in the order of events; empty for a refusal
	}{
		{created, [7]drivers.State{booted, "", "", "", "", stopped, shuttingDown}},
		{booted, [7]drivers.State{"", running, "", "", stopping, stopped, ""}},
		{running, [7]drivers.State{"", running, paused, "", stopping, stopped, ""}},
		{paused, [7]drivers.State{"", "", "", running, stopping, stopped, ""}},
		{stopping, [7]drivers.State{"", "", "", "", "", stopped, ""}},
		{stopped, [7]drivers.State{"", "", "", "", "", "", shuttingDown}},
		{shuttingDown, [7]drivers.State{}},
	} {
		for i, e := range events {
			got, ok := next(tc.from, e)
			if got != tc.to[i] || ok != (tc.to[i] != "") {
				t.Errorf("%s in %s leads to %q (%t), want %q", e, tc.from, got, ok, tc.to[i])
			}
		}
	}
}
