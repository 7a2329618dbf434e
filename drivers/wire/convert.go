package wire

import (
	"fmt"
	"math"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// FromSpec returns the message for a process specification.
func FromSpec(s drivers.ProcessSpec) *ProcessSpec {
	m := &ProcessSpec{
		Args:               s.Args,
		WorkingDir:         s.WorkingDir,
		User:               s.User,
		SupplementalGroups: s.SupplementalGroups,
		Terminal:           s.Terminal,
		TerminalSize:       FromSize(s.TerminalSize),
		Capabilities:       s.Capabilities,
		CapabilitiesSet:    s.Capabilities != nil,
		NoNewPrivileges:    s.NoNewPrivileges,
		Stdin:              s.Stdin,
		StdinOnce:          s.StdinOnce,
	}
	for _, e := range s.Env {
		m.Env = append(m.Env, &EnvVar{Name: e.Name, Value: e.Value, Secret: e.Secret})
	}
	return m
}

// ToSpec is the inverse of FromSpec.
func ToSpec(m *ProcessSpec) drivers.ProcessSpec {
	s := drivers.ProcessSpec{
		Args:               m.GetArgs(),
		Env:                ToEnv(m.GetEnv()),
		WorkingDir:         m.GetWorkingDir(),
		User:               m.GetUser(),
		SupplementalGroups: m.GetSupplementalGroups(),
		Terminal:           m.GetTerminal(),
		TerminalSize:       ToSize(m.GetTerminalSize()),
		Capabilities:       m.GetCapabilities(),
		NoNewPrivileges:    m.GetNoNewPrivileges(),
		Stdin:              m.GetStdin(),
		StdinOnce:          m.GetStdinOnce(),
	}
	if m.GetCapabilitiesSet() && s.Capabilities == nil {
		s.Capabilities = []string{}
	}
	return s
}

// ToEnv returns the environment that messages stand for.
func ToEnv(ms []*EnvVar) []drivers.EnvVar {
	var env []drivers.EnvVar
	for _, e := range ms {
		env = append(env, drivers.EnvVar{Name: e.GetName(), Value: e.GetValue(), Secret: e.GetSecret()})
	}
	return env
}

// FromSize returns the message for a terminal's size.
func FromSize(s drivers.TerminalSize) *TerminalSize {
	return &TerminalSize{Width: uint32(s.Width), Height: uint32(s.Height)}
}

// ToSize is the inverse of FromSize; what does not fit in 16 bits is cut off at
// the largest size.
func ToSize(m *TerminalSize) drivers.TerminalSize {
	const largest = 1<<16 - 1
	return drivers.TerminalSize{
		Width:  uint16(min(m.GetWidth(), largest)),
		Height: uint16(min(m.GetHeight(), largest)),
	}
}

// FromExit returns the message for an exit status.
func FromExit(s drivers.ExitStatus) *ExitStatus {
	return &ExitStatus{
		Code:       int32(s.Code),
		Signal:     int32(s.Signal),
		OomKilled:  s.OOMKilled,
		FinishedAt: fromTime(s.FinishedAt),
	}
}

// ToExit is the inverse of FromExit.
func ToExit(m *ExitStatus) drivers.ExitStatus {
	return drivers.ExitStatus{
		Code:       int(m.GetCode()),
		Signal:     int(m.GetSignal()),
		OOMKilled:  m.GetOomKilled(),
		FinishedAt: ToTime(m.GetFinishedAt()),
	}
}

// FromStatistics returns the message for statistics.
func FromStatistics(s drivers.Statistics) *Statistics {
	m := &Statistics{
		Time:            fromTime(s.Time),
		Sandbox:         fromUse(s.Sandbox),
		HostMemoryBytes: s.HostMemoryBytes,
	}
	if len(s.Containers) > 0 {
		m.Containers = make(map[string]*ResourceUse, len(s.Containers))
		for name, u := range s.Containers {
			m.Containers[name] = fromUse(u)
		}
	}
	return m
}

// ToStatistics is the inverse of FromStatistics.
func ToStatistics(m *Statistics) drivers.Statistics {
	s := drivers.Statistics{
		Time:            ToTime(m.GetTime()),
		Sandbox:         toUse(m.GetSandbox()),
		HostMemoryBytes: m.GetHostMemoryBytes(),
	}
	if len(m.GetContainers()) > 0 {
		s.Containers = make(map[string]drivers.ResourceUse, len(m.GetContainers()))
		for name, u := range m.GetContainers() {
			s.Containers[name] = toUse(u)
		}
	}
	return s
}

func fromUse(u drivers.ResourceUse) *ResourceUse {
	return &ResourceUse{
		CpuUsec:          u.CPUUsec,
		MemoryBytes:      u.MemoryBytes,
		MemoryLimitBytes: u.MemoryLimitBytes,
		Processes:        u.Processes,
		NetworkRxBytes:   u.NetworkRxBytes,
		NetworkTxBytes:   u.NetworkTxBytes,
		BlockReadBytes:   u.BlockReadBytes,
		BlockWriteBytes:  u.BlockWriteBytes,
		NetworkRxPackets: u.NetworkRxPackets,
		NetworkTxPackets: u.NetworkTxPackets,
		NetworkRxErrors:  u.NetworkRxErrors,
		NetworkTxErrors:  u.NetworkTxErrors,
		ProcessLimit:     u.ProcessLimit,
		CpuPressure:      fromPressure(u.CPUPressure),
		MemoryPressure:   fromPressure(u.MemoryPressure),
		IoPressure:       fromPressure(u.IOPressure),
	}
}

func fromPressure(p *drivers.Pressure) *Pressure {
	if p == nil {
		return nil
	}
	return &Pressure{Some: p.Some, Full: p.Full}
}

// toPressure keeps to what a share can be, whatever the guest says.
func toPressure(m *Pressure) *drivers.Pressure {
	if m == nil {
		return nil
	}
	share := func(v float64) float64 {
		if math.IsNaN(v) {
			return 0
		}
		return min(max(v, 0), 100)
	}
	return &drivers.Pressure{Some: share(m.GetSome()), Full: share(m.GetFull())}
}

func toUse(m *ResourceUse) drivers.ResourceUse {
	return drivers.ResourceUse{
		CPUUsec:          m.GetCpuUsec(),
		MemoryBytes:      m.GetMemoryBytes(),
		MemoryLimitBytes: m.GetMemoryLimitBytes(),
		Processes:        m.GetProcesses(),
		NetworkRxBytes:   m.GetNetworkRxBytes(),
		NetworkTxBytes:   m.GetNetworkTxBytes(),
		BlockReadBytes:   m.GetBlockReadBytes(),
		BlockWriteBytes:  m.GetBlockWriteBytes(),
		NetworkRxPackets: m.GetNetworkRxPackets(),
		NetworkTxPackets: m.GetNetworkTxPackets(),
		NetworkRxErrors:  m.GetNetworkRxErrors(),
		NetworkTxErrors:  m.GetNetworkTxErrors(),
		ProcessLimit:     m.GetProcessLimit(),
		CPUPressure:      toPressure(m.GetCpuPressure()),
		MemoryPressure:   toPressure(m.GetMemoryPressure()),
		IOPressure:       toPressure(m.GetIoPressure()),
	}
}

func fromTime(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

// ToTime returns the time of a message, zero for none and for one that is none
// of the years 1 to 9999: nobody could write it down.
func ToTime(m *timestamppb.Timestamp) time.Time {
	if !m.IsValid() {
		return time.Time{}
	}
	return m.AsTime()
}

// FromAddress returns the message for an address.
func FromAddress(a drivers.Address) *Address {
	return &Address{Kind: &Address_Port{Port: uint32(max(0, a.Port))}} //nolint:gosec // Check bounds it
}

// ToAddress is the inverse of FromAddress. An address of a kind that is not known
// here is ErrUnsupported.
func ToAddress(m *Address) (drivers.Address, error) {
	port, ok := m.GetKind().(*Address_Port)
	if !ok {
		return drivers.Address{}, fmt.Errorf("%w: an address that is not a port", drivers.ErrUnsupported)
	}
	a := drivers.Address{Port: int(min(port.Port, 1<<16))}
	return a, a.Check()
}
