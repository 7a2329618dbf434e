package bundle

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/vzreconciler/vzreconciler/manifests"
)

// ConfigHash is a hash over what a sandbox takes from ConfigMaps and Secrets: it
// changes when a sandbox of the same spec would be made differently, not when
// another key of the same object changes. What is missing is left out. The maps
// are as in Input.
//
// It does not give secrets away but could confirm a guess: keep it private.
func ConfigHash(s *manifests.Sandbox, configMaps map[string]*corev1.ConfigMap, secrets map[string]*corev1.Secret) string {
	t := gather(s, configMaps, secrets)
	h := sha256.New()
	for _, u := range slices.SortedFunc(maps.Keys(t.used), func(a, b use) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.name, b.name), cmp.Compare(a.key, b.key))
	}) {
		fmt.Fprintf(h, "%s %q %q %q\n", u.kind, u.name, u.key, t.used[u])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Secrets returns the values of secrets that a sandbox takes, by the names that
// its Configuration has for them. What is missing is left out. The maps are as in
// Input.
func Secrets(s *manifests.Sandbox, configMaps map[string]*corev1.ConfigMap, secrets map[string]*corev1.Secret) map[string][]byte {
	return gather(s, configMaps, secrets).secrets
}

// gather looks at all that a sandbox takes from ConfigMaps and Secrets.
func gather(s *manifests.Sandbox, configMaps map[string]*corev1.ConfigMap, secrets map[string]*corev1.Secret) *translation {
	t := newTranslation(Input{Sandbox: s, ConfigMaps: configMaps, Secrets: secrets})
	pod := &s.Spec.PodTemplate.Spec
	for _, c := range s.AllContainers() {
		t.environment("", pod.Hostname, &c, nil).list()
	}
	t.volumes(pod.Volumes)
	return t
}
