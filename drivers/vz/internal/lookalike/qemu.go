package vz

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
)

// Descriptors that QEMU inherits.
const (
	monitorFD = 3
	vsockFD   = 4
	networkFD = 5 // and following
)

func program() string {
	if runtime.GOARCH == "arm64" {
		return "qemu-system-aarch64"
	}
	return "qemu-system-x86_64"
}

// args returns QEMU's arguments. A vhost-user device needs memory that is shared. If
// port is not empty, it is the abstract socket behind the port that takes the place
// of the vsock device.
func (v *VirtualMachineConfiguration) args(port string) []string {
	mem := fmt.Sprintf("%dM", v.memoryBytes>>20)
	machine, cpu, kernelArgs := "virt,gic-version=max", "max", ""
	if runtime.GOARCH == "amd64" {
		machine, cpu = "q35,usb=off,smbus=off,sata=off,hpet=off,vmport=off,graphics=off", "max,vmx=off,svm=off,la57=off"
		// A bzImage turns on 5-level page tables if it can, and QEMU 7.2 emulates these
		// so that programs crash. On a busy host an emulated timer ticks late.
		kernelArgs = " no_timer_check tsc=reliable"
	}
	commandLine := v.loader.commandLine + kernelArgs
	if port != "" {
		commandLine = strings.Replace(commandLine, "vzr.channel=vsock", "vzr.channel=virtio", 1)
	}
	args := []string{
		"-name", "guest=vz-lookalike",
		"-object", "memory-backend-memfd,id=mem,share=on,size=" + mem,
		"-machine", machine + ",memory-backend=mem",
		"-accel", "tcg,tb-size=96", "-cpu", cpu, "-smp", fmt.Sprint(v.cpus), "-m", mem,
		"-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
		"-kernel", v.loader.kernel, "-append", commandLine,
		"-chardev", fmt.Sprintf("socket,id=monitor,fd=%d", monitorFD), "-mon", "chardev=monitor,mode=control",
	}
	if v.loader.initrd != "" {
		args = append(args, "-initrd", v.loader.initrd)
	}
	if len(v.serial) > 0 {
		args = append(args, "-chardev", "stdio,id=console,signal=off",
			"-device", "virtio-serial-pci,max_ports=2,romfile=", "-device", "virtconsole,chardev=console")
	}
	if port != "" {
		args = append(args, "-chardev", "socket,id=agent,abstract=on,server=on,wait=off,path="+port,
			"-device", "virtserialport,chardev=agent,name=agent,nr=1")
	} else if v.sockets > 0 {
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
	// migration is the last that was told of one.
	migration string
}

// openMonitor returns when QEMU has made the machine.
func openMonitor(conn net.Conn) (*monitor, error) {
	m := &monitor{conn: conn, r: bufio.NewReader(conn)}
	if _, err := m.r.ReadBytes('\n'); err != nil { // the greeting
		conn.Close()
		return nil, fmt.Errorf("qemu does not start: %w", err)
	}
	return m, m.execute("qmp_capabilities", nil, nil)
}

// message is one from QEMU: what a command returned, or an event.
type message struct {
	Return *json.RawMessage
	Error  *struct{ Desc string }
	Event  string
	Data   struct{ Status string }
}

// execute runs a command, whose arguments may be nil, and takes a file along if
// there is one.
func (m *monitor) execute(command string, arguments any, file *os.File) error {
	_, err := m.query(command, arguments, file)
	return err
}

// query is execute, for what the command returns.
func (m *monitor) query(command string, arguments any, file *os.File) (json.RawMessage, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	request := map[string]any{"execute": command}
	if arguments != nil {
		request["arguments"] = arguments
	}
	line, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	var rights []byte
	if file != nil {
		rights = syscall.UnixRights(int(file.Fd()))
	}
	if _, _, err := m.conn.(*net.UnixConn).WriteMsgUnix(append(line, '\n'), rights, nil); err != nil {
		return nil, err
	}
	for {
		msg, err := m.next()
		switch {
		case err != nil:
			return nil, err
		case msg.Error != nil:
			return nil, errors.New(msg.Error.Desc)
		case msg.Return != nil:
			return *msg.Return, nil
		}
	}
}

// next waits for the next message. The caller holds mu.
func (m *monitor) next() (message, error) {
	var msg message
	line, err := m.r.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &msg)
	}
	if msg.Event == "MIGRATION" {
		m.migration = msg.Data.Status
	}
	return msg, err
}

func (m *monitor) close() { m.conn.Close() }
