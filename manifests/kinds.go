package manifests

import (
	"cmp"
	"encoding/json"
	"reflect"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// DefaultNamespace is the namespace of an object that names none.
const DefaultNamespace = "default"

// A kind is one of the kinds of document that are read.
type kind struct {
	apiVersion, kind string
	// document is the Go type that a document of this kind is checked against.
	document reflect.Type
	// decode fills the object from the document's JSON, without defaults.
	decode func(data []byte, obj *Object) error
}

// kinds lists what is read.
func kinds() []kind {
	return []kind{
		{APIVersion, "Sandbox", reflect.TypeFor[sandboxDocument](), decodeSandbox[sandboxDocument]},
		{agentSandboxAPIVersion, "Sandbox", reflect.TypeFor[agentSandboxDocument](), decodeSandbox[agentSandboxDocument]},
		{"agents.x-k8s.io/v1alpha1", "Sandbox", reflect.TypeFor[agentSandboxAlphaDocument](), decodeSandbox[agentSandboxAlphaDocument]},
		{"v1", "Pod", reflect.TypeFor[podDocument](), decodeSandbox[podDocument]},
		{"v1", "ConfigMap", reflect.TypeFor[corev1.ConfigMap](), decodeConfigMap},
		{"v1", "Secret", reflect.TypeFor[corev1.Secret](), decodeSecret},
		{"v1", "PersistentVolumeClaim", reflect.TypeFor[corev1.PersistentVolumeClaim](), decodeClaim},
		{"node.k8s.io/v1", KindRuntimeClass, reflect.TypeFor[nodev1.RuntimeClass](), decodeRuntimeClass},
		{APIVersion, KindNetwork, reflect.TypeFor[networkDocument](), decodeNetwork},
		{"apps/v1", KindStatefulSet, reflect.TypeFor[appsv1.StatefulSet](), decodeStatefulSet},
		{"batch/v1", KindJob, reflect.TypeFor[batchv1.Job](), decodeJob},
		{"batch/v1", KindCronJob, reflect.TypeFor[batchv1.CronJob](), decodeCronJob},
		{ExtensionsAPIVersion, KindSandboxTemplate, reflect.TypeFor[SandboxTemplate](), decodeSandboxTemplate},
		{ExtensionsAPIVersion, KindSandboxWarmPool, reflect.TypeFor[SandboxWarmPool](), decodeSandboxWarmPool},
		{ExtensionsAPIVersion, KindSandboxClaim, reflect.TypeFor[SandboxClaim](), decodeSandboxClaim},
	}
}

// laterKinds are the kinds that are known and not supported yet, by apiVersion.
func laterKinds() map[string][]string {
	return map[string][]string{
		APIVersion:             {"EgressPolicy"},
		"networking.k8s.io/v1": {"NetworkPolicy"},
	}
}

// kindNames are all names of kinds that mean something here.
func kindNames() []string {
	names := []string{"List"}
	for _, k := range kinds() {
		names = append(names, k.kind)
	}
	for _, later := range laterKinds() {
		names = append(names, later...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// apiVersionsOf lists the apiVersions that have a kind of this name, those that
// are read first.
func apiVersionsOf(name string) []string {
	var versions []string
	for _, k := range kinds() {
		if k.kind == name {
			versions = append(versions, k.apiVersion)
		}
	}
	for version, later := range laterKinds() {
		if slices.Contains(later, name) {
			versions = append(versions, version)
		}
	}
	if name == "List" {
		versions = append(versions, "v1")
	}
	return versions
}

// findKind returns the kind of a document, or reports why there is none.
func (r *report) findKind() (kind, bool) {
	version, name := r.root.get("apiVersion"), r.root.get("kind")
	for _, required := range []string{"apiVersion", "kind"} {
		switch n := r.root.get(required); {
		case n.isNull():
			r.errorAt(r.root, required, "required: every object has an apiVersion and a kind")
			return kind{}, false
		case n.text() == "":
			r.errorAt(n, required, "want a string, have %s", n.describe())
			return kind{}, false
		}
	}
	versions := apiVersionsOf(name.text())
	if len(versions) == 0 {
		r.didYouMeanAt(name, "", Closest(name.text(), kindNames()), "there is no kind %q", clip(name.text()))
		return kind{}, false
	}
	for _, k := range kinds() {
		if k.kind == name.text() && k.apiVersion == version.text() {
			return k, true
		}
	}
	if slices.Contains(laterKinds()[version.text()], name.text()) {
		r.errorAt(name, "", "kind %s is not supported yet", name.text())
		return kind{}, false
	}
	meant := cmp.Or(Closest(version.text(), versions), versions[0])
	r.didYouMeanAt(version, "", meant, "there is no kind %s in %q; it is in %s",
		name.text(), clip(version.text()), strings.Join(versions, ", "))
	return kind{}, false
}

// The documents that are read as a Sandbox. Their status is somebody else's
// word and is not read.
type (
	sandboxDocument struct {
		metav1.TypeMeta `json:",inline"`
		// metadata: name, namespace, labels and annotations.
		metav1.ObjectMeta `json:"metadata,omitzero"`
		// spec is what is wanted.
		Spec   SandboxSpec     `json:"spec"`
		Status json.RawMessage `json:"status,omitempty"`
	}
	podDocument struct {
		metav1.TypeMeta `json:",inline"`
		// metadata: name, namespace, labels and annotations.
		metav1.ObjectMeta `json:"metadata,omitzero"`
		// spec is what is wanted.
		Spec   corev1.PodSpec  `json:"spec"`
		Status json.RawMessage `json:"status,omitempty"`
	}
	agentSandboxDocument struct {
		metav1.TypeMeta `json:",inline"`
		// metadata: name, namespace, labels and annotations.
		metav1.ObjectMeta `json:"metadata,omitzero"`
		// spec is what is wanted.
		Spec   agentSandboxSpec `json:"spec"`
		Status json.RawMessage  `json:"status,omitempty"`
	}
	agentSandboxAlphaDocument struct {
		metav1.TypeMeta `json:",inline"`
		// metadata: name, namespace, labels and annotations.
		metav1.ObjectMeta `json:"metadata,omitzero"`
		// spec is what is wanted.
		Spec   agentSandboxAlphaSpec `json:"spec"`
		Status json.RawMessage       `json:"status,omitempty"`
	}
)

// networkDocument is a document that is read as a Network.
type networkDocument struct {
	Network `json:",inline"`
	Status  json.RawMessage `json:"status,omitempty"`
}

// agentSandboxLifecycle is when a sandbox ends, in both versions of agent-sandbox's
// spec.
type agentSandboxLifecycle struct {
	// shutdownTime is when the sandbox expires.
	ShutdownTime *metav1.Time `json:"shutdownTime,omitempty"`
	// shutdownPolicy says what becomes of the object then: Retain or Delete.
	ShutdownPolicy *ShutdownPolicy `json:"shutdownPolicy,omitempty"`
}

// agentSandboxSpec is the spec of agents.x-k8s.io/v1beta1 Sandbox.
type agentSandboxSpec struct {
	SandboxBlueprint      `json:",inline"`
	agentSandboxLifecycle `json:",inline"`
	// operatingMode is Running, or Suspended (the VM is ended, the volumes stay).
	OperatingMode OperatingMode `json:"operatingMode,omitempty"`
}

// agentSandboxAlphaSpec is the spec of agents.x-k8s.io/v1alpha1 Sandbox.
type agentSandboxAlphaSpec struct {
	SandboxBlueprint      `json:",inline"`
	agentSandboxLifecycle `json:",inline"`
	// replicas is 1 for a sandbox that runs and 0 for a suspended one.
	Replicas *int32 `json:"replicas,omitempty"`
}

// A sandboxSource is a document that can be turned into our Sandbox.
type sandboxSource interface {
	sandbox() *Sandbox
}

func decodeSandbox[D sandboxSource](data []byte, obj *Object) error {
	var doc D
	if err := json.Unmarshal(data, &doc); err != nil {
		return err
	}
	obj.Sandbox = doc.sandbox()
	obj.Sandbox.TypeMeta = metav1.TypeMeta{APIVersion: APIVersion, Kind: KindSandbox}
	return nil
}

func (d sandboxDocument) sandbox() *Sandbox {
	return &Sandbox{ObjectMeta: d.ObjectMeta, Spec: d.Spec}
}

func (d podDocument) sandbox() *Sandbox {
	return &Sandbox{ObjectMeta: d.ObjectMeta, Spec: SandboxSpec{PodTemplate: PodTemplate{Spec: d.Spec}}}
}

func (d agentSandboxDocument) sandbox() *Sandbox {
	s := &Sandbox{ObjectMeta: d.ObjectMeta, Spec: d.Spec.spec()}
	s.Spec.OperatingMode = d.Spec.OperatingMode
	d.Spec.addTo(&s.Spec)
	return s
}

func (d agentSandboxAlphaDocument) sandbox() *Sandbox {
	s := &Sandbox{ObjectMeta: d.ObjectMeta, Spec: d.Spec.spec()}
	d.Spec.addTo(&s.Spec)
	if d.Spec.Replicas != nil && *d.Spec.Replicas == 0 {
		s.Spec.OperatingMode = OperatingModeSuspended
	}
	return s
}

func (l agentSandboxLifecycle) addTo(s *SandboxSpec) {
	s.ShutdownTime, s.ShutdownPolicy = l.ShutdownTime, l.ShutdownPolicy
}

func decodeConfigMap(data []byte, obj *Object) error {
	obj.ConfigMap = &corev1.ConfigMap{}
	return json.Unmarshal(data, obj.ConfigMap)
}

func decodeNetwork(data []byte, obj *Object) error {
	var doc networkDocument
	if err := json.Unmarshal(data, &doc); err != nil {
		return err
	}
	obj.Network = &doc.Network
	return nil
}

func decodeClaim(data []byte, obj *Object) error {
	obj.Claim = &corev1.PersistentVolumeClaim{}
	return json.Unmarshal(data, obj.Claim)
}

func decodeRuntimeClass(data []byte, obj *Object) error {
	obj.RuntimeClass = &nodev1.RuntimeClass{}
	return json.Unmarshal(data, obj.RuntimeClass)
}

// decodeSecret merges stringData into data, as an API server does.
func decodeSecret(data []byte, obj *Object) error {
	s := &corev1.Secret{}
	if err := json.Unmarshal(data, s); err != nil {
		return err
	}
	for k, v := range s.StringData {
		if s.Data == nil {
			s.Data = map[string][]byte{}
		}
		s.Data[k] = []byte(v)
	}
	s.StringData = nil
	obj.Secret = s
	return nil
}
