package vz

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"syscall"
)

// VirtualMachineState is the state of a VirtualMachine.
type VirtualMachineState int

// The states.
const (
	VirtualMachineStateStopped VirtualMachineState = iota
	VirtualMachineStateRunning
	VirtualMachineStatePaused
	VirtualMachineStateError
	VirtualMachineStateStarting
	VirtualMachineStatePausing
	VirtualMachineStateResuming
	VirtualMachineStateStopping
	VirtualMachineStateSaving
	VirtualMachineStateRestoring
)

// VirtualMachine is a QEMU process, which dies with this one.
type VirtualMachine struct {
	config *VirtualMachineConfiguration
	states chan VirtualMachineState

	mu      sync.Mutex
	state   VirtualMachineState
	cmd     *exec.Cmd
	monitor *monitor
	socket  *VirtioSocketDevice
	stopped bool
	// migrated is that QEMU holds a migration against the next.
	migrated bool
	ended    chan struct{}
}

// NewVirtualMachine returns a machine that has yet to be started.
func NewVirtualMachine(config *VirtualMachineConfiguration) (*VirtualMachine, error) {
	// A machine passes through fewer states than that, pauses apart.
	return &VirtualMachine{config: config, states: make(chan VirtualMachineState, 1024), ended: make(chan struct{})}, nil
}

// StateChangedNotify tells of each change, once.
func (v *VirtualMachine) StateChangedNotify() <-chan VirtualMachineState { return v.states }

// SocketDevices returns the vsock devices.
func (v *VirtualMachine) SocketDevices() []*VirtioSocketDevice {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.socket == nil {
		return nil
	}
	return []*VirtioSocketDevice{v.socket}
}

type virtualMachineStartOptions struct{}

// VirtualMachineStartOption is an option of Start; there is none.
type VirtualMachineStartOption func(*virtualMachineStartOptions) error

// Start starts the process and returns when the CPUs run.
func (v *VirtualMachine) Start(opts ...VirtualMachineStartOption) error {
	if err := v.move(VirtualMachineStateStarting, VirtualMachineStateStopped); err != nil {
		return err
	}
	if err := v.launch(nil); err != nil {
		v.set(VirtualMachineStateError)
		return err
	}
	v.set(VirtualMachineStateRunning)
	go v.watch()
	return nil
}

// launch starts QEMU, with further arguments.
func (v *VirtualMachine) launch(more []string) error {
	mine, theirs, err := pairs(2)
	if err != nil {
		return err
	}
	defer closeAll(theirs)
	port := ""
	if channel == channelPort {
		port = fmt.Sprintf("vz-lookalike-%d-%d", os.Getpid(), machines.Add(1))
	}
	networks, sockets := v.config.networkArgs()
	v.cmd = exec.Command(program(), slices.Concat(v.config.args(port), networks, more)...)
	v.cmd.ExtraFiles = slices.Concat(theirs, sockets)
	if len(v.config.serial) > 0 {
		v.cmd.Stdin, v.cmd.Stdout = v.config.serial[0].files.read, v.config.serial[0].files.write
	}
	v.cmd.Stderr = os.Stderr
	v.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	v.socket = serveVsock(mine[vsockFD-3], port)
	started := make(chan error)
	go func() {
		// The kernel takes the death of the thread that started a child for that of
		// its parent.
		runtime.LockOSThread()
		err := v.cmd.Start()
		started <- err
		if err == nil {
			_ = v.cmd.Wait()
			close(v.ended)
		}
	}()
	if err := <-started; err != nil {
		closeAll(mine)
		return err
	}
	closeAll(theirs)
	v.monitor, err = openMonitor(mine[monitorFD-3])
	return err
}

// watch tells of the end.
func (v *VirtualMachine) watch() {
	<-v.ended
	v.monitor.close()
	v.socket.close()
	last := VirtualMachineStateStopped
	v.mu.Lock()
	if !v.stopped && !v.cmd.ProcessState.Success() {
		last = VirtualMachineStateError
	}
	v.mu.Unlock()
	v.set(last)
}

// Pause stops the CPUs.
func (v *VirtualMachine) Pause() error {
	if err := v.move(VirtualMachineStatePausing, VirtualMachineStateRunning); err != nil {
		return err
	}
	if err := v.monitor.execute("stop", nil, nil); err != nil {
		return err
	}
	v.set(VirtualMachineStatePaused)
	return nil
}

// Resume lets the CPUs run again.
func (v *VirtualMachine) Resume() error {
	if err := v.move(VirtualMachineStateResuming, VirtualMachineStatePaused); err != nil {
		return err
	}
	if err := v.monitor.execute("cont", nil, nil); err != nil {
		return err
	}
	v.migrated = false
	v.set(VirtualMachineStateRunning)
	return nil
}

// Stop cuts the power.
func (v *VirtualMachine) Stop() error {
	if err := v.move(VirtualMachineStateStopping, VirtualMachineStateRunning, VirtualMachineStatePaused); err != nil {
		return err
	}
	v.mu.Lock()
	v.stopped = true
	v.mu.Unlock()
	if err := v.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-v.ended
	return nil
}

// move changes the state if it is one of those wanted.
func (v *VirtualMachine) move(to VirtualMachineState, from ...VirtualMachineState) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, s := range from {
		if v.state == s {
			v.state = to
			v.states <- to
			return nil
		}
	}
	return fmt.Errorf("invalid virtual machine state transition from %d to %d", v.state, to)
}

func (v *VirtualMachine) set(s VirtualMachineState) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.state = s
	v.states <- s
}

// pairs returns both ends of so many connected sockets.
func pairs(n int) (mine []net.Conn, theirs []*os.File, err error) {
	for range n {
		fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
		if err != nil {
			return nil, nil, err
		}
		own := os.NewFile(uintptr(fds[0]), "socket")
		conn, err := net.FileConn(own)
		own.Close()
		if err != nil {
			return nil, nil, err
		}
		mine, theirs = append(mine, conn), append(theirs, os.NewFile(uintptr(fds[1]), "socket"))
	}
	return mine, theirs, nil
}

func closeAll[C interface{ Close() error }](list []C) {
	for _, c := range list {
		c.Close()
	}
}
