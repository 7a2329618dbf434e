package drivers

import "slices"

// The capabilities that Info may name. The set is closed: another name means
// nothing to anybody, and the conformance suite refuses it. What a runtime does
// not name it need not do: its route answers ErrUnsupported, and a manifest that
// asks for it is refused before anything is built.
//
// Every runtime runs one container, starts and signals its processes, waits for
// them and stops. What goes beyond that has a name.
const (
	CapabilityAttach               = "attach"               // Attach: the stdio of a process that runs
	CapabilityContainers           = "containers"           // more than one container in a sandbox
	CapabilityCopy                 = "copy"                 // CopyIn and CopyOut
	CapabilityDial                 = "dial"                 // Dial: connections into the sandbox
	CapabilityDiskVolumes          = "diskVolumes"          // Volume.Disk and Configuration.FSGroup
	CapabilityExec                 = "exec"                 // Exec: further processes with their stdio
	CapabilityHostPaths            = "hostPaths"            // Volume.HostPath
	CapabilityNestedVirtualization = "nestedVirtualization" // Configuration.NestedVirtualization
	CapabilityNetworks             = "networks"             // Configuration.Interfaces
	CapabilityPause                = "pause"                // Pause and Resume
	CapabilitySaveState            = "saveState"            // SaveState and RestoreState
	CapabilitySnapshotDisk         = "snapshotDisk"         // SnapshotDisk
	CapabilityStatistics           = "statistics"           // Statistics
	CapabilityStdin                = "stdin"                // ProcessSpec.Stdin: input from those who attach
	CapabilityTerminal             = "terminal"             // ProcessSpec.Terminal, and Resize
	CapabilityUpdate               = "update"               // Update
	CapabilityVolumes              = "volumes"              // Configuration.Volumes
)

// Capabilities returns every name there is, in order.
func Capabilities() []string {
	return []string{
		CapabilityAttach, CapabilityContainers, CapabilityCopy, CapabilityDial, CapabilityDiskVolumes, CapabilityExec,
		CapabilityHostPaths, CapabilityNestedVirtualization, CapabilityNetworks, CapabilityPause, CapabilitySaveState, CapabilitySnapshotDisk,
		CapabilityStatistics, CapabilityStdin, CapabilityTerminal, CapabilityUpdate, CapabilityVolumes,
	}
}

// Can reports whether the runtime has a capability.
func (i Info) Can(capability string) bool { return slices.Contains(i.Capabilities, capability) }
