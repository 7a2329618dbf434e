package manifests

import (
	"strings"
	"testing"
)

func TestNetworkAndWhatIsOnIt(t *testing.T) {
	n := one(t, "apiVersion: vzreconciler.dev/v1alpha1\nkind: Network\nmetadata: {name: back}\nspec: {mode: Isolated, subnet: 10.9.0.0/24}\n")
	if n.Key != NetworkKey("back") || n.Network.Spec.Defaults() != (NetworkSpec{Mode: NetworkModeIsolated, Subnet: "10.9.0.0/24", MTU: 1500}) {
		t.Errorf("got %v %+v", n.Key, n.Network.Spec.Defaults())
	}
	bare := one(t, "apiVersion: vzreconciler.dev/v1alpha1\nkind: Network\nmetadata: {name: a}\n")
	if d := bare.Network.Spec.Defaults(); d.Mode != NetworkModeNAT || d.MTU != DefaultMTU {
		t.Errorf("defaults %+v", d)
	}
	s := one(t, sandboxWith(map[string]string{
		"spec": "networks: [{name: default}, {name: back}]", "container": "ports: [{containerPort: 80, hostPort: 8080}]",
	})).Sandbox
	if p := s.Spec.PodTemplate.Spec.Containers[0].Ports[0]; p.HostIP != "127.0.0.1" {
		t.Errorf("hostIP %q: an address that others reach has to be asked for", p.HostIP)
	}
	refs := s.References()
	if len(refs) != 2 || refs[0].Key != NetworkKey("back") || refs[0].Optional || !refs[1].Optional {
		t.Errorf("references %+v: only the default network is there without a manifest", refs)
	}
	plain := one(t, sandboxWith(map[string]string{"spec": "networks: [{name: default}, {name: back}]"})).Sandbox
	if c := Classify(plain, s); c.Class != ChangeLive {
		t.Errorf("a port costs %v", c)
	}
}

func TestPodNamesItsNetworksInAnAnnotation(t *testing.T) {
	const pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: web, annotations: {vzreconciler.dev/networks: 'default, back'}}\n" +
		"spec: {containers: [{name: a, image: b, ports: [{containerPort: 80, hostPort: 80}]}]}\n"
	s := one(t, pod).Sandbox
	if len(s.Spec.Networks) != 2 || s.Spec.Networks[0].Name != "default" || s.Spec.Networks[1].Name != "back" {
		t.Errorf("networks %+v", s.Spec.Networks)
	}
	_, errs := Parse("x.yaml", []byte(strings.Replace(pod, "default, back", "Not A Name", 1)))
	if len(errs) != 1 || errs[0].Line != 3 {
		t.Errorf("got %q", texts(errs))
	}
}

func TestWrongNetworksAreRefused(t *testing.T) {
	network := func(spec string) string {
		return "apiVersion: vzreconciler.dev/v1alpha1\nkind: Network\nmetadata: {name: a}\nspec: {" + spec + "}\n"
	}
	for text, want := range map[string]string{
		network("mode: Bridge"):            "must be NAT or Isolated",
		network("mode: None"):              "must be NAT or Isolated",
		network("subnet: 10.0.0.1/24"):     "the subnet's own address is 10.0.0.0/24",
		network("subnet: fd00::/64"):       "want an IPv4 subnet",
		network("subnet: 10.0.0.0/31"):     "prefix's length",
		network("subnet: 127.0.0.0/16"):    "has another meaning",
		network("ipv6Subnet: 'fd00::/64'"): "ipv6Subnet is not supported yet: networks are IPv4",
		network("mtu: 100"):                "mtu",
		"apiVersion: vzreconciler.dev/v1alpha1\nkind: Network\nmetadata: {name: a, namespace: b}\n":                                                                 "of every namespace",
		sandboxWith(map[string]string{"container": "ports: [{containerPort: 80, hostPort: 8080}]"}):                                                                 "needs a network: add networks: [{name: default}]",
		sandboxWith(map[string]string{"spec": "networks: [{name: a}, {name: a}]"}):                                                                                  "is on network a already",
		sandboxWith(map[string]string{"spec": "networks: [{name: a, macAddress: '01:00:5e:00:00:01'}]"}):                                                            "address of one interface",
		sandboxWith(map[string]string{"spec": "networks: [{name: a, ipv4Address: '::1'}]"}):                                                                         "want an IPv4 address",
		sandboxWith(map[string]string{"spec": "networks: [{name: a}]", "container": "ports: [{containerPort: 80, hostPort: 1}, {containerPort: 81, hostPort: 1}]"}): "is published by another port",
		sandboxWith(map[string]string{"spec": "networks: [{name: a}]", "container": "ports: [{containerPort: 80, hostIP: 127.0.0.1}]"}):                             "no meaning without hostPort",
	} {
		_, errs := Parse("x.yaml", []byte(text))
		if len(errs) != 1 || !strings.Contains(errs[0].Error(), want) {
			t.Errorf("%s: got %q, want one error with %q", text, texts(errs), want)
		}
	}
}
