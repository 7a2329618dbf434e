package reconciler

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

// ListNetworks implements api.Backend.
func (m *Manager) ListNetworks(ctx context.Context, req *api.ListNetworksRequest) (*api.ListNetworksResponse, error) {
	names := []string{manifests.DefaultNetwork}
	m.mu.Lock()
	for key := range m.configs {
		if key.Kind == manifests.KindNetwork {
			names = append(names, key.Name)
		}
	}
	m.mu.Unlock()
	m.networks.mu.Lock()
	names = append(names, sortedKeys(m.networks.each)...)
	m.networks.mu.Unlock()
	slices.Sort(names)
	resp := &api.ListNetworksResponse{}
	for _, name := range slices.Compact(names) {
		if want := req.GetName(); want == "" || want == name {
			resp.Networks = append(resp.Networks, m.apiNetwork(ctx, name))
		}
	}
	if len(resp.GetNetworks()) == 0 {
		return nil, fmt.Errorf("network %s: %w: \"vzctl network list\" shows those there are", req.GetName(), drivers.ErrNotFound)
	}
	return resp, nil
}

func (m *Manager) apiNetwork(ctx context.Context, name string) *api.Network {
	spec, ok := m.networkSpec(name)
	shown := &api.Network{Name: name, Mode: string(spec.Mode), Subnet: spec.Subnet, Mtu: spec.MTU}
	m.networks.mu.Lock()
	n := m.networks.each[name]
	if n == nil {
		m.networks.mu.Unlock()
		return shown
	}
	inst := n.inst
	m.networks.mu.Unlock()
	var counted *drivers.NetworkState
	if inst != nil {
		ctx, cancel := context.WithTimeout(ctx, rpcTimeout)
		defer cancel()
		if st, err := inst.State(ctx); err == nil {
			counted = &st
		}
	}
	m.networks.mu.Lock()
	defer m.networks.mu.Unlock()
	st := n.state
	if counted != nil {
		st = *counted
	}
	shown.Subnet, shown.Gateway, shown.Mtu = n.record.Subnet.String(), n.record.gateway().String(), int32(n.record.MTU) //nolint:gosec // checked
	shown.Problem = n.problem
	if !ok {
		shown.Mode = string(n.record.Mode)
	}
	if n.inst != nil {
		shown.Pid = int64(n.inst.PID())
	}
	for _, id := range sortedKeys(n.record.Leases) {
		shown.Endpoints = append(shown.Endpoints, apiEndpoint(id, n.record.Leases[id], st))
	}
	for _, p := range st.Ports {
		namespace, name, _ := strings.Cut(p.ID, "/")
		shown.Ports = append(shown.Ports, &api.NetworkPort{
			Host: p.Host.String(), Protocol: p.Protocol, Namespace: namespace, Name: name, Port: uint32(p.Port), Error: p.Error,
		})
	}
	return shown
}

func apiEndpoint(id string, l lease, st drivers.NetworkState) *api.NetworkEndpoint {
	e := &api.NetworkEndpoint{Address: l.Address.String(), Mac: l.MAC}
	e.Namespace, e.Name, _ = strings.Cut(id, "/")
	for _, s := range st.Endpoints {
		if s.ID == id {
			e.Connected = s.Connected
			e.ReceivedBytes, e.SentBytes, e.ReceivedFrames, e.SentFrames = s.ReceivedBytes, s.SentBytes, s.ReceivedFrames, s.SentFrames
			e.SpoofedFrames, e.DroppedFrames, e.DeniedConnections = s.SpoofedFrames, s.DroppedFrames, s.DeniedConnections
		}
	}
	return e
}
