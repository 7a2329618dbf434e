package reconciler

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/vzreconciler/vzreconciler/internal/volumes"
	"github.com/vzreconciler/vzreconciler/manifests"
)

// ReasonVolumeShrinks means that a claim asks for less than its volume has.
const ReasonVolumeShrinks = "VolumeCannotShrink"

// ReasonVolumeNotOwned means that the claim of an ephemeral volume has the name of
// one that was not made for the sandbox.
const ReasonVolumeNotOwned = "VolumeNotOwned"

// ClaimUse is a claim as a VM was built with it.
type ClaimUse struct {
	Name     string `json:"name"`
	ReadOnly bool   `json:"readOnly,omitempty"`
}

// attachments says which sandboxes' VMs have which volumes, and whether they may
// write to them: one that writes is alone. They are by claim, then by sandbox.
type attachments map[manifests.Key]map[manifests.Key]bool

func claimKey(namespace, name string) manifests.Key {
	return manifests.Key{Kind: manifests.KindPersistentVolumeClaim, Namespace: namespace, Name: name}
}

// conflict returns a sandbox whose use of a claim leaves no room for this one's.
func (a attachments) conflict(claim, user manifests.Key, writes bool) (manifests.Key, bool) {
	for other, otherWrites := range a[claim] {
		if other != user && (writes || otherWrites) {
			return other, true
		}
	}
	return manifests.Key{}, false
}

func (a attachments) add(claim, user manifests.Key, writes bool) {
	if a[claim] == nil {
		a[claim] = map[manifests.Key]bool{}
	}
	a[claim][user] = writes
}

// remove takes a sandbox away from every claim and returns those that it had.
func (a attachments) remove(user manifests.Key) []manifests.Key {
	var had []manifests.Key
	for claim, users := range a {
		if _, ok := users[user]; !ok {
			continue
		}
		had = append(had, claim)
		if delete(users, user); len(users) == 0 {
			delete(a, claim)
		}
	}
	return had
}

// claimSpec returns what a sandbox's claim says, nil if its manifest is not there.
// m.mu is held.
func (m *Manager) claimSpec(namespace string, c manifests.Claim) (*corev1.PersistentVolumeClaimSpec, map[string]string) {
	if c.Template != nil {
		return &c.Template.Spec, c.Template.ObjectMeta.Annotations
	}
	if cfg := m.configs[claimKey(namespace, c.Name)]; cfg != nil && cfg.object != nil {
		return &cfg.object.Claim.Spec, cfg.object.Claim.Annotations
	}
	return nil, nil
}

// resolveClaims looks up which claims cannot be had now, other than for want of
// their manifest. m.mu is held.
func (m *Manager) resolveClaims(o *object, r *referred) {
	for _, c := range o.claims {
		key := claimKey(o.key.Namespace, c.Name)
		spec, _ := m.claimSpec(o.key.Namespace, c)
		if spec == nil {
			continue
		}
		if !c.ReadOnly && !writable(spec) {
			r.missing = append(r.missing, fmt.Sprintf("leave to write to %s (its accessModes have only ReadOnlyMany: mount it with readOnly: true)", key))
			continue
		}
		if other, ok := m.attached.conflict(key, o.key, !c.ReadOnly); ok {
			r.holders = append(r.holders, other)
			r.busy = append(r.busy, fmt.Sprintf("%s, which %s uses now (several sandboxes can have a claim only if all mount it with readOnly: true)", key, other))
		}
	}
}

func writable(c *corev1.PersistentVolumeClaimSpec) bool {
	return slices.Contains(c.AccessModes, corev1.ReadWriteOnce) || slices.Contains(c.AccessModes, corev1.ReadWriteOncePod)
}

// attachClaims gives the sandbox's next VM its volumes, and no others. It reports
// whether they can be had: another sandbox may have been faster. o.mu is held.
func (m *Manager) attachClaims(o *object) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	var r referred
	if m.resolveClaims(o, &r); len(r.missing)+len(r.busy) > 0 {
		return false
	}
	had := m.attached.remove(o.key)
	for _, c := range o.claims {
		m.attached.add(claimKey(o.key.Namespace, c.Name), o.key, !c.ReadOnly)
	}
	o.holding = len(o.claims) > 0
	m.released(had)
	return true
}

// awaitClaims notes which sandboxes have the volumes that this one, of which all
// else is at hand, waits for. o.mu is held.
func (m *Manager) awaitClaims(o *object, holders []manifests.Key) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(holders) == 0 {
		delete(m.awaited, o.key)
	} else if !slices.Equal(m.awaited[o.key], holders) {
		m.awaited[o.key] = holders
		for _, key := range holders {
			m.queue.Add(key)
		}
	}
}

// yields reports whether something that a sandbox waits for waits in turn for a
// volume that this one has: neither would ever get further. o.mu is held.
func (m *Manager) yields(o *object) bool {
	if !o.holding {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	seen := map[manifests.Key]bool{o.key: true}
	next := []*manifests.Sandbox{o.record.Sandbox}
	for len(next) > 0 {
		s := next[0]
		next = next[1:]
		for _, d := range s.Spec.DependsOn {
			key := d.Key(o.key.Namespace)
			on := m.objects[key]
			if on == nil || seen[key] {
				continue
			}
			seen[key] = true
			v := on.view.Load()
			switch {
			case v == nil || v.sandbox == nil || met(d.Condition, &v.status):
			case slices.Contains(m.awaited[key], o.key):
				return true
			default:
				next = append(next, v.sandbox)
			}
		}
	}
	return false
}

// detachClaims takes the volumes from a sandbox that has no VM and is to have
// none: where another is to follow, nobody may come between. o.mu is held.
func (m *Manager) detachClaims(o *object) {
	if !o.holding {
		return
	}
	o.holding = false
	m.mu.Lock()
	defer m.mu.Unlock()
	m.released(m.attached.remove(o.key))
}

// released lets others have volumes, or removes those that nobody is to have any
// more. m.mu is held.
func (m *Manager) released(claims []manifests.Key) {
	for _, claim := range claims {
		m.wakeUsers(claim)
		m.reclaim(claim)
	}
}

// holdClaims notes what the VM that may have outlived an earlier daemon has.
func (m *Manager) holdClaims(o *object) {
	if o.record.Built == nil {
		return
	}
	o.holding = len(o.record.Built.Claims) > 0
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range o.record.Built.Claims {
		m.attached.add(claimKey(o.key.Namespace, c.Name), o.key, !c.ReadOnly)
	}
}

// reclaim removes the volume of a claim that is gone, if it says so and nothing
// has or wants it. m.mu is held.
func (m *Manager) reclaim(claim manifests.Key) {
	if m.configs[claim] != nil || len(m.users[claim]) > 0 || len(m.attached[claim]) > 0 {
		return
	}
	v, err := m.volumes.Get(claim.Namespace, claim.Name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return
	case err == nil && !v.DeleteWithClaim:
		return
	case err == nil:
		err = m.volumes.Remove(claim.Namespace, claim.Name)
	}
	if err != nil {
		m.event(claim, eventWarning, "VolumeDeleteFailed", "%v", err)
		return
	}
	m.event(claim, eventNormal, "VolumeDeleted", "its volume was removed, as its reclaim policy says")
}

// reclaimTemplates does so for the claims that were made from a sandbox's
// templates, when that is gone or may have others.
func (m *Manager) reclaimTemplates(namespace string, claims []manifests.Claim) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range claims {
		m.reclaim(claimKey(namespace, c.Name))
	}
}

// ensureVolume makes the volume of a claim that was accepted what the claim says.
func (m *Manager) ensureVolume(claim manifests.Key, spec *corev1.PersistentVolumeClaimSpec, annotations map[string]string) (volumes.Volume, error) {
	remove := annotations[manifests.ReclaimPolicyAnnotation] == string(corev1.PersistentVolumeReclaimDelete)
	return m.volumes.Ensure(claim.Namespace, claim.Name, manifests.ClaimBytes(spec), remove)
}

// bindClaim makes the volume of a claim object, or says what is wrong with the
// claim.
func (m *Manager) bindClaim(c *config) {
	if c.object == nil || c.object.Claim == nil {
		return
	}
	v, err := m.ensureVolume(c.identity.Key, &c.object.Claim.Spec, c.object.Claim.Annotations)
	c.volume, c.unbound = &v, nil
	if errors.Is(err, volumes.ErrShrink) {
		have := resource.NewQuantity(v.SizeBytes, resource.BinarySI)
		c.unbound = &problem{ReasonVolumeShrinks, fmt.Sprintf("%s: the volume has %s, and %s are asked for: a volume cannot shrink; it stays as it is",
			c.object.Position, have, c.object.Claim.Spec.Resources.Requests.Storage())}
	} else if err != nil {
		c.unbound = &problem{"VolumeFailed", err.Error()}
	}
}

// prepareVolumes returns the volume of each claim of the sandbox, whose UID is owner.
func (m *Manager) prepareVolumes(ctx context.Context, o *object, owner types.UID, claims []manifests.Claim) (map[string]volumes.Volume, error) {
	found := make(map[string]volumes.Volume, len(claims))
	for _, c := range claims {
		key := claimKey(o.key.Namespace, c.Name)
		m.mu.Lock()
		spec, annotations := m.claimSpec(o.key.Namespace, c)
		taken := c.Ephemeral && m.configs[key] != nil
		m.mu.Unlock()
		if spec == nil {
			return nil, fmt.Errorf("%s is missing", key)
		}
		err := volumes.ErrNotOwner
		switch {
		case taken:
		case c.Ephemeral:
			_, err = m.volumes.EnsureOwned(key.Namespace, key.Name, manifests.ClaimBytes(spec), string(owner))
		default:
			_, err = m.ensureVolume(key, spec, annotations)
		}
		if errors.Is(err, volumes.ErrNotOwner) {
			return nil, &problem{ReasonVolumeNotOwned, fmt.Sprintf("%s would be that of an ephemeral volume, but was not made for this sandbox: rename the volume or the sandbox", key)}
		}
		if err != nil && !errors.Is(err, volumes.ErrShrink) {
			return nil, err
		}
		// What an earlier daemon has made is not on record yet.
		v, err := m.volumes.NoteUse(key.Namespace, key.Name)
		if err != nil {
			return nil, err
		}
		if err := checkLost(key, v); err != nil {
			return nil, err
		}
		if err := m.populate(ctx, key, spec, v); err != nil {
			return nil, err
		}
		found[c.Name] = v
	}
	return found, nil
}

// checkLost fails for a volume that has lost its disk: a new one in its place would
// be empty.
func checkLost(claim manifests.Key, v volumes.Volume) error {
	lost, err := v.Lost()
	if err != nil || !lost {
		return err
	}
	return &problem{ReasonVolumeLost, fmt.Sprintf("the volume of %s has lost its disk: put %s back, or give up what was on it: \"vzctl volume rm %s -n %s\", while no sandbox has it",
		claim, v.Disk(), claim.Name, claim.Namespace)}
}

// claimUses is what a VM that is built now has.
func claimUses(s *manifests.Sandbox) []ClaimUse {
	var uses []ClaimUse
	for _, c := range s.Claims() {
		uses = append(uses, ClaimUse{Name: c.Name, ReadOnly: c.ReadOnly})
	}
	return uses
}

// claimStatus is what is true of a claim, in Kubernetes' words. A larger size than
// the disk's waits for a sandbox to be started with it.
func claimStatus(c *config) *manifests.ClaimStatus {
	st := &manifests.ClaimStatus{
		PersistentVolumeClaimStatus: corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimPending},
		Source:                      &manifests.Source{Position: c.identity.Source, Revision: c.object.Revision},
	}
	if c.volume == nil || c.volume.SizeBytes == 0 {
		return st
	}
	st.Phase = corev1.ClaimBound
	st.AccessModes = c.object.Claim.Spec.AccessModes
	size, _, err := c.volume.Usage()
	if err != nil || size == 0 {
		size = c.volume.SizeBytes
	}
	st.Capacity = corev1.ResourceList{corev1.ResourceStorage: *resource.NewQuantity(size, resource.BinarySI)}
	if size < c.volume.SizeBytes {
		st.Conditions = append(st.Conditions, corev1.PersistentVolumeClaimCondition{
			Type: corev1.PersistentVolumeClaimFileSystemResizePending, Status: corev1.ConditionTrue,
			LastTransitionTime: metav1.NewTime(c.identity.CreationTimestamp.Time),
			Message:            "the volume grows when a sandbox is started with it",
		})
	}
	return st
}
