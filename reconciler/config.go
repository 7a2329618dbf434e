package reconciler

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/vzreconciler/vzreconciler/internal/state"
	"github.com/vzreconciler/vzreconciler/internal/volumes"
	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/bundle"
)

// config is a ConfigMap, a Secret, a PersistentVolumeClaim, a SandboxTemplate, a
// RuntimeClass or a Network: nothing runs for it by itself, sandboxes use it, or are
// made from it. What it holds is only known from the manifests; a Secret is
// never on disk.
type config struct {
	identity configIdentity
	// object is nil until a manifest with it was seen since the daemon started.
	object *manifests.Object
	// problem is the manifest's, unbound that of what it stands for: a claim's volume,
	// a network.
	problem, unbound *problem
	volume           *volumes.Volume
}

// trouble says why the object is not as its manifest says, nil if it is.
func (c *config) trouble() *problem {
	if c == nil || c.problem == nil && c.unbound == nil {
		return nil
	}
	if c.problem != nil {
		return c.problem
	}
	return c.unbound
}

// configIdentity is the durable part of a config.
type configIdentity struct {
	Key               manifests.Key      `json:"key"`
	UID               types.UID          `json:"uid"`
	Generation        int64              `json:"generation"`
	CreationTimestamp metav1.Time        `json:"creationTimestamp"`
	Source            manifests.Position `json:"source"`
	// Hash is of the manifest, with the identity's UID as salt: it must not tell
	// anything about a secret.
	Hash string `json:"hash"`
	// Fixed is the same of what cannot be changed any more; empty if all can.
	Fixed string `json:"fixed,omitempty"`
}

// configInventory is the content of the inventory file.
type configInventory struct {
	Version int              `json:"version"`
	Configs []configIdentity `json:"configs"`
}

func (c *config) hash(obj *manifests.Object) string {
	h := sha256.New()
	h.Write([]byte(c.identity.UID))
	h.Write(obj.Manifest)
	writeData(h, obj)
	return hex.EncodeToString(h.Sum(nil))
}

// fixed is the hash of what of an object cannot be changed once it was taken in:
// the data of one that says that it is immutable, the handler of a RuntimeClass.
func (c *config) fixed(obj *manifests.Object) string {
	h := sha256.New()
	h.Write([]byte(c.identity.UID))
	switch {
	case obj.RuntimeClass != nil:
		h.Write([]byte(obj.RuntimeClass.Handler))
	case obj.ConfigMap != nil && isSet(obj.ConfigMap.Immutable), obj.Secret != nil && isSet(obj.Secret.Immutable):
		writeData(h, obj)
	default:
		return ""
	}
	return hex.EncodeToString(h.Sum(nil))
}

func isSet(b *bool) bool { return b != nil && *b }

func writeData(h io.Writer, obj *manifests.Object) {
	switch {
	case obj.Secret != nil:
		for _, k := range sortedKeys(obj.Secret.Data) {
			fmt.Fprintf(h, "%d:%s%d:%s", len(k), k, len(obj.Secret.Data[k]), obj.Secret.Data[k])
		}
	case obj.ConfigMap != nil:
		for _, k := range sortedKeys(obj.ConfigMap.Data) {
			fmt.Fprintf(h, "%d:%s%d:%s", len(k), k, len(obj.ConfigMap.Data[k]), obj.ConfigMap.Data[k])
		}
		for _, k := range sortedKeys(obj.ConfigMap.BinaryData) {
			fmt.Fprintf(h, "%d:%s%d:%s", len(k), k, len(obj.ConfigMap.BinaryData[k]), obj.ConfigMap.BinaryData[k])
		}
	}
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func (m *Manager) loadConfigs() error {
	var inv configInventory
	path := m.opts.StateDir.Inventory()
	err := state.ReadJSON(path, &inv)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && inv.Version != recordVersion {
		err = fmt.Errorf("read %s: %w", path, errRecordVersion)
	}
	if err != nil {
		return fmt.Errorf("load the inventory: %w", err)
	}
	for _, id := range inv.Configs {
		m.configs[id.Key] = &config{identity: id}
	}
	return nil
}

// saveConfigs writes the inventory file. m.mu is held.
func (m *Manager) saveConfigs() error {
	inv := configInventory{Version: recordVersion, Configs: make([]configIdentity, 0, len(m.configs))}
	for _, c := range m.configs {
		if c.identity.UID != "" {
			inv.Configs = append(inv.Configs, c.identity)
		}
	}
	slices.SortFunc(inv.Configs, func(a, b configIdentity) int { return compareKeys(a.Key, b.Key) })
	return state.WriteJSON(m.opts.StateDir.Inventory(), &inv)
}

// configFiles returns the file that each config object came from.
func (m *Manager) configFiles() map[manifests.Key]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	files := make(map[manifests.Key]string, len(m.configs)+len(m.objects))
	for key, c := range m.configs {
		files[key] = c.identity.Source.File
	}
	return files
}

// lookAtConfigs takes in the verdicts on config objects, and wakes the sandboxes
// that use one which has changed.
func (m *Manager) lookAtConfigs(verdicts map[manifests.Key]verdict) {
	defer m.kickNetworks(verdicts)
	m.mu.Lock()
	defer m.mu.Unlock()
	dirty := false
	for key, v := range verdicts {
		was := m.configs[key]
		if !key.IsConfig() || v.open || !m.followsConfig(was, v) {
			continue
		}
		if v.gone {
			if was != nil {
				delete(m.configs, key)
				delete(m.synced.confirmed, key)
				dirty = true
				m.hub.removed(key, was.view())
				m.wakeUsers(key)
				if key.Kind == manifests.KindPersistentVolumeClaim {
					m.reclaim(key)
				}
			}
			continue
		}
		now, changed, durable := nextConfig(key, was, v)
		if changed || was.unbound != nil { // What could not be done is tried again.
			m.bindClaim(now)
			m.bindNetwork(now)
		}
		if !changed && now.trouble().equal(was.trouble()) {
			continue
		}
		dirty = dirty || durable
		m.configs[key] = now
		if p := now.trouble(); p != nil && !p.equal(was.trouble()) && !p.ofSource() {
			m.event(key, eventWarning, p.Reason, "%s", p.Message)
		}
		m.hub.changed(key)
		m.wakeUsers(key)
	}
	if dirty {
		if err := m.saveConfigs(); err != nil {
			m.log.Error("keep the inventory", "error", err)
		}
	}
}

// nextConfig returns what becomes of a config object, whether that is a change,
// and whether its identity changed too. The old one is left as it is.
func nextConfig(key manifests.Key, was *config, v verdict) (now *config, changed, durable bool) {
	if was == nil {
		was = &config{identity: configIdentity{Key: key}}
		changed = true
	}
	next := *was
	if fixed := was.identity.Fixed; v.object != nil && fixed != "" && was.fixed(v.object) != fixed {
		v = verdict{problem: &problem{ReasonImmutableField, fmt.Sprintf(
			"%s: it is immutable and stays as it was: give the new one another name, or remove the old one first", v.object.Position)}}
	}
	if !next.problem.equal(v.problem) {
		next.problem = v.problem
		changed = true
	}
	if v.object == nil {
		return &next, changed, false
	}
	id := &next.identity
	if id.UID == "" {
		id.UID, id.CreationTimestamp = newUID(), metav1.NewTime(time.Now().Truncate(time.Second))
		durable = true
	}
	if next.object == nil || !bytes.Equal(next.object.Manifest, v.object.Manifest) || next.hash(next.object) != next.hash(v.object) {
		if h := next.hash(v.object); h != id.Hash {
			id.Hash = h
			id.Generation++
			durable = true
		}
		id.Fixed = next.fixed(v.object)
		changed = true
	}
	if next.object != nil && !sameRevision(next.object.Revision, v.object.Revision) {
		changed = true
	}
	if id.Source != v.object.Position {
		id.Source = v.object.Position
		changed, durable = true, true
	}
	next.object = v.object
	return &next, changed, durable
}

// wakeUsers wakes what refers to an object. m.mu is held.
func (m *Manager) wakeUsers(key manifests.Key) {
	if key.Kind == manifests.KindSandboxTemplate {
		m.wakeWarm(key.Namespace, manifests.KindSandboxWarmPool, manifests.KindSandboxClaim)
	}
	for user := range m.users[key] {
		m.queue.Add(user)
	}
}

// refer notes what the sandbox as applied refers to. o.mu is held.
func (m *Manager) refer(o *object) {
	was, awaited := slices.Collect(o.used()), o.dependencies
	o.references, o.claims, o.dependencies = o.record.Sandbox.References(), o.record.Sandbox.Claims(), nil
	o.live = bundle.LiveHash(o.record.Sandbox)
	for _, d := range o.record.Sandbox.Spec.DependsOn {
		o.dependencies = append(o.dependencies, d.Key(o.key.Namespace))
	}
	m.use(o, was, awaited)
}

func (m *Manager) unrefer(o *object) {
	was, awaited := slices.Collect(o.used()), o.dependencies
	o.references, o.claims, o.dependencies = nil, nil, nil
	m.use(o, was, awaited)
}

// use makes the sandbox one of the users of what it refers to now, and no longer of
// what it did before, in one go: what is used all the time is never seen unused.
// o.mu is held.
func (m *Manager) use(o *object, was, awaited []manifests.Key) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := map[manifests.Key]bool{}
	for key := range o.used() {
		now[key] = true
		users := m.users[key]
		if users == nil {
			users = map[manifests.Key]struct{}{}
			m.users[key] = users
		}
		users[o.key] = struct{}{}
	}
	for _, key := range was {
		if now[key] {
			continue
		}
		delete(m.users[key], o.key)
		if len(m.users[key]) == 0 {
			delete(m.users, key)
			if key.Kind == manifests.KindNetwork {
				m.kickNetwork(key.Name) // It may have waited for the end of this one.
			}
		}
	}
	for _, key := range awaited {
		if !now[key] {
			m.queue.Add(key) // It may wait for the end of this one.
		}
	}
}

// used gives out what the sandbox as applied refers to. o.mu is held.
func (o *object) used() iter.Seq[manifests.Key] {
	return func(yield func(manifests.Key) bool) {
		for _, ref := range o.references {
			if !yield(ref.Key) {
				return
			}
		}
		for _, key := range o.dependencies {
			if !yield(key) {
				return
			}
		}
		for _, c := range o.claims {
			if c.Template != nil && !yield(claimKey(o.key.Namespace, c.Name)) {
				return
			}
		}
	}
}

// newUID returns a random UUID.
func newUID() types.UID {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return types.UID(fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:]))
}
