//go:build linux

package agent

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/guest/agentpb"
)

// setUpInterfaces gives the machine's interfaces their addresses.
func (g *guest) setUpInterfaces(list []*agentpb.NetworkInterface) error {
	if len(list) == 0 {
		return nil
	}
	if err := g.modules.load(whenNetwork); err != nil {
		return err
	}
	for _, i := range list {
		if err := setUpInterface(i); err != nil {
			return fmt.Errorf("set up the network interface %s: %w", i.GetMac(), err)
		}
	}
	return nil
}

func setUpInterface(i *agentpb.NetworkInterface) error {
	prefix, err := netip.ParsePrefix(i.GetAddress())
	if err != nil || !prefix.Addr().Is4() {
		return fmt.Errorf("%w: address %q", drivers.ErrInvalidArgument, i.GetAddress())
	}
	name, err := interfaceByMAC(i.GetMac())
	if err != nil {
		return err
	}
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	set := func(what string, request uint, fill func(*unix.Ifreq) error) error {
		ifr, err := unix.NewIfreq(name)
		if err == nil {
			err = fill(ifr)
		}
		if err == nil {
			err = unix.IoctlIfreq(s, request, ifr)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		return nil
	}
	address := func(a netip.Addr) func(*unix.Ifreq) error {
		return func(ifr *unix.Ifreq) error { return ifr.SetInet4Addr(a.AsSlice()) }
	}
	if i.GetMtu() > 0 {
		if err := set("mtu", unix.SIOCSIFMTU, func(ifr *unix.Ifreq) error {
			ifr.SetUint32(uint32(i.GetMtu())) //nolint:gosec // positive
			return nil
		}); err != nil {
			return err
		}
	}
	if err := set("address", unix.SIOCSIFADDR, address(prefix.Addr())); err != nil {
		return err
	}
	if err := set("netmask", unix.SIOCSIFNETMASK, address(netmask(prefix.Bits()))); err != nil {
		return err
	}
	if err := set("up", unix.SIOCSIFFLAGS, func(ifr *unix.Ifreq) error {
		ifr.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
		return nil
	}); err != nil {
		return err
	}
	if i.GetGateway() == "" {
		return nil
	}
	gateway, err := netip.ParseAddr(i.GetGateway())
	if err != nil || !gateway.Is4() {
		return fmt.Errorf("%w: gateway %q", drivers.ErrInvalidArgument, i.GetGateway())
	}
	if err := addDefaultRoute(s, gateway); err != nil {
		return fmt.Errorf("route by %s: %w", gateway, err)
	}
	return nil
}

// interfaceByMAC returns the name of the interface with a hardware address.
func interfaceByMAC(mac string) (string, error) {
	files, err := filepath.Glob("/sys/class/net/*/address")
	if err != nil {
		return "", err
	}
	for _, f := range files {
		have, err := os.ReadFile(f)
		if err == nil && mac != "" && strings.EqualFold(strings.TrimSpace(string(have)), mac) {
			return filepath.Base(filepath.Dir(f)), nil
		}
	}
	return "", fmt.Errorf("%w: the kernel has no interface with this address: is its driver, virtio_net, there?", drivers.ErrNotFound)
}

func netmask(bits int) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], ^uint32(0)<<(32-bits))
	return netip.AddrFrom4(b)
}

// routeEntry is struct rtentry of linux/route.h, on machines of 64 bits.
type routeEntry struct {
	_       uint64
	dst     unix.RawSockaddrInet4
	gateway unix.RawSockaddrInet4
	genmask unix.RawSockaddrInet4
	flags   uint16
	_       [6]byte
	_       [2]uint64 // pad3, pad4 and tos
	metric  int16
	_       [6]byte
	_       uint64 // dev
	_       uint64 // mtu
	_       uint64 // window
	_       uint64 // irtt
}

func addDefaultRoute(s int, gateway netip.Addr) error {
	r := routeEntry{
		dst:     unix.RawSockaddrInet4{Family: unix.AF_INET},
		gateway: unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: gateway.As4()},
		genmask: unix.RawSockaddrInet4{Family: unix.AF_INET},
		flags:   unix.RTF_UP | unix.RTF_GATEWAY,
	}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(s), unix.SIOCADDRT, uintptr(unsafe.Pointer(&r)))
	runtime.KeepAlive(&r)
	if errno != 0 {
		return errno
	}
	return nil
}
