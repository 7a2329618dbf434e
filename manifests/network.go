package manifests

import (
	"crypto/sha256"
	"net"
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

const (
	maxNetworks = 4
	minMTU      = 1280
	maxMTU      = 65521
	// The subnet has at least a gateway and a few sandboxes, and its prefix says
	// where it is.
	minSubnetBits = 8
	maxSubnetBits = 29
)

// NetworkKey is the key of a Network, which has no namespace of its own.
func NetworkKey(name string) Key {
	return Key{Kind: KindNetwork, Namespace: DefaultNamespace, Name: name}
}

// Defaults returns the spec with its defaults, but for the subnet.
func (s NetworkSpec) Defaults() NetworkSpec {
	if s.Mode == "" {
		s.Mode = NetworkModeNAT
	}
	if s.MTU == 0 {
		s.MTU = DefaultMTU
	}
	return s
}

// setNetworkDefaults reads the annotation of what is written as a Pod, and gives
// published ports their address.
func setNetworkDefaults(s *Sandbox) {
	names := s.Annotations[AnnotationNetworks]
	if s.Spec.PodTemplate.ObjectMeta.Annotations[AnnotationNetworks] != "" {
		names = s.Spec.PodTemplate.ObjectMeta.Annotations[AnnotationNetworks]
	}
	if len(s.Spec.Networks) == 0 && names != "" {
		for name := range strings.SplitSeq(names, ",") {
			s.Spec.Networks = append(s.Spec.Networks, NetworkAttachment{Name: strings.TrimSpace(name)})
		}
	}
	for _, c := range s.Spec.PodTemplate.Spec.Containers {
		for i := range c.Ports {
			if c.Ports[i].HostPort != 0 && c.Ports[i].HostIP == "" {
				c.Ports[i].HostIP = DefaultHostIP
			}
		}
	}
}

// DefaultHostIP is where a published port is of which nothing else is said: nobody
// but this host reaches it.
const DefaultHostIP = "127.0.0.1"

func (r *report) validateNetwork(n *Network) {
	r.validateMeta(&n.ObjectMeta)
	meta, spec := field.NewPath("metadata"), field.NewPath("spec")
	if n.Namespace != DefaultNamespace {
		r.errorf(meta.Child("namespace"), "a Network is the host's, for sandboxes of every namespace: leave it out")
	}
	if messages := validation.IsDNS1123Label(n.Name); len(messages) > 0 {
		r.errorf(meta.Child("name"), "%s", join(messages))
	}
	s := n.Spec.Defaults()
	oneOf(r, spec.Child("mode"), s.Mode, NetworkModeNAT, NetworkModeIsolated)
	inRange(r, spec.Child("mtu"), int64(s.MTU), minMTU, maxMTU)
	if s.Subnet != "" {
		r.validateSubnet(spec.Child("subnet"), s.Subnet)
	}
}

func (r *report) validateSubnet(path *field.Path, text string) {
	p, err := netip.ParsePrefix(text)
	switch {
	case err != nil || !p.Addr().Is4():
		r.errorf(path, "want an IPv4 subnet like 10.213.7.0/24, have %q", clip(text))
	case p != p.Masked():
		r.errorf(path, "the subnet's own address is %s", p.Masked())
	case p.Bits() < minSubnetBits || p.Bits() > maxSubnetBits:
		r.errorf(path, "the prefix's length is not between %d and %d", minSubnetBits, maxSubnetBits)
	case p.Addr().IsLoopback() || p.Addr().IsMulticast() || p.Addr().IsLinkLocalUnicast() || p.Addr().As4()[0] == 0 || p.Addr().As4()[0] >= 240:
		r.errorf(path, "%s has another meaning", p)
	}
}

// validateNetworks checks what a sandbox is attached to, as its spec says or else
// the annotation among those at a path.
func (r *report) validateNetworks(annotations *field.Path, s *Sandbox) {
	path := field.NewPath("spec", "networks")
	written := !r.root.get("spec").get("networks").isNull()
	if !written {
		path = keyed(annotations, AnnotationNetworks)
	}
	at := func(i int, child string) *field.Path {
		if !written {
			return path
		}
		return path.Index(i).Child(child)
	}
	if len(s.Spec.Networks) > maxNetworks {
		r.errorf(path, "%d are more than %d", len(s.Spec.Networks), maxNetworks)
	}
	seen := map[string]bool{}
	for i, n := range s.Spec.Networks {
		switch messages := validation.IsDNS1123Label(n.Name); {
		case len(messages) > 0 && !written:
			r.errorf(path, "network %q: %s", clip(n.Name), join(messages))
		case len(messages) > 0:
			r.errorf(at(i, "name"), "%s", join(messages))
		case seen[n.Name]:
			r.errorf(at(i, "name"), "the sandbox is on network %s already", n.Name)
		}
		seen[n.Name] = true
		if n.IPv4Address != "" {
			if a, err := netip.ParseAddr(n.IPv4Address); err != nil || !a.Is4() {
				r.errorf(at(i, "ipv4Address"), "want an IPv4 address, have %q", clip(n.IPv4Address))
			}
		}
		if n.MACAddress != "" {
			if mac, err := net.ParseMAC(n.MACAddress); err != nil || len(mac) != 6 || mac[0]&1 != 0 {
				r.errorf(at(i, "macAddress"), "want the address of one interface, like 02:00:00:00:00:01, have %q", clip(n.MACAddress))
			}
		}
		if n.MTU != 0 {
			inRange(r, at(i, "mtu"), int64(n.MTU), minMTU, maxMTU)
		}
	}
}

// validateHostPorts checks the ports of the host that a sandbox publishes.
func (r *report) validateHostPorts(s *Sandbox, pod *field.Path) {
	type published struct {
		protocol corev1.Protocol
		ip       string
		port     int32
	}
	for i, c := range s.Spec.PodTemplate.Spec.InitContainers {
		for j, p := range c.Ports {
			at := pod.Child("initContainers").Index(i).Child("ports").Index(j)
			if p.HostPort != 0 {
				r.errorf(at.Child("hostPort"), "must not be set: an init container runs to its end")
			}
			if p.HostIP != "" {
				r.errorf(at.Child("hostIP"), "must not be set: an init container runs to its end")
			}
		}
	}
	seen := map[published]bool{}
	for i, c := range s.Spec.PodTemplate.Spec.Containers {
		for j, p := range c.Ports {
			at := pod.Child("containers").Index(i).Child("ports").Index(j)
			if p.HostPort == 0 {
				if p.HostIP != "" {
					r.errorf(at.Child("hostIP"), "has no meaning without hostPort")
				}
				continue
			}
			if messages := validation.IsValidPortNum(int(p.HostPort)); len(messages) > 0 {
				r.errorf(at.Child("hostPort"), "%s", join(messages))
			}
			if ip, err := netip.ParseAddr(p.HostIP); err != nil || ip.Zone() != "" {
				r.errorf(at.Child("hostIP"), "want an IP address, have %q", clip(p.HostIP))
			}
			if len(s.Spec.Networks) == 0 {
				r.errorf(at.Child("hostPort"), "needs a network: add networks: [{name: %s}] to the Sandbox's spec, or to a Pod the annotation %s: %s",
					DefaultNetwork, AnnotationNetworks, DefaultNetwork)
			}
			k := published{p.Protocol, p.HostIP, p.HostPort}
			if seen[k] {
				r.errorf(at.Child("hostPort"), "%s %s is published by another port of the sandbox too", p.HostIP, p.Protocol)
			}
			seen[k] = true
		}
	}
}

// MACOf is the hardware address of a sandbox's interface on a network, if none was
// chosen: always the same.
func MACOf(network string, sandbox Key) string {
	sum := sha256.Sum256([]byte(network + "\x00" + sandbox.Namespace + "/" + sandbox.Name))
	mac := net.HardwareAddr(sum[:6])
	mac[0] = mac[0]&^1 | 2 // of one interface, and administered here
	return mac.String()
}
