package manifests

import (
	"encoding/json"
	"fmt"
	"path/filepath"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// agentSandboxAPIVersion is that of the sandboxes that pools and claims make.
const agentSandboxAPIVersion = "agents.x-k8s.io/v1beta1"

func decodeSandboxTemplate(data []byte, obj *Object) error {
	obj.SandboxTemplate = &SandboxTemplate{}
	return json.Unmarshal(data, obj.SandboxTemplate)
}

func decodeSandboxWarmPool(data []byte, obj *Object) error {
	obj.SandboxWarmPool = &SandboxWarmPool{}
	return json.Unmarshal(data, obj.SandboxWarmPool)
}

func decodeSandboxClaim(data []byte, obj *Object) error {
	obj.SandboxClaim = &SandboxClaim{}
	return json.Unmarshal(data, obj.SandboxClaim)
}

// finishSandboxTemplate normalises a decoded template. It is checked as the
// sandboxes that will be made from it.
func (r *report) finishSandboxTemplate(obj *Object) {
	t := obj.SandboxTemplate
	r.types.dropHarmless(t)
	setNamespace(&t.ObjectMeta)
	obj.Key = Key{Kind: KindSandboxTemplate, Namespace: t.Namespace, Name: t.Name}
	r.validateMeta(&t.ObjectMeta)
	pod := &t.Spec.PodTemplate
	if dir := filepath.Dir(r.file); filepath.IsAbs(dir) {
		resolvePathsOf(&pod.Spec, dir)
	}
	if t.Spec.EnvVarsInjectionPolicy == "" {
		t.Spec.EnvVarsInjectionPolicy = InjectionDisallowed
	}
	if t.Spec.VolumeClaimTemplatesPolicy == "" {
		t.Spec.VolumeClaimTemplatesPolicy = InjectionDisallowed
	}
	path := field.NewPath("spec")
	at := path.Child("podTemplate", "metadata")
	r.validateLabels(at.Child("labels"), pod.ObjectMeta.Labels)
	r.validateAnnotations(at.Child("annotations"), pod.ObjectMeta.Annotations)
	s := t.Spec.SandboxBlueprint.sandbox("template")
	r.validateNetworks(at.Child("annotations"), s)
	r.validateMachine(s, path.Child("podTemplate", "spec"))
	r.validateSandboxTemplate(path, &t.Spec)
}

// finishSandboxWarmPool normalises a decoded pool, but for what all workloads have.
func (r *report) finishSandboxWarmPool(s *SandboxWarmPoolSpec) {
	if s.Replicas == nil {
		s.Replicas = new(int32(1))
	}
	if s.UpdateStrategy == nil {
		s.UpdateStrategy = &SandboxWarmPoolUpdateStrategy{}
	}
	if s.UpdateStrategy.Type == "" {
		s.UpdateStrategy.Type = WarmPoolOnReplenish
	}
	r.validateSandboxWarmPool(field.NewPath("spec"), s)
}

// finishSandboxClaim normalises a decoded claim, but for what all workloads have.
func (r *report) finishSandboxClaim(s *SandboxClaimSpec) {
	if l := s.Lifecycle; l != nil && l.ShutdownPolicy == "" {
		l.ShutdownPolicy = ClaimShutdownRetain
	}
	for i := range s.VolumeClaimTemplates {
		setClaimDefaults(&s.VolumeClaimTemplates[i].Spec)
	}
	r.validateSandboxClaim(field.NewPath("spec"), s)
}

// sandbox is a sandbox of the blueprint, with its defaults.
func (b *SandboxBlueprint) sandbox(name string) *Sandbox {
	s := &Sandbox{Spec: b.DeepCopy().spec()}
	s.Name = name
	setDefaults(s)
	return s
}

func (b SandboxBlueprint) spec() SandboxSpec {
	return SandboxSpec{PodTemplate: b.PodTemplate, VolumeClaimTemplates: b.VolumeClaimTemplates, Service: b.Service}
}

// DeepCopy returns a copy that shares nothing with the blueprint.
func (b *SandboxBlueprint) DeepCopy() *SandboxBlueprint {
	next := &SandboxBlueprint{
		PodTemplate: PodTemplate{ObjectMeta: b.PodTemplate.ObjectMeta.copied(), Spec: *b.PodTemplate.Spec.DeepCopy()},
		Service:     b.Service,
	}
	for _, t := range b.VolumeClaimTemplates {
		next.VolumeClaimTemplates = append(next.VolumeClaimTemplates, PersistentVolumeClaimTemplate{
			ObjectMeta: EmbeddedObjectMetadata{
				Name:   t.ObjectMeta.Name,
				Labels: withMore(nil, t.ObjectMeta.Labels), Annotations: withMore(nil, t.ObjectMeta.Annotations),
			},
			Spec: *t.Spec.DeepCopy(),
		})
	}
	return next
}

// OnNetworksOf returns the metadata with the networks that other metadata names: a
// machine cannot be put on others.
func (m PodMetadata) OnNetworksOf(other PodMetadata) PodMetadata {
	m = m.copied()
	names, ok := other.Annotations[AnnotationNetworks]
	switch {
	case ok && m.Annotations == nil:
		m.Annotations = map[string]string{AnnotationNetworks: names}
	case ok:
		m.Annotations[AnnotationNetworks] = names
	default:
		delete(m.Annotations, AnnotationNetworks)
	}
	return m
}

func (m PodMetadata) copied() PodMetadata {
	return PodMetadata{Labels: withMore(nil, m.Labels), Annotations: withMore(nil, m.Annotations)}
}

// Hash is equal for two blueprints that make the same sandboxes. The metadata of
// the podTemplate is no part of it, as agent-sandbox has it, but for the networks that
// it names.
func (b *SandboxBlueprint) Hash() string {
	bare := *b
	bare.PodTemplate.ObjectMeta = PodMetadata{}.OnNetworksOf(b.PodTemplate.ObjectMeta)
	return bare.sandbox("template").SpecHash()
}

// BlueprintOf returns what a sandbox of SandboxFromBlueprint was made from, by its
// manifest.
func BlueprintOf(manifest json.RawMessage) (*SandboxBlueprint, error) {
	var doc agentSandboxDocument
	if err := json.Unmarshal(manifest, &doc); err != nil {
		return nil, fmt.Errorf("read the manifest of a sandbox: %w", err)
	}
	return &doc.Spec.SandboxBlueprint, nil
}

// SandboxFromBlueprint returns the sandbox that a pool or a claim makes, as if a
// manifest had it. The blueprint must have been read by Parse, and is kept.
func SandboxFromBlueprint(meta metav1.ObjectMeta, b *SandboxBlueprint) (Object, error) {
	b = b.DeepCopy()
	manifest, err := json.Marshal(struct {
		APIVersion string           `json:"apiVersion"`
		Kind       string           `json:"kind"`
		Metadata   podMetadata      `json:"metadata"`
		Spec       SandboxBlueprint `json:"spec"`
	}{agentSandboxAPIVersion, KindSandbox, podMetadata{meta.Name, meta.Namespace, meta.Labels, meta.Annotations}, *b})
	if err != nil {
		return Object{}, fmt.Errorf("make %s/%s from its template: %w", meta.Namespace, meta.Name, err)
	}
	s := b.sandbox(meta.Name)
	s.TypeMeta = metav1.TypeMeta{APIVersion: APIVersion, Kind: KindSandbox}
	s.ObjectMeta = metav1.ObjectMeta{Name: meta.Name, Namespace: meta.Namespace, Labels: meta.Labels, Annotations: meta.Annotations}
	return Object{
		Key:        Key{Kind: KindSandbox, Namespace: meta.Namespace, Name: meta.Name},
		APIVersion: agentSandboxAPIVersion, Kind: KindSandbox, Manifest: manifest, Sandbox: s,
	}, nil
}
