package wire

import "github.com/vzreconciler/vzreconciler/drivers"

// FromLive returns the message for what can change of a sandbox.
func FromLive(l drivers.Live) *Live {
	m := &Live{Nameservers: l.DNS.Nameservers, Searches: l.DNS.Searches, DnsOptions: l.DNS.Options}
	for _, c := range l.Limits {
		m.Limits = append(m.Limits, &ContainerLimits{Container: c.Container, CpuMillis: c.CPUMillis, MemoryBytes: c.MemoryBytes})
	}
	for _, a := range l.HostAliases {
		m.HostAliases = append(m.HostAliases, &HostAlias{Ip: a.IP, Hostnames: a.Hostnames})
	}
	return m
}

// ToLive is the inverse of FromLive.
func ToLive(m *Live) drivers.Live {
	l := drivers.Live{DNS: drivers.DNS{Nameservers: m.GetNameservers(), Searches: m.GetSearches(), Options: m.GetDnsOptions()}}
	for _, c := range m.GetLimits() {
		l.Limits = append(l.Limits, drivers.ContainerLimits{Container: c.GetContainer(), CPUMillis: c.GetCpuMillis(), MemoryBytes: c.GetMemoryBytes()})
	}
	for _, a := range m.GetHostAliases() {
		l.HostAliases = append(l.HostAliases, drivers.HostAlias{IP: a.GetIp(), Hostnames: a.GetHostnames()})
	}
	return l
}
