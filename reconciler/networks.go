package reconciler

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/internal/state"
	"github.com/vzreconciler/vzreconciler/manifests"
)

// networks are those that sandboxes are, or were, attached to. Its mutex is taken
// last.
type networks struct {
	mu   sync.Mutex
	each map[string]*network
}

// network is one of them. The process that drives it is looked after by a goroutine
// of its own (network_process.go).
type network struct {
	name string
	dir  string
	// kick has room for one: something may have changed.
	kick chan struct{}

	// What follows is guarded by the mutex of networks.

	record networkRecord
	// state is what its process told last; problem says why there is none.
	state   drivers.NetworkState
	inst    NetworkInstance
	problem string
}

// networkRecordFile is the record of a network, in its directory.
const networkRecordFile = "network.json"

func (n *network) recordFile() string { return filepath.Join(n.dir, networkRecordFile) }

// defaultSubnets are what networks get whose manifests name none: 10.213.N.0/24.
func defaultSubnet(n int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 213, byte(n), 0}), 24)
}

// networkSpec returns what a network is meant to be; false if that is not known:
// there is none of this name, its manifest is broken, or the manifests were not read
// yet.
func (m *Manager) networkSpec(name string) (manifests.NetworkSpec, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.configs[manifests.NetworkKey(name)]
	if c != nil && c.object != nil {
		return c.object.Network.Spec.Defaults(), true
	}
	return manifests.NetworkSpec{}.Defaults(), c == nil && name == manifests.DefaultNetwork && !m.synced.at.IsZero()
}

// hasUnreadNetwork reports whether a network has a manifest that says nothing yet.
func (m *Manager) hasUnreadNetwork(name string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.configs[manifests.NetworkKey(name)]
	return c != nil && c.object == nil
}

// beginNetworks looks after the networks that an earlier daemon has left.
func (m *Manager) beginNetworks() {
	if m.opts.Networks == nil {
		return
	}
	entries, err := os.ReadDir(m.opts.StateDir.Networks())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		m.log.Warn("look for networks", "error", err)
	}
	for _, e := range entries {
		if _, err := m.network(e.Name()); err != nil {
			m.log.Error("leave a network alone", "network", e.Name(), "error", err)
		}
	}
}

// network returns a network that there is or was, made if need be.
func (m *Manager) network(name string) (*network, error) {
	n, fresh, err := m.openNetwork(name)
	if err == nil && fresh {
		m.spawn(func() { m.keepNetwork(n) })
	}
	return n, err
}

func (m *Manager) openNetwork(name string) (n *network, fresh bool, err error) {
	spec, _ := m.networkSpec(name)
	unread := m.hasUnreadNetwork(name)
	m.networks.mu.Lock()
	defer m.networks.mu.Unlock()
	if n := m.networks.each[name]; n != nil {
		return n, false, nil
	}
	n = &network{name: name, dir: m.opts.StateDir.Network(name), kick: make(chan struct{}, 1)}
	err = state.ReadJSON(n.recordFile(), &n.record)
	switch {
	case errors.Is(err, fs.ErrNotExist) && unread:
		err = fmt.Errorf("%w: its manifest is broken, or was not read yet", drivers.ErrUnavailable)
	case errors.Is(err, fs.ErrNotExist):
		if n.record, err = m.newNetworkRecord(spec); err == nil {
			err = n.save()
		}
	case err == nil && (n.record.Version != recordVersion || !n.record.Subnet.IsValid()):
		err = fmt.Errorf("read %s: %w", n.recordFile(), errRecordVersion)
	}
	if err != nil {
		return nil, false, fmt.Errorf("network %s: %w", name, err)
	}
	m.networks.each[name] = n
	return n, true, nil
}

// newNetworkRecord chooses what a manifest leaves open. m.networks.mu is held.
func (m *Manager) newNetworkRecord(spec manifests.NetworkSpec) (networkRecord, error) {
	r := networkRecord{Version: recordVersion, Mode: spec.Mode, MTU: int(spec.MTU)}
	if spec.Subnet != "" {
		p, err := netip.ParsePrefix(spec.Subnet)
		r.Subnet = p
		return r, err
	}
	for i := range 256 {
		r.Subnet = defaultSubnet(i)
		used := func(n *network) bool { return n.record.Subnet.Overlaps(r.Subnet) }
		if !slices.ContainsFunc(m.networksLocked(), used) {
			return r, nil
		}
	}
	return r, fmt.Errorf("%w: every subnet of 10.213.0.0/16 has a network: name one in spec.subnet", drivers.ErrExhausted)
}

func (m *Manager) networksLocked() []*network {
	list := make([]*network, 0, len(m.networks.each))
	for _, name := range sortedKeys(m.networks.each) {
		list = append(list, m.networks.each[name])
	}
	return list
}

func (n *network) save() error {
	if err := state.MkdirAll(n.dir); err != nil {
		return fmt.Errorf("keep its record: %w", err)
	}
	if err := state.WriteJSON(n.recordFile(), &n.record); err != nil {
		return fmt.Errorf("keep its record: %w", err)
	}
	return nil
}

// interfaces gives a sandbox its places on networks.
func (m *Manager) interfaces(key manifests.Key, s *manifests.Sandbox) ([]drivers.NetworkInterface, error) {
	if len(s.Spec.Networks) == 0 {
		return nil, nil
	}
	if m.opts.Networks == nil {
		return nil, fmt.Errorf("spec.networks: %w: this daemon has no networks", drivers.ErrUnavailable)
	}
	var list []drivers.NetworkInterface
	for _, a := range s.Spec.Networks {
		i, err := m.networkInterface(key, a)
		if err != nil {
			return nil, err
		}
		for _, other := range list {
			if other.Address.Masked().Overlaps(i.Address.Masked()) {
				return nil, fmt.Errorf("%w: spec.networks: networks %s and %s have subnets that overlap, %s and %s",
					drivers.ErrInvalidArgument, other.Network, i.Network, other.Address.Masked(), i.Address.Masked())
			}
		}
		list = append(list, i)
	}
	return list, nil
}

func (m *Manager) networkInterface(key manifests.Key, a manifests.NetworkAttachment) (drivers.NetworkInterface, error) {
	n, err := m.network(a.Name)
	if err != nil {
		return drivers.NetworkInterface{}, err
	}
	id, mac := sandboxID(key), a.MACAddress
	if mac == "" {
		mac = manifests.MACOf(a.Name, key)
	}
	sum := sha256.Sum256([]byte(a.Name + "\x00" + id))
	socket := filepath.Join(m.opts.SocketDir, "net-"+hex.EncodeToString(sum[:6])+".sock")
	m.mu.Lock()
	exist := make(map[string]bool, len(m.objects))
	for k := range m.objects {
		exist[sandboxID(k)] = true
	}
	m.mu.Unlock()

	m.networks.mu.Lock()
	defer m.networks.mu.Unlock()
	mtu := n.record.MTU
	if a.MTU != 0 {
		mtu = int(a.MTU)
	}
	if mtu > n.record.MTU {
		return drivers.NetworkInterface{}, fmt.Errorf("%w: spec.networks: mtu %d is more than that of network %s, %d", drivers.ErrInvalidArgument, mtu, a.Name, n.record.MTU)
	}
	was := n.record.Leases[id]
	l, err := n.record.assign(id, a, mac, socket, func(id string) bool { return exist[id] })
	if err == nil && l != was {
		err = n.save()
	}
	if err != nil {
		return drivers.NetworkInterface{}, fmt.Errorf("network %s: %w", a.Name, err)
	}
	return drivers.NetworkInterface{
		Network: a.Name, Socket: l.Socket, MAC: l.MAC, MTU: mtu,
		Address: netip.PrefixFrom(l.Address, n.record.Subnet.Bits()), Gateway: n.record.gateway(),
	}, nil
}

// sandboxID is how drivers know a sandbox.
func sandboxID(key manifests.Key) string { return key.Namespace + "/" + key.Name }

// addresses returns those that a sandbox has on its networks.
func (m *Manager) addresses(o *object) (ips []string, list []manifests.NetworkStatus) {
	m.networks.mu.Lock()
	defer m.networks.mu.Unlock()
	for _, a := range o.record.Sandbox.Spec.Networks {
		n := m.networks.each[a.Name]
		if n == nil {
			continue
		}
		if l, ok := n.record.Leases[sandboxID(o.key)]; ok {
			ips = append(ips, l.Address.String())
			list = append(list, manifests.NetworkStatus{
				Name: a.Name, IPv4Address: netip.PrefixFrom(l.Address, n.record.Subnet.Bits()).String(),
				MACAddress: l.MAC, Gateway: n.record.gateway().String(),
			})
		}
	}
	return ips, list
}

// networkFact is how a sandbox stands with its networks.
type networkFact struct{ reason, message string }

func (m *Manager) networkFact(o *object) *networkFact {
	if len(o.record.Sandbox.Spec.Networks) == 0 {
		return nil
	}
	m.networks.mu.Lock()
	defer m.networks.mu.Unlock()
	id := sandboxID(o.key)
	for _, a := range o.record.Sandbox.Spec.Networks {
		n := m.networks.each[a.Name]
		switch {
		case n == nil:
			return &networkFact{ReasonNetworkDown, "network " + a.Name + " is not there yet"}
		case n.problem != "":
			return &networkFact{ReasonNetworkDown, "network " + a.Name + ": " + n.problem}
		case !slices.ContainsFunc(n.state.Endpoints, func(e drivers.EndpointState) bool { return e.ID == id && e.Connected }):
			return &networkFact{ReasonNotConnected, "network " + a.Name + " carries no frames of the sandbox's yet"}
		}
		for _, p := range n.state.Ports {
			if p.ID == id && p.Error != "" {
				return &networkFact{ReasonHostPortUnavailable, p.Error + "; it is tried again"}
			}
		}
	}
	return &networkFact{reason: ReasonNetworkAttached}
}

// bindNetwork says what is wrong with a Network's change. m.mu is held.
func (m *Manager) bindNetwork(c *config) {
	if c.object == nil || c.object.Network == nil {
		return
	}
	m.networks.mu.Lock()
	defer m.networks.mu.Unlock()
	n := m.networks.each[c.identity.Key.Name]
	if n == nil {
		return
	}
	spec := c.object.Network.Spec.Defaults()
	c.unbound = nil
	switch {
	case spec.Subnet != "" && spec.Subnet != n.record.Subnet.String():
		c.unbound = &problem{ReasonImmutableField, fmt.Sprintf("%s: spec.subnet: the network has %s, which cannot be changed: remove what is on it first", c.object.Position, n.record.Subnet)}
	case int(spec.MTU) != n.record.MTU:
		c.unbound = &problem{ReasonImmutableField, fmt.Sprintf("%s: spec.mtu: the network has %d, which cannot be changed: remove what is on it first", c.object.Position, n.record.MTU)}
	}
}
