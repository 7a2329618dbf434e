package manifests

import (
	"encoding/json"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func extensionText(kind, spec string) string {
	return "apiVersion: " + ExtensionsAPIVersion + "\nkind: " + kind + "\nmetadata: {name: py}\nspec:\n" + lines(spec)
}

func templateText(spec string) string {
	return extensionText(KindSandboxTemplate, "podTemplate: {metadata: {labels: {a: b}}, spec: {containers: [{name: main, image: oci-layout:img, env: [{name: A, value: b}]}]}}\n"+spec)
}

func TestWarmPoolsHaveAgentSandboxesDefaults(t *testing.T) {
	template := one(t, templateText("service: true")).SandboxTemplate.Spec
	if template.EnvVarsInjectionPolicy != InjectionDisallowed || template.VolumeClaimTemplatesPolicy != InjectionDisallowed || template.Service != nil {
		t.Errorf("template: %+v", template)
	}
	if image := template.PodTemplate.Spec.Containers[0].Image; image != "oci-layout:/m/img" {
		t.Errorf("the image's path is %q, want one beside the file", image)
	}
	pool := one(t, extensionText(KindSandboxWarmPool, "sandboxTemplateRef: {name: py}")).SandboxWarmPool.Spec
	if *pool.Replicas != 1 || pool.UpdateStrategy.Type != WarmPoolOnReplenish {
		t.Errorf("pool: %+v", pool)
	}
	claim := one(t, extensionText(KindSandboxClaim, "warmPoolRef: {name: py}\nlifecycle: {ttlSecondsAfterFinished: 0}")).SandboxClaim.Spec
	if claim.Lifecycle.ShutdownPolicy != ClaimShutdownRetain {
		t.Errorf("claim: %+v", claim)
	}
}

func TestWarmPoolsAreValidated(t *testing.T) {
	claim := func(spec string) string { return extensionText(KindSandboxClaim, "warmPoolRef: {name: py}\n"+spec) }
	volume := "{metadata: {name: a}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}"
	for text, want := range map[string]string{
		templateText("networkPolicy: {egress: [{}]}"):                                                         "x.yaml:6:3: SandboxTemplate default/py: spec.networkPolicy: networkPolicy is not supported yet",
		templateText("networkPolicyManagement: Managed"):                                                      "spec.networkPolicyManagement: Managed is not supported yet: write Unmanaged; a sandbox reaches only the networks that it names",
		templateText("networkPolicyManagement: Nobody"):                                                       "must be Managed or Unmanaged",
		templateText("envVarsInjectionPolicy: Override"):                                                      `must be Disallowed, Allowed or Overrides (did you mean "Overrides"?)`,
		templateText("volumeClaimTemplatesPolicy: All"):                                                       "must be Disallowed, Allowed or Overrides",
		templateText("vm: {cpus: 2}"):                                                                         "spec.vm: unknown field",
		templateText("shutdownTime: 2026-01-01T00:00:00Z"):                                                    "spec.shutdownTime: unknown field",
		strings.Replace(templateText(""), "image: oci-layout:img, ", "", 1):                                   "spec.podTemplate.spec.containers[0].image: required",
		strings.Replace(templateText(""), "a: b", "a: '!'", 1):                                                "not a label's value",
		templateText("volumeClaimTemplates: [" + volume + ", " + volume + "]"):                                "another template is named a too",
		extensionText(KindSandboxWarmPool, "replicas: 1"):                                                     "spec.sandboxTemplateRef.name: required",
		extensionText(KindSandboxWarmPool, "sandboxTemplateRef: {name: py}\nreplicas: -1"):                    "spec.replicas: -1 is not between 0 and 1000",
		extensionText(KindSandboxWarmPool, "sandboxTemplateRef: {name: py}\nupdateStrategy: {type: Rolling}"): "must be OnReplenish or Recreate",
		extensionText(KindSandboxClaim, "lifecycle: {}"):                                                      "spec.warmPoolRef.name: required",
		claim("sandboxTemplateRef: {name: py}"):                                                               "spec.sandboxTemplateRef: unknown field",
		claim("lifecycle: {shutdownPolicy: Keep}"):                                                            "must be Retain, Delete or DeleteForeground",
		claim("lifecycle: {shutdownTime: noon}"):                                                              "spec.lifecycle.shutdownTime",
		claim("lifecycle: {ttlSecondsAfterFinished: -1}"):                                                     "-1 is not between",
		claim("env: [{name: A, value: b}, {name: A, value: c}]"):                                              "spec.env[1].name: A is set twice",
		claim("env: [{value: b}]"):                                                                            "spec.env[0].name: required",
		claim("additionalPodMetadata: {labels: {user: a}}"):                                                   "a claim's labels are of the domain sandbox.users.io",
		claim("additionalPodMetadata: {labels: {evil-sandbox.users.io/user: a}}"):                             "a claim's labels are of the domain sandbox.users.io",
		claim("additionalPodMetadata: {annotations: {a.agents.x-k8s.io/user: a}}"):                            "a claim may not set annotations of the domain a.agents.x-k8s.io",
		claim("volumeClaimTemplates: [{metadata: {name: a}, spec: {accessModes: []}}]"):                       "accessModes: required",
	} {
		got := messages(t, text)
		if len(got) < 1 || !strings.Contains(strings.Join(got, "\n"), want) {
			t.Errorf("got %q, want an error with %q, from\n%s", got, want, text)
		}
	}
	one(t, claim("additionalPodMetadata: {labels: {team.sandbox.users.io/a: b}, annotations: {cluster-autoscaler.kubernetes.io/safe-to-evict: 'false', note: x}}"))
	one(t, claim("env: [{name: A, value: b}, {name: A, value: c, containerName: side}]\nvolumeClaimTemplates: ["+volume+"]"))
}

// What a template makes is what a manifest of a Sandbox with the same text makes.
func TestSandboxFromBlueprintIsAsWritten(t *testing.T) {
	const volumes = "volumeClaimTemplates: [{metadata: {name: d}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1024Mi}}}}]"
	b := &one(t, templateText(volumes)).SandboxTemplate.Spec.SandboxBlueprint
	before := b.Hash()
	made, err := SandboxFromBlueprint(metav1.ObjectMeta{Name: "py-1", Namespace: "default", Labels: map[string]string{"c": "d"}}, b)
	if err != nil {
		t.Fatal(err)
	}
	written := one(t, strings.NewReplacer(
		ExtensionsAPIVersion, "agents.x-k8s.io/v1beta1", KindSandboxTemplate, "Sandbox", "{name: py}", "{name: py-1, labels: {c: d}}",
	).Replace(templateText(volumes)))
	if made.Sandbox.SpecHash() != written.Sandbox.SpecHash() || made.Key != written.Key || made.Sandbox.Labels["c"] != "d" {
		t.Errorf("differs: %+v", Classify(made.Sandbox, written.Sandbox))
	}
	if again := one(t, string(made.Manifest)); again.Sandbox.SpecHash() != made.Sandbox.SpecHash() {
		t.Errorf("its manifest says something else: %s", made.Manifest)
	}
	back, err := BlueprintOf(made.Manifest)
	if err != nil || back.Hash() != before || b.Hash() != before {
		t.Errorf("another blueprint came back: %+v, %v", back, err)
	}
	back.PodTemplate.ObjectMeta.Labels["more"] = "x"
	if back.Hash() != before {
		t.Error("metadata makes a sandbox stale")
	}
	moved := *back
	moved.PodTemplate.ObjectMeta = PodMetadata{Annotations: map[string]string{AnnotationNetworks: "default"}}
	if moved.Hash() == before {
		t.Error("another network does not make it stale")
	}
	if m := (PodMetadata{Labels: map[string]string{"a": "b"}, Annotations: map[string]string{AnnotationNetworks: "x"}}).OnNetworksOf(back.PodTemplate.ObjectMeta); m.Annotations[AnnotationNetworks] != "" || m.Labels["a"] != "b" {
		t.Errorf("a machine without a network gets one: %+v", m)
	}
	back.PodTemplate.Spec.Containers[0].Image = "other"
	if back.Hash() == before {
		t.Error("another image does not")
	}
}

// What a record keeps of pools and claims is what was parsed.
func TestWarmPoolsSurviveJSON(t *testing.T) {
	for _, text := range []string{
		extensionText(KindSandboxWarmPool, "sandboxTemplateRef: {name: py}"),
		extensionText(KindSandboxClaim, "warmPoolRef: {name: py}\nenv: [{name: A, value: ''}]\nlifecycle: {shutdownTime: 2026-01-01T00:00:00Z}"),
	} {
		o := one(t, text)
		data, err := json.Marshal([]any{o.SandboxWarmPool, o.SandboxClaim})
		if err != nil {
			t.Fatal(err)
		}
		again := Object{}
		if err := json.Unmarshal(data, &[]any{&again.SandboxWarmPool, &again.SandboxClaim}); err != nil {
			t.Fatal(err)
		}
		if again.WorkloadHash() != o.WorkloadHash() || o.WorkloadHash() == "" {
			t.Errorf("another hash: %s", data)
		}
	}
}
