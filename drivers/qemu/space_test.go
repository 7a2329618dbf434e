package qemu

import (
	"encoding/json"
	"testing"
	"time"
)

func TestMachineGoesOnWhenThereIsSpaceAgain(t *testing.T) {
	_, _, m := started(t, "starved")
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		state, err := m.runState(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if state == "cont" {
			return
		}
		if time.Now().After(deadline) {
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
