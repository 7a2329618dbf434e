package vz

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
)

// Descriptors that QEMU inherits.
const (
	monitorFD = 3
	vsockFD   = 4
)

func program() string {
	if runtime.GOARCH == "arm64" {
		return "qemu-system-aarch64"
	}
	return "qemu-system-x86_64"
}

// args returns QEMU's arguments. A vhost-user device needs memory that is shared.
func (v *VirtualMachineConfiguration) args() []string {
	mem := fmt.Sprintf("%dM", v.memoryBytes>>20)
	machine, cpu, kernelArgs := "virt,gic-version=max", "max", ""
	if runtime.GOARCH == "amd64" {
		machine, cpu = "q35,usb=off,smbus=off,sata=off,hpet=off,vmport=off,graphics=off", "max,vmx=off,svm=off,la57=off"
		// A bzImage turns on 5-level page tables if it can, and QEMU 7.2 emulates these
		// so that programs crash. On a busy host an emulated timer ticks late.
		kernelArgs = " no_timer_check tsc=reliable"
	}
	args := []string{
		"-name", "guest=vz-lookalike",
		"-object", "memory-backend-memfd,id=mem,share=on,size=" + mem,
		"-machine", machine + ",memory-backend=mem",
		"-accel", "tcg,tb-size=96", "-cpu", cpu, "-smp", fmt.Sprint(v.cpus), "-m", mem,
		"-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
		"-kernel", v.loader.kernel, "-append", v.loader.commandLine + kernelArgs,
		"-chardev", fmt.Sprintf("socket,id=monitor,fd=%d", monitorFD), "-mon", "chardev=monitor,mode=control",
	}
	if v.loader.initrd != "" {
		args = append(args, "-initrd", v.loader.initrd)
	}
	if len(v.serial) > 0 {
		args = append(args, "-chardev", "stdio,id=console,signal=off",
			"-device", "virtio-serial-pci,max_ports=1,romfile=", "-device", "virtconsole,chardev=console")
	}
	if v.sockets > 0 {
		args = append(args, "-chardev", fmt.Sprintf("socket,id=vsock,fd=%d", vsockFD),
			"-device", "vhost-user-vsock-pci,chardev=vsock,romfile=")
	}
	if v.entropy > 0 {
		args = append(args, "-device", "virtio-rng-pci,romfile=")
	}
	if v.balloons > 0 {
		args = append(args, "-device", "virtio-balloon-pci,romfile=")
	}
	for i, d := range v.disks {
		path := strings.ReplaceAll(d.image.path, ",", ",,")
		block := fmt.Sprintf("driver=raw,node-name=disk%d,file.driver=file,file.filename=%s", i, path)
		if d.image.readOnly {
			block += ",read-only=on,auto-read-only=off,file.read-only=on"
		}
		args = append(args, "-blockdev", block,
			"-device", fmt.Sprintf("virtio-blk-pci,romfile=,drive=disk%d,serial=%s", i, d.identifier))
	}
	return args
}

// monitor is QEMU's.
type monitor struct {
	mu   sync.Mutex
	conn net.Conn
	r    *bufio.Reader
}

// openMonitor returns when QEMU has made the machine.
func openMonitor(conn net.Conn) (*monitor, error) {
	m := &monitor{conn: conn, r: bufio.NewReader(conn)}
	if _, err := m.r.ReadBytes('\n'); err != nil { // the greeting
		conn.Close()
		return nil, fmt.Errorf("qemu does not start: %w", err)
	}
	return m, m.execute("qmp_capabilities")
}

// execute runs a command that returns nothing.
func (m *monitor) execute(command string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := fmt.Fprintf(m.conn, "{\"execute\":%q}\n", command); err != nil {
		return err
	}
	for {
		line, err := m.r.ReadBytes('\n')
		if err != nil {
			return err
		}
		var reply struct {
			Return *json.RawMessage
			Error  *struct{ Desc string }
		}
		if err := json.Unmarshal(line, &reply); err != nil {
			return err
		}
		switch {
		case reply.Error != nil:
			return errors.New(reply.Error.Desc)
		case reply.Return != nil:
			return nil
		} // else an event
	}
}

func (m *monitor) close() { m.conn.Close() }
