package netswitch

import (
	"net/netip"
	"strings"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// clusterDomain ends names as a cluster has them: what is written for one finds
// its way here too.
const clusterDomain = ".svc.cluster.local"

// names are those of the sandboxes on a network.
type names struct {
	// of each namespace, by name, in lower case.
	of map[string]map[string][]netip.Addr
	by map[netip.Addr]*drivers.NetworkEndpoint
}

func newNames(c drivers.NetworkConfiguration) names {
	n := names{of: map[string]map[string][]netip.Addr{}, by: map[netip.Addr]*drivers.NetworkEndpoint{}}
	for i := range c.Endpoints {
		e := &c.Endpoints[i]
		n.by[e.Address] = e
		known := n.of[e.Namespace]
		if known == nil {
			known = map[string][]netip.Addr{}
			n.of[e.Namespace] = known
		}
		for _, name := range e.Names {
			name = strings.ToLower(name)
			known[name] = append(known[name], e.Address)
		}
	}
	return n
}

// find returns the addresses that a name has for whoever asks from an address;
// known says that the name is one of the network's, whether it has any or not.
// The namespace of who asks comes first, then the one that the name ends with.
func (n names) find(name string, asker netip.Addr) (addresses []netip.Addr, known bool) {
	name = strings.TrimSuffix(strings.ToLower(name), ".")
	name, local := strings.CutSuffix(name, clusterDomain)
	if e := n.by[asker]; e != nil {
		if found := n.of[e.Namespace][name]; len(found) > 0 {
			return found, true
		}
	}
	if i := strings.LastIndexByte(name, '.'); i > 0 {
		if space, ok := n.of[name[i+1:]]; ok {
			if found := space[name[:i]]; len(found) > 0 {
				return found, true
			}
		}
	}
	// A name of one word is nobody's out there.
	return nil, local || !strings.Contains(name, ".")
}

// reverse returns the name of an address, for a question in in-addr.arpa.
func (n names) reverse(name string) (string, bool) {
	name, ok := strings.CutSuffix(strings.TrimSuffix(strings.ToLower(name), "."), ".in-addr.arpa")
	parts := strings.Split(name, ".")
	if !ok || len(parts) != 4 {
		return "", false
	}
	addr, err := netip.ParseAddr(parts[3] + "." + parts[2] + "." + parts[1] + "." + parts[0])
	if err != nil {
		return "", false
	}
	if e := n.by[addr]; e != nil && len(e.Names) > 0 {
		return e.Names[0] + "." + e.Namespace + ".", true
	}
	return "", false
}
