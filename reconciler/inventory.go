package reconciler

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/vzreconciler/vzreconciler/internal/state"
	"github.com/vzreconciler/vzreconciler/manifests"
)

// load reads the inventory: the record in each bundle, and the list of config
// objects. What cannot be read is kept and left alone: it may belong to a
// sandbox that runs.
func (m *Manager) load() error {
	if err := errors.Join(m.loadConfigs(), m.loadSuspension()); err != nil {
		return err
	}
	if err := m.loadWorkloads(); err != nil {
		return err
	}
	root := m.opts.StateDir.Sandboxes()
	namespaces, err := os.ReadDir(root)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("load the inventory: %w", err)
	}
	for _, ns := range namespaces {
		names, err := os.ReadDir(filepath.Join(root, ns.Name()))
		if err != nil {
			m.log.Warn("load the inventory: skip a directory", "error", err)
			continue
		}
		for _, name := range names {
			m.loadObject(manifests.Key{Kind: manifests.KindSandbox, Namespace: ns.Name(), Name: name.Name()})
		}
	}
	return nil
}

func (m *Manager) loadObject(key manifests.Key) {
	b := m.opts.StateDir.Bundle(key.Namespace, key.Name)
	r, err := loadRecord(b.ObjectFile())
	if errors.Is(err, fs.ErrNotExist) {
		// A crash left it between the removal of the record and of the directory,
		// or before the record was written. An empty one goes; anything else is
		// not ours to judge.
		if rerr := os.Remove(string(b)); rerr != nil {
			m.log.Warn("load the inventory: skip a directory without a record", "directory", string(b))
		}
		return
	}
	if err == nil && r.Key != key {
		err = fmt.Errorf("read %s: it is the record of %s", b.ObjectFile(), r.Key)
	}
	o := m.ensureObject(key)
	if err != nil {
		m.log.Error("load the inventory: leave a sandbox alone", "object", key.String(), "error", err)
		o.unreadable = err.Error()
		return
	}
	o.record, o.revision = r, r.Revision
	if r.Owner != nil {
		m.own(key, ownerKey(key.Namespace, r.Owner))
	}
	m.refer(o)
	m.holdClaims(o)
	m.restoreStatus(o)
}

// restoreStatus goes on from the status that an earlier daemon kept.
func (m *Manager) restoreStatus(o *object) {
	data, err := os.ReadFile(o.bundle.StatusFile())
	var st manifests.SandboxStatus
	if err == nil {
		err = json.Unmarshal(data, &st)
	}
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			m.log.Warn("load the inventory: begin a new status", "object", o.key.String(), "error", err)
		}
		st = manifests.SandboxStatus{}
	}
	o.saved = sha256.Sum256(data)
	if st.Source != nil {
		st.Source.Revision = o.revision
	}
	o.status = st
	o.restoreProgress()
	o.wasReady = isTrue(st.Conditions, manifests.ConditionReady)
	ended := st.Phase == manifests.PhaseStopped || st.Phase == manifests.PhaseStopping || st.Phase == manifests.PhasePending
	o.containers = nil
	policy := o.record.Sandbox.Spec.PodTemplate.Spec.RestartPolicy
	for _, cs := range st.InitContainerStatuses {
		c := restoreContainer(cs, initPolicy(policy), ended)
		c.init = true
		o.containers = append(o.containers, c)
	}
	for _, cs := range st.ContainerStatuses {
		o.containers = append(o.containers, restoreContainer(cs, policy, ended))
		if cs.State.Running != nil {
			o.vmUp = true
		}
	}
	if st.StartTime != nil {
		o.vmStarted = st.StartTime.Time
	}
	if st.Runtime != nil {
		for _, s := range st.Runtime.Stages {
			if ownStage(s.Name) {
				o.stages = append(o.stages, s)
			}
		}
	}
	m.show(o)
}

// syncContainers makes the containers those of the sandbox as applied.
func (o *object) syncContainers() {
	pod := &o.spec().PodTemplate.Spec
	was := o.containers
	o.containers = make(containers, 0, len(pod.InitContainers)+len(pod.Containers))
	for i, spec := range o.record.Sandbox.AllContainers() {
		c := was.get(spec.Name)
		if c == nil {
			c = newContainer(spec)
		}
		c.status.Image = spec.Image
		c.probes = probes{startup: spec.StartupProbe, liveness: spec.LivenessProbe, readiness: spec.ReadinessProbe}
		c.init = i < len(pod.InitContainers)
		o.containers = append(o.containers, c)
	}
}

// saveStatus writes the status if it has changed. A new commit that leaves the
// object as it was is not worth a write for each.
func (o *object) saveStatus() error {
	st := o.status
	if st.Source != nil {
		st.Source = &manifests.Source{Position: st.Source.Position}
	}
	data, err := json.Marshal(&st)
	if err != nil {
		return err
	}
	hash := sha256.Sum256(data)
	if hash == o.saved {
		return nil
	}
	if err := state.WriteFileNoSync(o.bundle.StatusFile(), data); err != nil {
		return err
	}
	o.saved = hash
	return nil
}
