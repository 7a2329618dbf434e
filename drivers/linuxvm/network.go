package linuxvm

import (
	"fmt"
	"net"
	"path/filepath"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/guest/agentpb"
)

// maxInterfaces bounds a machine's: each takes a slot on its bus.
const maxInterfaces = 4

func interfaces(list []drivers.NetworkInterface) []Interface {
	var out []Interface
	for _, i := range list {
		out = append(out, Interface{Socket: i.Socket, MAC: i.MAC})
	}
	return out
}

func interfaceRequests(list []drivers.NetworkInterface) []*agentpb.NetworkInterface {
	var out []*agentpb.NetworkInterface
	for n, i := range list {
		r := &agentpb.NetworkInterface{Mac: i.MAC, Address: i.Address.String(), Mtu: int32(i.MTU)} //nolint:gosec // checked
		if n == 0 {
			r.Gateway = i.Gateway.String()
		}
		out = append(out, r)
	}
	return out
}

// resolver returns whom the guest asks for names: the first network's gateway, if
// there is one, which in turn asks those that dns names.
func resolver(c drivers.Configuration, dns drivers.DNS) drivers.DNS {
	if len(c.Interfaces) > 0 {
		dns.Nameservers = []string{c.Interfaces[0].Gateway.String()}
	}
	return dns
}

func checkInterfaces(list []drivers.NetworkInterface) error {
	if len(list) > maxInterfaces {
		return fmt.Errorf("interfaces: %d are more than %d", len(list), maxInterfaces)
	}
	for _, i := range list {
		mac, err := net.ParseMAC(i.MAC)
		switch {
		case err != nil || len(mac) != 6:
			return fmt.Errorf("interface of network %s: %q is no hardware address", i.Network, i.MAC)
		case !filepath.IsAbs(i.Socket):
			return fmt.Errorf("interface of network %s: socket %q is not an absolute path", i.Network, i.Socket)
		case !i.Address.IsValid() || !i.Address.Addr().Is4() || !i.Gateway.Is4():
			return fmt.Errorf("interface of network %s: address and gateway are not IPv4", i.Network)
		case i.MTU < 576 || i.MTU > 65535:
			return fmt.Errorf("interface of network %s: mtu %d", i.Network, i.MTU)
		}
	}
	return nil
}
