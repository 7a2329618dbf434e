package bundle

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/manifests"
)

// Live returns what of a sandbox's Configuration can change while it runs. Init
// containers are no part of it: they have run.
func Live(s *manifests.Sandbox) drivers.Live {
	pod := &s.Spec.PodTemplate.Spec
	l := drivers.Live{DNS: dns(pod.DNSConfig), HostAliases: hostAliases(pod)}
	for _, c := range pod.Containers {
		l.Limits = append(l.Limits, drivers.ContainerLimits{
			Container: c.Name, CPUMillis: c.Resources.Limits.Cpu().MilliValue(), MemoryBytes: c.Resources.Limits.Memory().Value(),
		})
	}
	return l
}

// LiveHash tells whether two sandboxes have the same of what can change.
func LiveHash(s *manifests.Sandbox) string {
	data, err := json.Marshal(Live(s))
	if err != nil { // which strings and numbers cannot bring about
		return err.Error()
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
