package drivers

import "slices"

// Live is the part of a Configuration that can change while the sandbox runs. It
// is whole: what it does not have is no more.
type Live struct {
	// Limits of the containers; one that is not named keeps its own.
	Limits      []ContainerLimits `json:"limits,omitempty"`
	DNS         DNS               `json:"dns,omitzero"`
	HostAliases []HostAlias       `json:"hostAliases,omitempty"`
}

// ContainerLimits are the limits of a container, as in Container.
type ContainerLimits struct {
	Container   string `json:"container"`
	CPUMillis   int64  `json:"cpuMillis,omitempty"`
	MemoryBytes int64  `json:"memoryBytes,omitempty"`
}

// Live returns the part that can change.
func (c Configuration) Live() Live {
	l := Live{DNS: c.DNS, HostAliases: slices.Clone(c.HostAliases)}
	for _, ct := range c.Containers {
		l.Limits = append(l.Limits, ContainerLimits{Container: ct.Name, CPUMillis: ct.CPUMillis, MemoryBytes: ct.MemoryBytes})
	}
	return l
}
