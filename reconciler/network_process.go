package reconciler

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/internal/state"
	"github.com/vzreconciler/vzreconciler/manifests"
)

// networkTimeout bounds a step to a network's process.
const networkTimeout = 40 * time.Second

// kickNetwork has a network looked at, if there is one.
func (m *Manager) kickNetwork(name string) {
	m.networks.mu.Lock()
	defer m.networks.mu.Unlock()
	if n := m.networks.each[name]; n != nil {
		n.look()
	}
}

// kickAllNetworks has every network looked at.
func (m *Manager) kickAllNetworks() {
	m.networks.mu.Lock()
	defer m.networks.mu.Unlock()
	for _, n := range m.networks.each {
		n.look()
	}
}

func (n *network) look() {
	select {
	case n.kick <- struct{}{}:
	default:
	}
}

func (m *Manager) kickNetworks(verdicts map[manifests.Key]verdict) {
	for key := range verdicts {
		if key.Kind == manifests.KindNetwork {
			m.kickNetwork(key.Name)
		}
	}
}

// syncNetworks tells networks of what has changed of a sandbox that is on them.
// o.mu is held.
func (m *Manager) syncNetworks(o *object) {
	now := fmt.Sprint(o.attach != AttachNone, o.vmUp, m.domain(o), o.spec().Networks, o.record.SpecHash)
	if now == o.onNetworks {
		return
	}
	o.onNetworks = now
	for _, a := range o.spec().Networks {
		m.kickNetwork(a.Name)
	}
}

// keepNetwork looks after the process of a network for as long as the daemon runs,
// or until nothing is left of the network.
func (m *Manager) keepNetwork(n *network) {
	k := &networkKeeper{m: m, n: n}
	defer k.detach()
	for {
		done, again := k.step()
		if done {
			return
		}
		var late <-chan time.Time
		if again > 0 {
			late = time.After(again)
		}
		var gone <-chan struct{}
		if k.inst != nil {
			gone = k.inst.Done()
		}
		select {
		case <-m.life.Done():
			return
		case <-n.kick:
		case <-late:
		case <-gone:
			m.event(manifests.NetworkKey(n.name), eventWarning, "NetworkRestarted", "the network's process ended: it is started again, and the sandboxes on it keep their addresses")
			k.detach()
			k.tell(drivers.NetworkState{}, "its process ended")
		case st, ok := <-k.states:
			if ok {
				k.tell(st, "")
			} else {
				k.states = nil
			}
		}
	}
}

// networkKeeper is the goroutine that looks after one network.
type networkKeeper struct {
	m       *Manager
	n       *network
	backoff backoff

	inst    NetworkInstance
	unwatch context.CancelFunc
	states  <-chan drivers.NetworkState
	applied *drivers.NetworkConfiguration
	looked  bool // for the process of an earlier daemon
	silent  bool // states ended, though the process did not: it is attached to again
}

// detach lets go of the process.
func (k *networkKeeper) detach() {
	if k.inst == nil {
		return
	}
	k.unwatch()
	k.inst.Detach()
	k.inst, k.states, k.applied, k.silent = nil, nil, nil, false
}

// tell keeps what is known of the process, and wakes the sandboxes that it is about.
func (k *networkKeeper) tell(st drivers.NetworkState, problem string) {
	m := k.m
	m.networks.mu.Lock()
	k.n.state, k.n.problem, k.n.inst = st, problem, k.inst
	m.networks.mu.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wakeUsers(manifests.NetworkKey(k.n.name))
}

// step brings the process one step nearer to what it should be. done says that
// nothing is left to look after, again when to look though nothing happened.
func (k *networkKeeper) step() (done bool, again time.Duration) {
	ctx, cancel := context.WithTimeout(k.m.life, networkTimeout)
	defer cancel()
	want := k.m.networkConfiguration(k.n)
	var err error
	if len(want.Endpoints) == 0 {
		done, err = k.rest(ctx)
	} else {
		err = k.run(ctx, want)
	}
	if err == nil || k.m.life.Err() != nil {
		k.backoff.reset()
		return done, 0
	}
	k.m.log.Warn("look after a network", "network", k.n.name, "error", err)
	k.tell(drivers.NetworkState{}, err.Error())
	k.backoff.fail(time.Now())
	return false, max(time.Until(k.backoff.until), time.Millisecond)
}

// rest ends the process of a network that nothing is on. Its addresses are kept for
// as long as it has a manifest.
func (k *networkKeeper) rest(ctx context.Context) (done bool, err error) {
	if k.inst == nil && k.looked {
		return k.forgotten()
	}
	if k.inst == nil {
		if k.inst, err = k.m.opts.Networks.Reattach(ctx, k.n.dir); err != nil {
			k.inst = nil
		} else {
			k.unwatch = func() {}
		}
	}
	if k.inst != nil {
		if err := k.inst.Shutdown(ctx); err == nil {
			select {
			case <-k.inst.Done():
			case <-ctx.Done():
			}
		}
		k.detach()
	}
	if err := k.m.opts.Networks.CleanUp(ctx, k.n.dir); err != nil {
		return false, fmt.Errorf("end the network's process: %w", err)
	}
	k.looked = true
	k.tell(drivers.NetworkState{}, "")
	return k.forgotten()
}

// forgotten removes what is kept of a network that no sandbox would be on, if it has
// no manifest, or one that asks for what the network cannot become. The default one
// needs no manifest.
func (k *networkKeeper) forgotten() (bool, error) {
	m, key := k.m, manifests.NetworkKey(k.n.name)
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.configs[key]
	stays := c != nil && c.unbound == nil || c == nil && k.n.name == manifests.DefaultNetwork
	if stays || len(m.users[key]) > 0 || m.synced.at.IsZero() {
		return false, nil
	}
	if err := os.RemoveAll(k.n.dir); err != nil {
		return false, fmt.Errorf("forget the network: %w", err)
	}
	if c != nil {
		free := *c
		free.unbound = nil
		m.configs[key] = &free
		m.hub.changed(key)
	}
	m.networks.mu.Lock()
	defer m.networks.mu.Unlock()
	delete(m.networks.each, k.n.name)
	return true, nil
}

// run has a process do what is wanted.
func (k *networkKeeper) run(ctx context.Context, want drivers.NetworkConfiguration) error {
	if k.inst != nil && k.states == nil {
		if !k.silent { // It may be about to end.
			k.silent = true
			return errors.New("the network's process tells no more of its state")
		}
		k.detach()
	}
	if k.inst == nil {
		if err := k.find(ctx); err != nil {
			return err
		}
	}
	if k.applied != nil && reflect.DeepEqual(*k.applied, want) {
		return nil
	}
	if err := state.WriteJSON(filepath.Join(k.n.dir, drivers.NetworkConfigurationFile), &want); err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	if err := k.inst.Configure(ctx, k.n.dir); err != nil {
		return err
	}
	k.applied = &want
	return nil
}

// find returns to the process that an earlier daemon has started, or starts one.
func (k *networkKeeper) find(ctx context.Context) error {
	networks := k.m.opts.Networks
	inst, err := networks.Reattach(ctx, k.n.dir)
	if err != nil {
		if !errors.Is(err, drivers.ErrNotFound) {
			k.m.log.Debug("no process of the network to go on with", "network", k.n.name, "error", err)
		}
		if err := networks.CleanUp(ctx, k.n.dir); err != nil {
			return fmt.Errorf("clean up after the network's process: %w", err)
		}
		if inst, err = networks.Launch(ctx, k.n.dir); err != nil {
			return err
		}
	}
	watching, unwatch := context.WithCancel(k.m.life)
	states, err := inst.Events(watching)
	if err != nil {
		unwatch()
		inst.Detach()
		return err
	}
	k.inst, k.states, k.unwatch, k.looked = inst, states, unwatch, true
	return nil
}

// networkConfiguration is what a network should be now.
func (m *Manager) networkConfiguration(n *network) drivers.NetworkConfiguration {
	spec, ok := m.networkSpec(n.name)
	m.networks.mu.Lock()
	r := n.record
	leases := maps.Clone(r.Leases)
	if !ok { // It stays as it was for those who are on it.
		spec.Mode = r.Mode
	} else if r.Mode != spec.Mode {
		n.record.Mode = spec.Mode
		if err := n.save(); err != nil {
			m.log.Warn("keep the mode of a network", "error", err)
		}
	}
	m.networks.mu.Unlock()
	c := drivers.NetworkConfiguration{
		Version: drivers.NetworkConfigurationVersion, Name: n.name, Mode: drivers.NetworkMode(spec.Mode),
		Subnet: r.Subnet, Gateway: r.gateway(), MTU: r.MTU,
	}
	objects := m.allObjects()
	slices.SortFunc(objects, func(a, b *object) int { return compareKeys(a.key, b.key) })
	for _, o := range objects {
		if l, ok := leases[sandboxID(o.key)]; ok {
			m.addEndpoint(&c, o, l)
		}
	}
	return c
}

// addEndpoint puts a sandbox that has a VM, or may have one, on a network.
func (m *Manager) addEndpoint(c *drivers.NetworkConfiguration, o *object, l lease) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.record == nil || o.dead || o.attach == AttachNone {
		return
	}
	attached := o.record.Sandbox.Spec.Networks
	i := slices.IndexFunc(attached, func(a manifests.NetworkAttachment) bool { return a.Name == c.Name })
	if i < 0 {
		return
	}
	id, pod := sandboxID(o.key), &o.record.Sandbox.Spec.PodTemplate.Spec
	e := drivers.NetworkEndpoint{
		ID: id, Socket: l.Socket, MAC: l.MAC, Address: l.Address, Namespace: o.key.Namespace, Names: []string{o.key.Name},
	}
	if domain := m.domain(o); domain != "" {
		e.Names = append(e.Names, o.key.Name+"."+domain, domain)
	}
	if pod.DNSConfig != nil {
		for _, s := range pod.DNSConfig.Nameservers {
			e.Nameservers = append(e.Nameservers, net.JoinHostPort(s, "53"))
		}
	}
	c.Endpoints = append(c.Endpoints, e)
	if i > 0 || !o.vmUp && o.attach != AttachUnknown {
		return // It is reached by its first network, and while there is a VM.
	}
	for _, ct := range pod.Containers {
		for _, p := range ct.Ports {
			if host, err := netip.ParseAddr(p.HostIP); err == nil && p.HostPort != 0 {
				c.Ports = append(c.Ports, drivers.PublishedPort{
					ID: id, Protocol: strings.ToLower(string(p.Protocol)),
					Host: netip.AddrPortFrom(host, uint16(p.HostPort)), Port: uint16(p.ContainerPort), //nolint:gosec // validated
				})
			}
		}
	}
}

// domain is a name that a sandbox has in common with others: its subdomain, as the
// sandboxes of a StatefulSet have its serviceName, or else that set's own. o.mu is
// held.
func (m *Manager) domain(o *object) string {
	domain := o.record.Sandbox.Spec.PodTemplate.Spec.Subdomain
	if owner := o.record.Owner; domain == "" && owner != nil && owner.Kind == manifests.KindStatefulSet {
		return owner.Name
	}
	return domain
}
