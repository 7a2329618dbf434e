package netswitch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// gatewayMAC is the gateway's hardware address, on every network.
var gatewayMAC = hardware{0x02, 0x76, 0x7a, 0x72, 0, 1}

// Switch is a network. It implements drivers.Network.
type Switch struct {
	log     *slog.Logger
	gateway *gateway
	beyond  func(netip.Addr) bool // but for tests, the function of that name
	life    context.Context       //nolint:containedctx // that of what Configure begins; Shutdown ends it
	end     context.CancelFunc

	// fabric is what frames are judged by; it is replaced, never changed.
	fabric atomic.Pointer[fabric]

	// configuring serialises Configure and Shutdown.
	configuring sync.Mutex
	published   map[publishedKey]*publication

	mu       sync.Mutex // guards what follows
	watchers map[chan struct{}]struct{}
}

var _ drivers.Network = (*Switch)(nil)

// fabric is a configuration in force.
type fabric struct {
	plan
	config drivers.NetworkConfiguration
	ports  map[netip.Addr]*port
	names  names
}

// New returns a network without anything on it.
func New(log *slog.Logger) *Switch {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &Switch{log: log, beyond: beyond, published: map[publishedKey]*publication{}, watchers: map[chan struct{}]struct{}{}}
	s.fabric.Store(&fabric{ports: map[netip.Addr]*port{}})
	s.life, s.end = context.WithCancel(context.Background())
	return s
}

// Configure implements drivers.Network.
func (s *Switch) Configure(_ context.Context, dir string) error {
	config, err := drivers.ReadNetworkConfiguration(dir)
	if err != nil {
		return fmt.Errorf("configure: %w", err)
	}
	if err := check(config); err != nil {
		return fmt.Errorf("configure: %w: %s: %w", drivers.ErrInvalidArgument, drivers.NetworkConfigurationFile, err)
	}
	s.configuring.Lock()
	defer s.configuring.Unlock()
	if s.life.Err() != nil {
		return fmt.Errorf("configure: %w: the network is shut down", drivers.ErrInvalidState)
	}
	was := s.fabric.Load()
	if s.gateway == nil {
		if s.gateway, err = newGateway(s, config); err != nil {
			return fmt.Errorf("configure: %w", err)
		}
	} else if was.subnet != config.Subnet || was.gateway != config.Gateway || was.config.MTU != config.MTU {
		return fmt.Errorf("configure: %w: subnet, gateway and mtu cannot be changed", drivers.ErrInvalidState)
	}
	next := &fabric{
		plan: plan{config.Subnet, config.Gateway}, config: config,
		ports: make(map[netip.Addr]*port, len(config.Endpoints)), names: newNames(config),
	}
	var begin []*port
	for _, e := range config.Endpoints {
		old := was.ports[e.Address]
		if old != nil && reflect.DeepEqual(old.config, e) {
			next.ports[e.Address] = old
			continue
		}
		if old != nil && old.config.ID == e.ID && old.config.MAC == e.MAC && old.config.Socket == e.Socket {
			// The interface stays. What is asked of the port is read from the fabric.
			next.ports[e.Address] = old
			continue
		}
		mac, _ := net.ParseMAC(e.MAC) // checked
		p := &port{config: e, mac: hardware(mac), queue: newQueue(), gone: make(chan struct{})}
		next.ports[e.Address] = p
		begin = append(begin, p)
	}
	s.fabric.Store(next)
	for addr, p := range was.ports {
		if next.ports[addr] != p {
			p.end()
			<-p.gone
		} else if config.Mode != drivers.NetworkNAT && was.config.Mode == drivers.NetworkNAT {
			p.flows.cut()
		}
	}
	for _, p := range begin {
		var ctx context.Context
		ctx, p.end = context.WithCancel(s.life)
		go s.run(ctx, p)
	}
	s.publish(config)
	s.changed()
	return nil
}

const (
	minMTU = 1280
	maxMTU = 65521
	// maxEndpoints bounds a network; each has a goroutine or two.
	maxEndpoints = 4096
)

// check says what is wrong with a configuration.
func check(c drivers.NetworkConfiguration) error {
	switch {
	case c.Mode != drivers.NetworkNAT && c.Mode != drivers.NetworkIsolated:
		return fmt.Errorf("mode: %q is none of %q, %q", c.Mode, drivers.NetworkNAT, drivers.NetworkIsolated)
	case !c.Subnet.IsValid() || !c.Subnet.Addr().Is4() || c.Subnet != c.Subnet.Masked():
		return fmt.Errorf("subnet: %q is no IPv4 subnet", c.Subnet)
	case !c.Subnet.Contains(c.Gateway):
		return fmt.Errorf("gateway: %q is not in %s", c.Gateway, c.Subnet)
	case c.MTU < minMTU || c.MTU > maxMTU:
		return fmt.Errorf("mtu: %d is not between %d and %d", c.MTU, minMTU, maxMTU)
	case len(c.Endpoints) > maxEndpoints:
		return fmt.Errorf("endpoints: %d are more than %d", len(c.Endpoints), maxEndpoints)
	}
	addresses, macs, ids := map[netip.Addr]bool{c.Gateway: true}, map[string]bool{}, map[string]bool{}
	for _, e := range c.Endpoints {
		mac, err := net.ParseMAC(e.MAC)
		switch {
		case err != nil || len(mac) != 6 || mac[0]&1 != 0 || hardware(mac) == gatewayMAC:
			return fmt.Errorf("endpoint %s: %q is no hardware address of one interface", e.ID, e.MAC)
		case !c.Subnet.Contains(e.Address) || addresses[e.Address]:
			return fmt.Errorf("endpoint %s: address %s is not in %s, or another's", e.ID, e.Address, c.Subnet)
		case macs[mac.String()] || ids[e.ID]:
			return fmt.Errorf("endpoint %s: it or its hardware address is there twice", e.ID)
		case e.Socket == "":
			return fmt.Errorf("endpoint %s: no socket", e.ID)
		}
		addresses[e.Address], macs[mac.String()], ids[e.ID] = true, true, true
	}
	for _, p := range c.Ports {
		switch {
		case !ids[p.ID]:
			return fmt.Errorf("port %s: no such endpoint", p)
		case p.Protocol != "tcp" && p.Protocol != "udp":
			return fmt.Errorf("port %s: protocol %q is neither tcp nor udp", p, p.Protocol)
		case !p.Host.IsValid() || p.Port == 0:
			return fmt.Errorf("port %s: not a port", p)
		}
	}
	return nil
}

// State implements drivers.Network.
func (s *Switch) State(context.Context) (drivers.NetworkState, error) { return s.state(), nil }

func (s *Switch) state() drivers.NetworkState {
	var st drivers.NetworkState
	for _, p := range s.fabric.Load().ports {
		st.Endpoints = append(st.Endpoints, p.state())
	}
	slices.SortFunc(st.Endpoints, func(a, b drivers.EndpointState) int { return strings.Compare(a.ID, b.ID) })
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.published {
		st.Ports = append(st.Ports, drivers.PortState{PublishedPort: p.config, Error: p.problem})
	}
	slices.SortFunc(st.Ports, func(a, b drivers.PortState) int { return strings.Compare(a.String(), b.String()) })
	return st
}

// Events implements drivers.Network.
func (s *Switch) Events(ctx context.Context) (<-chan drivers.NetworkState, error) {
	kick, out := make(chan struct{}, 1), make(chan drivers.NetworkState)
	kick <- struct{}{}
	s.mu.Lock()
	s.watchers[kick] = struct{}{}
	s.mu.Unlock()
	go func() {
		defer close(out)
		defer func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			delete(s.watchers, kick)
		}()
		for {
			select {
			case <-kick:
			case <-ctx.Done():
				return
			case <-s.life.Done():
				return
			}
			select {
			case out <- s.state():
			case <-ctx.Done():
				return
			case <-s.life.Done():
				return
			}
		}
	}()
	return out, nil
}

// changed tells those who watch.
func (s *Switch) changed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for kick := range s.watchers {
		select {
		case kick <- struct{}{}:
		default:
		}
	}
}

// Shutdown implements drivers.Network.
func (s *Switch) Shutdown(context.Context) error {
	s.configuring.Lock()
	defer s.configuring.Unlock()
	if s.life.Err() != nil {
		return nil
	}
	s.end()
	var errs []error
	for _, p := range s.published {
		errs = append(errs, p.close())
	}
	for _, p := range s.fabric.Load().ports {
		<-p.gone
	}
	if s.gateway != nil {
		s.gateway.close()
	}
	return errors.Join(errs...)
}
