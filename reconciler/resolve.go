package reconciler

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/bundle"
)

// referred is what a sandbox's references come to.
type referred struct {
	configMaps map[string]*corev1.ConfigMap
	secrets    map[string]*corev1.Secret
	// missing are the references without which the sandbox cannot be built, for
	// people: "Secret default/token", "key a of ConfigMap default/web".
	missing []string
	// busy are the claims whose volumes others have, for people, and holders those
	// others.
	busy    []string
	holders []manifests.Key
	// waiting are the objects that come first, and what of them is awaited, for
	// people: "Sandbox default/db to be Ready (it is Starting)".
	waiting []string
	// hash stands for what everything referred to holds, as far as it is there.
	hash string
	// pull stands for the credentials that its images are fetched with.
	pull string
}

// resolve looks up what the sandbox as applied refers to. o.mu is held.
func (m *Manager) resolve(o *object) referred {
	r := referred{configMaps: map[string]*corev1.ConfigMap{}, secrets: map[string]*corev1.Secret{}}
	if len(o.references) == 0 && len(o.claims) == 0 {
		return r
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, ref := range o.references {
		c := m.configs[ref.Key]
		if c == nil || c.object == nil {
			// A class whose manifest cannot be read just now may mean another runtime.
			if !ref.Optional || c != nil && ref.Key.Kind == manifests.KindRuntimeClass {
				r.missing = append(r.missing, ref.Key.String())
			}
			continue
		}
		has := func(string) bool { return false }
		switch {
		case c.object.ConfigMap != nil:
			cm := c.object.ConfigMap
			r.configMaps[ref.Key.Name] = cm
			has = func(key string) bool {
				_, text := cm.Data[key]
				_, binary := cm.BinaryData[key]
				return text || binary
			}
		case c.object.Secret != nil:
			s := c.object.Secret
			r.secrets[ref.Key.Name] = s
			has = func(key string) bool {
				_, ok := s.Data[key]
				_, text := s.StringData[key]
				return ok || text
			}
		}
		for _, key := range ref.Keys {
			if !has(key) {
				r.missing = append(r.missing, fmt.Sprintf("key %s of %s", key, ref.Key))
			}
		}
	}
	m.resolveClaims(o, &r)
	r.hash = bundle.ConfigHash(o.record.Sandbox, r.configMaps, r.secrets)
	r.pull = pullHash(o.record.Sandbox, r.secrets)
	return r
}
