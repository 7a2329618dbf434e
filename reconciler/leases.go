package reconciler

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"net/netip"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/manifests"
)

// networkRecord is what is kept of a network: an address stays with the name of
// its sandbox.
type networkRecord struct {
	Version int                   `json:"version"`
	Mode    manifests.NetworkMode `json:"mode"`
	Subnet  netip.Prefix          `json:"subnet"`
	MTU     int                   `json:"mtu"`
	// Leases by the sandboxes' "namespace/name".
	Leases map[string]lease `json:"leases,omitempty"`
}

// lease is a sandbox's place on a network.
type lease struct {
	Address netip.Addr `json:"address"`
	MAC     string     `json:"mac"`
	// Socket of the interface, of the machine that was made last.
	Socket string `json:"socket"`
}

func (r *networkRecord) gateway() netip.Addr { return r.Subnet.Addr().Next() }

// errNoAddress means that every address of a network has a sandbox.
var errNoAddress = errors.New("no address is free")

// assign returns the lease of a sandbox, a new one if it has none that fits.
// exists tells of the sandboxes that there are: the address of one that is gone
// stays with its name until there is no other.
func (r *networkRecord) assign(id string, want manifests.NetworkAttachment, mac, socket string, exists func(id string) bool) (lease, error) {
	has, had := r.Leases[id]
	next := lease{Address: has.Address, MAC: mac, Socket: socket}
	if want.IPv4Address != "" {
		next.Address, _ = netip.ParseAddr(want.IPv4Address) // validated
		if !r.assignable(next.Address) {
			return lease{}, fmt.Errorf("%w: spec.networks: %s is no address for a sandbox in %s", drivers.ErrInvalidArgument, next.Address, r.Subnet)
		}
	}
	for other, l := range r.Leases {
		switch {
		case other == id:
		case l.MAC == next.MAC && exists(other):
			return lease{}, fmt.Errorf("%w: spec.networks: %s is the hardware address of sandbox %s", drivers.ErrInvalidArgument, next.MAC, other)
		case l.MAC == next.MAC:
			delete(r.Leases, other)
		case l.Address != next.Address || want.IPv4Address == "":
		case exists(other):
			return lease{}, fmt.Errorf("%w: spec.networks: %s is the address of sandbox %s", drivers.ErrInvalidArgument, next.Address, other)
		default:
			delete(r.Leases, other)
		}
	}
	if !had && want.IPv4Address == "" {
		var err error
		if next.Address, err = r.free(id, exists); err != nil {
			return lease{}, err
		}
	}
	if r.Leases == nil {
		r.Leases = map[string]lease{}
	}
	r.Leases[id] = next
	return next, nil
}

// assignable reports whether an address is neither the subnet's own, nor the
// gateway's, nor the last.
func (r *networkRecord) assignable(a netip.Addr) bool {
	return r.Subnet.Contains(a) && a != r.Subnet.Addr() && a != r.gateway() && r.Subnet.Contains(a.Next())
}

// maxSearch bounds the search for an address in a large subnet.
const maxSearch = 1 << 16

// free finds an address that nobody has: the same one for a name, most of the time,
// whatever else there is.
func (r *networkRecord) free(id string, exists func(string) bool) (netip.Addr, error) {
	taken := make(map[netip.Addr]string, len(r.Leases))
	for other, l := range r.Leases {
		taken[l.Address] = other
	}
	size := uint32(1) << (32 - r.Subnet.Bits())
	base := r.Subnet.Addr().As4()
	first := binary.BigEndian.Uint32(base[:])
	h := fnv.New32a()
	h.Write([]byte(id))
	for _, reuse := range []bool{false, true} {
		for i := range min(size, maxSearch) {
			var b [4]byte
			binary.BigEndian.PutUint32(b[:], first+(h.Sum32()+i)%size)
			a := netip.AddrFrom4(b)
			other, ok := taken[a]
			if !r.assignable(a) || ok && (!reuse || exists(other)) {
				continue
			}
			delete(r.Leases, other)
			return a, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("%w: network of %s: %w", drivers.ErrExhausted, r.Subnet, errNoAddress)
}
