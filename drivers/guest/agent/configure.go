//go:build linux

package agent

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/guest/agentpb"
)

// configure sets the guest up, once. After a failure there is no second try:
// the host starts another machine.
func (g *guest) configure(ctx context.Context, req *agentpb.ConfigureRequest) error {
	if err := g.enter("configure", phaseBooted, phaseConfiguring); err != nil {
		return err
	}
	if err := seedRandom(req.GetRandomSeed()); err != nil {
		return err
	}
	if req.GetTime() != nil {
		if err := setTime(req.GetTime()); err != nil {
			return err
		}
	}
	if err := unix.Sethostname([]byte(req.GetHostname())); err != nil {
		return fmt.Errorf("%w: host name %q: %w", drivers.ErrInvalidArgument, req.GetHostname(), err)
	}
	if err := g.awaitReady(ctx); err != nil {
		return err
	}
	if err := g.setUpInterfaces(req.GetInterfaces()); err != nil {
		return err
	}
	ipc, err := applySysctls(req.GetSysctls())
	if err != nil {
		return err
	}
	if err := mountDisk(ctx, req.GetDiskSerial()); err != nil {
		return err
	}
	volumes, err := g.makeVolumes(ctx, req)
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.in("configure", phaseConfiguring); err != nil {
		return err
	}
	g.volumes, g.sysctls, g.etc = volumes, ipc, newEtcFiles(req)
	g.phase = phaseConfigured
	return nil
}

// seedRandom feeds the kernel's random pool and makes it use the new bytes.
func seedRandom(seed []byte) error {
	if len(seed) == 0 {
		return nil
	}
	f, err := os.OpenFile("/dev/urandom", os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	// struct rand_pool_info: bits of entropy, bytes, the bytes themselves.
	info := binary.NativeEndian.AppendUint32(nil, uint32(len(seed))*8)
	info = binary.NativeEndian.AppendUint32(info, uint32(len(seed)))
	info = append(info, seed...)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), unix.RNDADDENTROPY, uintptr(unsafe.Pointer(&info[0])))
	runtime.KeepAlive(info)
	if errno != 0 {
		return fmt.Errorf("seed the random pool: %w", errno)
	}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), rndReseedCRNG, 0); errno != 0 {
		return fmt.Errorf("reseed the random generator: %w", errno)
	}
	return nil
}

// rndReseedCRNG is RNDRESEEDCRNG of linux/random.h.
const rndReseedCRNG = 0x5207

func setTime(t *timestamppb.Timestamp) error {
	if err := t.CheckValid(); err != nil {
		return fmt.Errorf("%w: time: %w", drivers.ErrInvalidArgument, err)
	}
	ts, err := unix.TimeToTimespec(t.AsTime())
	if err != nil {
		return fmt.Errorf("%w: time: %w", drivers.ErrInvalidArgument, err)
	}
	if err := unix.ClockSettime(unix.CLOCK_REALTIME, &ts); err != nil {
		return fmt.Errorf("set the clock: %w", err)
	}
	return nil
}

// sysctlDefaults may be set otherwise; they make a guest behave like other
// container runtimes. sysctlsForced may not.
var (
	sysctlDefaults = map[string]string{
		"net.ipv4.ip_unprivileged_port_start": "0",
		"net.ipv4.ping_group_range":           "0 2147483647",
	}
	sysctlsForced = map[string]string{
		"vm.overcommit_memory": "1",
		"vm.max_map_count":     "262144",
	}
)

// applySysctls sets what the whole guest has in common, and returns what each
// container has to be given on its own: an IPC namespace begins with defaults.
func applySysctls(wanted map[string]string) (ipc map[string]string, err error) {
	ipc = map[string]string{}
	for name, value := range sysctlDefaults {
		if _, ok := wanted[name]; !ok {
			// A default that this kernel does not know is no loss.
			_ = os.WriteFile(sysctlPath(name), []byte(value), 0)
		}
	}
	for name, value := range wanted {
		if strings.Contains(value, "\x00") {
			return nil, fmt.Errorf("%w: sysctl %s=%q has a NUL in it", drivers.ErrInvalidArgument, name, value)
		}
		if !sysctlOK(name) {
			return nil, fmt.Errorf("%w: sysctl %q: not a name of a kernel parameter", drivers.ErrInvalidArgument, name)
		}
		if forced, ok := sysctlsForced[name]; ok && forced != value {
			return nil, fmt.Errorf("%w: sysctl %s: is always %s in a sandbox", drivers.ErrInvalidArgument, name, forced)
		}
		if sysctlIsIPC(name) {
			ipc[name] = value
			continue
		}
		if err := writeSysctl(name, value); err != nil {
			return nil, err
		}
	}
	for name, value := range sysctlsForced {
		if err := writeSysctl(name, value); err != nil {
			return nil, err
		}
	}
	return ipc, nil
}

func writeSysctl(name, value string) error {
	if err := os.WriteFile(sysctlPath(name), []byte(value), 0); err != nil {
		return fmt.Errorf("%w: sysctl %s=%q: %w", drivers.ErrInvalidArgument, name, value, err)
	}
	return nil
}

// sysctlPath takes both spellings, as sysctl(8) does: the first separator says
// which of "." and "/" separates.
func sysctlPath(name string) string {
	if i := strings.IndexAny(name, "./"); i >= 0 && name[i] == '.' {
		name = strings.NewReplacer(".", "/", "/", ".").Replace(name)
	}
	return "/proc/sys/" + name
}
