package qemu

import (
	"context"
	"encoding/json"
	"testing"
	"time"
)

func TestMachineGoesOnWhenThereIsSpaceAgain(t *testing.T) {
	_, _, m := started(t, "starved")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		state, err := m.runState(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if state == "cont" {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("state %q", state)
		}
	}
}

func TestOtherErrorsOfADiskAreTheGuests(t *testing.T) {
	_, _, m := started(t, "silent")
	for _, data := range []string{`{"action": "report", "nospace": true}`, `{"action": "stop", "nospace": false}`, `{}`, `x`} {
		m.blockError(json.RawMessage(data))
	}
	if len(m.noSpace) > 0 {
		t.Error("the machine waits for space")
	}
}
