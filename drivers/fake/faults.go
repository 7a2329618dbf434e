package fake

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// Faults is what goes wrong, and when. The zero value is a sandbox that works.
// A sandbox's own faults may come in Configuration.RuntimeData, in addition to
// those given to New.
type Faults struct {
	// ProbeError is what Probe finds missing on the host.
	ProbeError string `json:"probeError,omitempty"`
	// BootDelay is how long Bootstrap takes.
	BootDelay Duration `json:"bootDelay,omitempty"`
	// BootError makes Bootstrap fail after BootDelay.
	BootError string `json:"bootError,omitempty"`
	// BootHang makes Bootstrap hang until its context ends.
	BootHang bool `json:"bootHang,omitempty"`
	// StartError makes the start of every init process fail.
	StartError string `json:"startError,omitempty"`
	// ExitAfter ends each init process, with ExitCode, that long after its start.
	ExitAfter Duration `json:"exitAfter,omitempty"`
	ExitCode  int      `json:"exitCode,omitempty"`
	// IgnoreSignals makes init processes ignore every signal but SIGKILL.
	IgnoreSignals bool `json:"ignoreSignals,omitempty"`
	// CrashAfter ends the machine that long after its boot.
	CrashAfter Duration `json:"crashAfter,omitempty"`
	// UpdateError makes every Update fail.
	UpdateError string `json:"updateError,omitempty"`
	// Unresponsive makes every call but Info hang until its context ends, once
	// the machine has booted.
	Unresponsive bool `json:"unresponsive,omitempty"`
}

// Duration is a time.Duration that reads and writes like "1.5s".
type Duration time.Duration

// MarshalText returns the duration as time.ParseDuration reads it.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads what MarshalText returns.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	*d = Duration(v)
	return err
}

// with returns the faults with those that a sandbox's runtimeData asks for.
func (f Faults) with(runtimeData json.RawMessage) (Faults, error) {
	if len(runtimeData) == 0 {
		return f, nil
	}
	dec := json.NewDecoder(bytes.NewReader(runtimeData))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&f); err != nil {
		return f, fmt.Errorf("%w: runtimeData: %w", drivers.ErrInvalidArgument, err)
	}
	return f, nil
}

// schema returns the JSON Schema of Faults.
func schema() json.RawMessage {
	return json.RawMessage(`{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "probeError": {"type": "string"},
    "bootDelay": {"type": "string"},
    "bootError": {"type": "string"},
    "bootHang": {"type": "boolean"},
    "startError": {"type": "string"},
    "exitAfter": {"type": "string"},
    "exitCode": {"type": "integer", "minimum": 0, "maximum": 255},
    "ignoreSignals": {"type": "boolean"},
    "crashAfter": {"type": "string"},
    "unresponsive": {"type": "boolean"}
  }
}`)
}
