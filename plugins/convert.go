package plugins

import (
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/wire"
	"github.com/vzreconciler/vzreconciler/plugins/runtimepb"
)

func fromSnapshot(s drivers.Snapshot) *runtimepb.Snapshot {
	m := &runtimepb.Snapshot{State: string(s.State), Reason: s.Reason}
	for _, p := range s.Processes {
		m.Processes = append(m.Processes, fromProcess(p))
	}
	if s.Machine != nil {
		m.Machine = &runtimepb.Machine{
			Hypervisor:        s.Machine.Hypervisor,
			Type:              s.Machine.Type,
			Accelerator:       s.Machine.Accelerator,
			AcceleratorReason: s.Machine.AcceleratorReason,
			Cpu:               s.Machine.CPU,
			Pid:               int64(s.Machine.PID),
			StartTime:         s.Machine.StartTime,
			KernelVersion:     s.Machine.KernelVersion,
			BootId:            s.Machine.BootID,
		}
	}
	for _, st := range s.Timeline {
		m.Timeline = append(m.Timeline, &runtimepb.Stage{Name: st.Name, Time: timestamppb.New(st.Time)})
	}
	return m
}

func toSnapshot(m *runtimepb.Snapshot) drivers.Snapshot {
	s := drivers.Snapshot{State: drivers.State(m.GetState()), Reason: m.GetReason()}
	for _, p := range m.GetProcesses() {
		s.Processes = append(s.Processes, toProcess(p))
	}
	if vm := m.GetMachine(); vm != nil {
		s.Machine = &drivers.Machine{
			Hypervisor:        vm.GetHypervisor(),
			Type:              vm.GetType(),
			Accelerator:       vm.GetAccelerator(),
			AcceleratorReason: vm.GetAcceleratorReason(),
			CPU:               vm.GetCpu(),
			PID:               int(vm.GetPid()),
			StartTime:         vm.GetStartTime(),
			KernelVersion:     vm.GetKernelVersion(),
			BootID:            vm.GetBootId(),
		}
	}
	for _, st := range m.GetTimeline() {
		s.Timeline = append(s.Timeline, drivers.Stage{Name: st.GetName(), Time: wire.ToTime(st.GetTime())})
	}
	return s
}

func fromProcess(p drivers.ProcessStatus) *runtimepb.ProcessStatus {
	m := &runtimepb.ProcessStatus{
		Id:        p.ID,
		Container: p.Container,
		State:     string(p.State),
		Pid:       int64(p.PID),
	}
	if !p.StartedAt.IsZero() {
		m.StartedAt = timestamppb.New(p.StartedAt)
	}
	if p.Exit != nil {
		m.Exit = wire.FromExit(*p.Exit)
	}
	return m
}

func toProcess(m *runtimepb.ProcessStatus) drivers.ProcessStatus {
	p := drivers.ProcessStatus{
		ID:        m.GetId(),
		Container: m.GetContainer(),
		State:     drivers.ProcessState(m.GetState()),
		PID:       int(m.GetPid()),
		StartedAt: wire.ToTime(m.GetStartedAt()),
	}
	if m.GetExit() != nil {
		exit := wire.ToExit(m.GetExit())
		p.Exit = &exit
	}
	return p
}
