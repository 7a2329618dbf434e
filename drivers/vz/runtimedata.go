package vz

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// runtimeData is what Configuration.RuntimeData may hold for this hypervisor.
type runtimeData struct {
	// DiskCache is DiskCache…; empty means DiskCacheOn.
	DiskCache string `json:"diskCache,omitempty"`
	// DiskSync is DiskSync…; empty means DiskSyncFsync.
	DiskSync string `json:"diskSync,omitempty"`
}

// Whether the host caches what the guest reads and writes.
const (
	DiskCacheAuto = "auto"
	DiskCacheOn   = "on"
	DiskCacheOff  = "off"
)

// What the host does when the guest asks it to write its disk out.
const (
	// DiskSyncFull is F_FULLFSYNC: the drive's own cache is written out too.
	DiskSyncFull = "full"
	// DiskSyncFsync is fsync: data survive the end of the process, and mostly of
	// the host.
	DiskSyncFsync = "fsync"
	// DiskSyncNone is nothing: for machines whose disk nobody will miss.
	DiskSyncNone = "none"
)

// schema describes runtimeData to those who write manifests.
const schema = `{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "diskCache": {
      "description": "Whether the host caches what the guest reads and writes. With auto or off, Linux guests on Apple silicon have been seen to corrupt their file systems.",
      "enum": ["on", "auto", "off"],
      "default": "on"
    },
    "diskSync": {
      "description": "What the host does when the guest writes its disk out: full also has the drive write its own cache out, none does nothing and risks the disk when the host fails.",
      "enum": ["fsync", "full", "none"],
      "default": "fsync"
    }
  }
}`

// RuntimeDataSchema returns the JSON Schema of Configuration.RuntimeData.
func (h *Hypervisor) RuntimeDataSchema() json.RawMessage { return json.RawMessage(schema) }

// parseRuntimeData decodes and completes the data.
func parseRuntimeData(raw []byte) (runtimeData, error) {
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
	switch d.DiskCache {
	case "":
		d.DiskCache = DiskCacheOn
	case DiskCacheAuto, DiskCacheOn, DiskCacheOff:
	default:
		return d, fmt.Errorf("runtimeData: diskCache: %w: %q is none of %q, %q, %q",
			drivers.ErrInvalidArgument, d.DiskCache, DiskCacheOn, DiskCacheAuto, DiskCacheOff)
	}
	switch d.DiskSync {
	case "":
		d.DiskSync = DiskSyncFsync
	case DiskSyncFull, DiskSyncFsync, DiskSyncNone:
	default:
		return d, fmt.Errorf("runtimeData: diskSync: %w: %q is none of %q, %q, %q",
			drivers.ErrInvalidArgument, d.DiskSync, DiskSyncFsync, DiskSyncFull, DiskSyncNone)
	}
	return d, nil
}
