package reconciler

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/internal/state"
	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

// testNetworks starts networks in memory, which carry nothing.
type testNetworks struct {
	mu       sync.Mutex
	running  map[string]*testNetwork // by the name
	launched int
	err      error
}

type testNetwork struct {
	mu     sync.Mutex
	config drivers.NetworkConfiguration
	modes  []drivers.NetworkMode // of every configuration
	taken  map[uint16]string     // ports of the host
	kick   chan struct{}
	mute   chan struct{} // has it end its events
	done   chan struct{}
	end    sync.Once
}

func (n *testNetworks) Launch(_ context.Context, dir string) (NetworkInstance, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.err != nil {
		return nil, n.err
	}
	n.launched++
	t := &testNetwork{taken: map[uint16]string{}, kick: make(chan struct{}, 1), mute: make(chan struct{}), done: make(chan struct{})}
	n.running[filepath.Base(dir)] = t
	return t, nil
}

func (n *testNetworks) Reattach(_ context.Context, dir string) (NetworkInstance, error) {
	if t := n.get(filepath.Base(dir)); t != nil {
		return t, nil
	}
	return nil, drivers.ErrNotFound
}

func (n *testNetworks) CleanUp(_ context.Context, dir string) error {
	n.kill(filepath.Base(dir))
	return nil
}

func (n *testNetworks) get(name string) *testNetwork {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.running[name]
}

func (n *testNetworks) kill(name string) {
	t := n.get(name)
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.running, name)
	if t != nil {
		t.end.Do(func() { close(t.done) })
	}
}

func (n *testNetworks) killAll() {
	n.mu.Lock()
	names := sortedKeys(n.running)
	n.mu.Unlock()
	for _, name := range names {
		n.kill(name)
	}
}

func (t *testNetwork) Configure(_ context.Context, dir string) error {
	c, err := drivers.ReadNetworkConfiguration(dir)
	if err != nil {
		return err
	}
	t.mu.Lock()
	t.config = c
	t.modes = append(t.modes, c.Mode)
	t.mu.Unlock()
	t.changed()
	return nil
}

func (t *testNetwork) changed() {
	select {
	case t.kick <- struct{}{}:
	default:
	}
}

func (t *testNetwork) is() drivers.NetworkConfiguration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.config
}

func (t *testNetwork) State(context.Context) (drivers.NetworkState, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var st drivers.NetworkState
	for _, e := range t.config.Endpoints {
		st.Endpoints = append(st.Endpoints, drivers.EndpointState{ID: e.ID, Connected: true})
	}
	for _, p := range t.config.Ports {
		st.Ports = append(st.Ports, drivers.PortState{PublishedPort: p, Error: t.taken[p.Host.Port()]})
	}
	return st, nil
}

func (t *testNetwork) Events(ctx context.Context) (<-chan drivers.NetworkState, error) {
	out := make(chan drivers.NetworkState)
	t.changed()
	go func() {
		defer close(out)
		for {
			select {
			case <-t.kick:
			case <-t.mute:
				return
			case <-ctx.Done():
				return
			case <-t.done:
				return
			}
			st, _ := t.State(ctx)
			select {
			case out <- st:
			case <-ctx.Done():
				return
			case <-t.done:
				return
			}
		}
	}()
	return out, nil
}

func (t *testNetwork) Shutdown(context.Context) error {
	t.end.Do(func() { close(t.done) })
	return nil
}

func (*testNetwork) PID() int                { return 4711 }
func (t *testNetwork) Done() <-chan struct{} { return t.done }
func (*testNetwork) Detach()                 {}

// attached is a sandbox on networks, with a line of its container's.
func attached(name, networks, container string) string {
	return fmt.Sprintf(`apiVersion: vzreconciler.dev/v1alpha1
kind: Sandbox
metadata: {name: %s}
spec:
  networks: [%s]
  podTemplate: {spec: {containers: [{name: main, image: example.com/app:1, command: [serve]%s}]}}
`, name, networks, container)
}

func (w *world) interfacesOf(name string) []drivers.NetworkInterface {
	w.t.Helper()
	var cfg drivers.Configuration
	if err := state.ReadJSON(w.state.Bundle("default", name).ConfigurationFile(), &cfg); err != nil {
		w.t.Fatal(err)
	}
	return cfg.Interfaces
}

func TestSandboxOnANetworkKeepsItsAddress(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("a.yaml", attached("a", "{name: default}", ""))
		w.write("b.yaml", attached("b", "{name: default}", ""))
		after(5 * time.Second)
		w.wantPhase("a", manifests.PhaseRunning)
		w.wantCondition("a", manifests.ConditionNetworkAttached, "True", ReasonNetworkAttached, "")
		a := w.interfacesOf("a")
		if len(a) != 1 || a[0].Address.Bits() != 24 || a[0].Gateway != a[0].Address.Masked().Addr().Next() || a[0].MTU != 1500 {
			t.Fatalf("interfaces %+v", a)
		}
		if ips := w.status("a").PodIPs; len(ips) != 1 || ips[0] != a[0].Address.Addr().String() {
			t.Errorf("podIPs %v", ips)
		}
		if b := w.interfacesOf("b"); b[0].Address == a[0].Address || b[0].MAC == a[0].MAC || b[0].Socket == a[0].Socket {
			t.Errorf("two have the same: %+v %+v", a, b)
		}
		if c := w.networks.get("default").is(); len(c.Endpoints) != 2 || c.Mode != drivers.NetworkNAT || c.Endpoints[0].Names[0] != "a" {
			t.Errorf("the network is %+v", c)
		}
		// Removed, and written again under another daemon.
		w.remove("a.yaml")
		after(20 * time.Second)
		if c := w.networks.get("default").is(); len(c.Endpoints) != 1 {
			t.Errorf("what was removed is still on the network: %+v", c.Endpoints)
		}
		w.stop()
		w.start()
		w.write("a.yaml", attached("a", "{name: default}", ""))
		after(5 * time.Second)
		if again := w.interfacesOf("a"); again[0].Address != a[0].Address {
			t.Errorf("it has %v, it had %v", again[0].Address, a[0].Address)
		}
		if w.networks.launched != 1 {
			t.Errorf("%d processes were started for one network", w.networks.launched)
		}
		// Nothing is on it any more: its process ends.
		w.remove("a.yaml", "b.yaml")
		if _, err := w.m.ConfirmPrune(t.Context()); err != nil {
			t.Fatal(err)
		}
		after(time.Minute)
		if w.networks.get("default") != nil {
			t.Error("the network's process runs for nobody")
		}
	})
}

func TestNetworkIsDriftedBack(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("a.yaml", attached("a", "{name: default}", ", ports: [{containerPort: 80, hostPort: 8080}]"))
		after(5 * time.Second)
		was := w.networks.get("default").is()
		if len(was.Ports) != 1 || was.Ports[0].Host != netip.MustParseAddrPort("127.0.0.1:8080") || was.Ports[0].Protocol != "tcp" {
			t.Fatalf("ports %+v", was.Ports)
		}
		w.networks.mu.Lock()
		w.networks.err = errors.New("no more processes")
		w.networks.mu.Unlock()
		w.networks.kill("default")
		after(time.Second / 2)
		w.wantCondition("a", manifests.ConditionNetworkAttached, "False", ReasonNetworkDown, "no more processes")
		w.wantPhase("a", manifests.PhaseRunning)
		w.networks.mu.Lock()
		w.networks.err = nil
		w.networks.mu.Unlock()
		after(time.Minute)
		w.wantCondition("a", manifests.ConditionNetworkAttached, "True", ReasonNetworkAttached, "")
		if now := w.networks.get("default").is(); len(now.Endpoints) != 1 || now.Endpoints[0].Address != was.Endpoints[0].Address || len(now.Ports) != 1 {
			t.Errorf("it came back as %+v", now)
		}
		if w.runtimes.launched("a") != 1 {
			t.Error("the sandbox was started anew")
		}
	})
}

func TestPortsChangeLiveAndATakenOneIsACondition(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("a.yaml", attached("a", "{name: default}", ""))
		after(5 * time.Second)
		n := w.networks.get("default")
		n.mu.Lock()
		n.taken[8080] = "port 127.0.0.1:8080/tcp of the host is taken"
		n.mu.Unlock()
		w.write("a.yaml", attached("a", "{name: default}", ", ports: [{containerPort: 80, hostPort: 8080}]"))
		after(5 * time.Second)
		w.wantPhase("a", manifests.PhaseRunning)
		w.wantCondition("a", manifests.ConditionNetworkAttached, "False", ReasonHostPortUnavailable, "is taken")
		w.wantCondition("a", manifests.ConditionReady, "True", "", "")
		n.mu.Lock()
		clear(n.taken)
		n.mu.Unlock()
		n.changed()
		after(time.Second)
		w.wantCondition("a", manifests.ConditionNetworkAttached, "True", ReasonNetworkAttached, "")
		if w.runtimes.launched("a") != 1 {
			t.Error("the sandbox was started anew for a port")
		}
		// What is stopped has no ports.
		if err := w.m.Stop(t.Context(), &api.StopRequest{Object: refOf(manifests.Key{Kind: manifests.KindSandbox, Namespace: "default", Name: "a"})}); err != nil {
			t.Fatal(err)
		}
		after(time.Minute)
		if n := w.networks.get("default"); n != nil && len(n.is().Ports) > 0 {
			t.Errorf("a stopped sandbox publishes %+v", n.is().Ports)
		}
	})
}

func TestNetworkOfAManifest(t *testing.T) {
	const network = "apiVersion: vzreconciler.dev/v1alpha1\nkind: Network\nmetadata: {name: back}\nspec: {mode: %s, subnet: 10.9.0.0/29}\n"
	inWorld(t, func(t *testing.T, w *world) {
		w.write("a.yaml", attached("a", "{name: back, ipv4Address: 10.9.0.5}", ""))
		after(5 * time.Second)
		w.wantCondition("a", manifests.ConditionSynced, "False", ReasonReferenceMissing, "Network default/back")
		w.write("back.yaml", fmt.Sprintf(network, "Isolated"))
		after(5 * time.Second)
		w.wantPhase("a", manifests.PhaseRunning)
		if i := w.interfacesOf("a"); i[0].Address != netip.MustParsePrefix("10.9.0.5/29") {
			t.Errorf("interface %+v", i)
		}
		if c := w.networks.get("back").is(); c.Mode != drivers.NetworkIsolated {
			t.Errorf("mode %s", c.Mode)
		}
		w.write("back.yaml", fmt.Sprintf(network, "NAT"))
		after(5 * time.Second)
		if c := w.networks.get("back").is(); c.Mode != drivers.NetworkNAT {
			t.Errorf("changed live: mode %s", c.Mode)
		}
		w.write("back.yaml", "apiVersion: vzreconciler.dev/v1alpha1\nkind: Network\nmetadata: {name: back}\nspec: {subnet: 10.8.0.0/29}\n")
		after(5 * time.Second)
		if p := w.m.lookup(manifests.NetworkKey("back")).problem; p == nil || p.Reason != ReasonImmutableField {
			t.Errorf("another subnet: %+v", p)
		}
		// It stays for those who are on it, and no longer.
		w.remove("back.yaml")
		after(5 * time.Second)
		if w.networks.get("back") == nil {
			t.Error("the network went from under its sandbox")
		}
		w.remove("a.yaml")
		if _, err := w.m.ConfirmPrune(t.Context()); err != nil {
			t.Fatal(err)
		}
		after(time.Minute)
		list, err := w.m.ListNetworks(t.Context(), &api.ListNetworksRequest{})
		if err != nil || len(list.GetNetworks()) != 1 || list.GetNetworks()[0].GetName() != manifests.DefaultNetwork {
			t.Errorf("left are %v, %v", list.GetNetworks(), err)
		}
	})
}

func TestTheDefaultNetworkStaysIsolatedUntilItsManifestSaysOtherwise(t *testing.T) {
	const isolated = "apiVersion: vzreconciler.dev/v1alpha1\nkind: Network\nmetadata: {name: default}\nspec: {mode: Isolated}\n"
	inWorld(t, func(t *testing.T, w *world) {
		wantMode := func(when string, want drivers.NetworkMode) {
			t.Helper()
			if got := w.networks.get("default").is().Mode; got != want {
				t.Errorf("%s: it is %s, want %s", when, got, want)
			}
		}
		w.files["net.yaml"] = isolated
		w.write("a.yaml", attached("a", "{name: default}", ""))
		after(5 * time.Second)
		w.wantPhase("a", manifests.PhaseRunning)
		wantMode("at first", drivers.NetworkIsolated)
		w.stop()
		w.start()
		after(5 * time.Second)
		w.stop()
		w.files["net.yaml"] = strings.Replace(isolated, "Isolated", "Nat", 1)
		w.start()
		after(5 * time.Second)
		n := w.networks.get("default")
		n.mu.Lock()
		modes := slices.Clone(n.modes)
		n.mu.Unlock()
		if slices.Contains(modes, drivers.NetworkNAT) {
			t.Errorf("the daemon was started anew, and its manifest broken: it was %v", modes)
		}
		list, err := w.m.ListNetworks(t.Context(), &api.ListNetworksRequest{Name: "default"})
		if err != nil || list.GetNetworks()[0].GetMode() != string(manifests.NetworkModeIsolated) {
			t.Errorf("shown are %v, %v", list.GetNetworks(), err)
		}
		w.stop()
		delete(w.files, "net.yaml")
		w.start()
		after(5 * time.Second)
		wantMode("without its manifest", drivers.NetworkNAT)
	})
	// A broken manifest is not what nothing said is.
	inWorld(t, func(t *testing.T, w *world) {
		w.files["net.yaml"] = strings.Replace(isolated, "Isolated", "Nat", 1)
		w.write("a.yaml", attached("a", "{name: default}", ""))
		after(5 * time.Second)
		if n := w.networks.get("default"); n != nil {
			t.Errorf("with a broken manifest, there is %+v", n.is())
		}
		w.write("net.yaml", isolated)
		after(time.Minute)
		w.wantPhase("a", manifests.PhaseRunning)
		if c := w.networks.get("default").is(); c.Mode != drivers.NetworkIsolated {
			t.Errorf("mended: it is %s", c.Mode)
		}
	})
}

func TestANetworkThatTellsNoMoreIsAttachedToAgain(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.write("a.yaml", attached("a", "{name: default}", ""))
		after(5 * time.Second)
		n := w.networks.get("default")
		for range 3 {
			n.mute <- struct{}{}
			after(time.Minute)
			w.wantCondition("a", manifests.ConditionNetworkAttached, "True", ReasonNetworkAttached, "")
		}
		n.mu.Lock()
		n.taken[8080] = "is taken"
		n.mu.Unlock()
		w.write("a.yaml", attached("a", "{name: default}", ", ports: [{containerPort: 80, hostPort: 8080}]"))
		after(5 * time.Second)
		w.wantCondition("a", manifests.ConditionNetworkAttached, "False", ReasonHostPortUnavailable, "is taken")
		if w.networks.launched != 1 {
			t.Errorf("%d processes were started", w.networks.launched)
		}
	})
}

func TestTheDefaultNetworkIsMadeAnewOnceNothingIsOnIt(t *testing.T) {
	const network = "apiVersion: vzreconciler.dev/v1alpha1\nkind: Network\nmetadata: {name: default}\nspec: {subnet: 10.9.0.0/24, mtu: 1400}\n"
	inWorld(t, func(t *testing.T, w *world) {
		w.write("a.yaml", attached("a", "{name: default}", ""))
		after(5 * time.Second)
		w.write("net.yaml", network)
		after(5 * time.Second)
		if p := w.m.lookup(manifests.NetworkKey("default")).problem; p == nil || p.Reason != ReasonImmutableField {
			t.Errorf("while a sandbox is on it: %+v", p)
		}
		w.remove("a.yaml")
		if _, err := w.m.ConfirmPrune(t.Context()); err != nil {
			t.Fatal(err)
		}
		after(time.Minute)
		if p := w.m.lookup(manifests.NetworkKey("default")).problem; p != nil {
			t.Errorf("once nothing is on it: %+v", p)
		}
		w.write("a.yaml", attached("a", "{name: default}", ""))
		after(5 * time.Second)
		if i := w.interfacesOf("a"); i[0].Gateway != netip.MustParseAddr("10.9.0.1") || i[0].MTU != 1400 {
			t.Errorf("interface %+v", i)
		}
	})
}

func TestLeases(t *testing.T) {
	r := networkRecord{Subnet: netip.MustParsePrefix("10.9.0.0/29")}
	gone := map[string]bool{}
	exists := func(id string) bool { return !gone[id] }
	assign := func(id, want string) (netip.Addr, error) {
		l, err := r.assign(id, manifests.NetworkAttachment{IPv4Address: want}, "02:00:00:00:00:"+id, "/s/"+id, exists)
		return l.Address, err
	}
	seen := map[netip.Addr]bool{}
	for _, id := range []string{"01", "02", "03", "04", "05"} { // all that there are but the gateway's
		a, err := assign(id, "")
		if err != nil || seen[a] || !r.assignable(a) {
			t.Fatalf("%s has %v, %v", id, a, err)
		}
		seen[a] = true
		if again, _ := assign(id, ""); again != a {
			t.Errorf("%s had %v and has %v", id, a, again)
		}
	}
	if a, err := assign("06", ""); !errors.Is(err, errNoAddress) {
		t.Errorf("a sixth has %v, %v", a, err)
	}
	had := r.Leases["03"].Address
	if _, err := assign("06", had.String()); !errors.Is(err, drivers.ErrInvalidArgument) {
		t.Errorf("another's address: %v", err)
	}
	gone["03"] = true
	if a, err := assign("06", ""); a != had {
		t.Errorf("the address of one that is gone: %v, %v", a, err)
	}
	for _, bad := range []string{"10.9.0.0", "10.9.0.1", "10.9.0.7", "10.9.1.2"} {
		if a, err := assign("07", bad); !errors.Is(err, drivers.ErrInvalidArgument) {
			t.Errorf("%s: %v, %v", bad, a, err)
		}
	}
}
