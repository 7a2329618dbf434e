package qemu

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// runtimeData is what Configuration.RuntimeData may hold for this hypervisor.
type runtimeData struct {
	// Acceleration is "auto", "kvm", "hvf" or "tcg"; empty means auto.
	Acceleration string `json:"acceleration,omitempty"`
	// Machine is QEMU's machine type; empty means the host architecture's usual.
	Machine string `json:"machine,omitempty"`
}

// schema describes runtimeData to those who write manifests.
const schema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "acceleration": {
      "description": "How the guest's CPUs run. auto uses the host's hardware if it proves to boot the kernel, else tcg (emulation).",
      "enum": ["auto", "kvm", "hvf", "tcg"],
      "default": "auto"
    },
    "machine": {
      "description": "QEMU's machine type: q35 on x86-64 hosts, virt on arm64 hosts.",
      "enum": ["q35", "virt"]
    }
  }
}`

// RuntimeDataSchema returns the JSON Schema of Configuration.RuntimeData.
func (h *Hypervisor) RuntimeDataSchema() json.RawMessage { return json.RawMessage(schema) }

// parseRuntimeData decodes and completes the data for a host of the given
// operating system and architecture, named as Go does.
func parseRuntimeData(raw []byte, goos, goarch string) (runtimeData, error) {
	var d runtimeData
	if len(bytes.TrimSpace(raw)) > 0 {
		dec := json.NewDecoder(bytes.NewReader(raw))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&d); err != nil {
			return d, fmt.Errorf("runtimeData: %w: %w", drivers.ErrInvalidArgument, err)
		}
		if dec.More() {
			return d, fmt.Errorf("runtimeData: %w: more than one JSON value", drivers.ErrInvalidArgument)
		}
	}
	machine := "q35"
	if goarch == "arm64" {
		machine = "virt"
	}
	switch d.Machine {
	case machine:
	case "":
		d.Machine = machine
	default:
		return d, fmt.Errorf("runtimeData: machine: %w: %q does not run on this %s host, use %q",
			drivers.ErrInvalidArgument, d.Machine, goarch, machine)
	}
	hardware := hardwareAccelerator(goos)
	switch d.Acceleration {
	case "":
		d.Acceleration = accelAuto
	case accelAuto, accelTCG, hardware:
	case accelKVM, accelHVF:
		return d, fmt.Errorf("runtimeData: acceleration: %w: %q is not for this host (%s), use %q, %q or %q",
			drivers.ErrInvalidArgument, d.Acceleration, goos, accelAuto, hardware, accelTCG)
	default:
		return d, fmt.Errorf("runtimeData: acceleration: %w: %q is none of %q, %q, %q",
			drivers.ErrInvalidArgument, d.Acceleration, accelAuto, hardware, accelTCG)
	}
	return d, nil
}

// The values of acceleration.
const (
	accelAuto = "auto"
	accelKVM  = "kvm"
	accelHVF  = "hvf"
	accelTCG  = "tcg"
)

func hardwareAccelerator(goos string) string {
	if goos == "darwin" {
		return accelHVF
	}
	return accelKVM
}
