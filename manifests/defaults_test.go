package manifests

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

func TestDefaultsAreWrittenOut(t *testing.T) {
	s := one(t, sandboxWith(map[string]string{
		"pod":       "volumes: [{name: c, configMap: {name: c}}, {name: s, secret: {secretName: s}}]",
		"container": "ports: [{containerPort: 80}]",
	})).Sandbox
	pod := s.Spec.PodTemplate.Spec
	for what, pair := range map[string][2]any{
		"apiVersion":        {s.APIVersion, APIVersion},
		"kind":              {s.Kind, "Sandbox"},
		"namespace":         {s.Namespace, "default"},
		"operatingMode":     {s.Spec.OperatingMode, OperatingModeRunning},
		"shutdownPolicy":    {*s.Spec.ShutdownPolicy, ShutdownPolicyRetain},
		"restartPolicy":     {pod.RestartPolicy, corev1.RestartPolicyAlways},
		"grace period":      {*pod.TerminationGracePeriodSeconds, int64(10)},
		"hostname":          {pod.Hostname, "web"},
		"pull policy":       {pod.Containers[0].ImagePullPolicy, corev1.PullIfNotPresent},
		"protocol":          {pod.Containers[0].Ports[0].Protocol, corev1.ProtocolTCP},
		"configMap's mode":  {*pod.Volumes[0].ConfigMap.DefaultMode, int32(0o644)},
		"secret's mode":     {*pod.Volumes[1].Secret.DefaultMode, int32(0o644)},
		"cpus":              {s.Spec.VM.CPUs, int32(1)},
		"memory":            {s.Spec.VM.Memory.String(), "256Mi"},
		"disk":              {s.Spec.VM.Disk.String(), "8Gi"},
		"kernel":            {s.Spec.VM.Kernel.Name, "default"},
		"rosetta":           {s.Spec.VM.Rosetta, "Auto"},
		"the object's kind": {one(t, sandboxWith(nil)).Key, Key{KindSandbox, "default", "web"}},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s: got %v, want %v", what, pair[0], pair[1])
		}
	}
}

func TestVMIsSizedByItsContainers(t *testing.T) {
	for _, c := range []struct {
		limits []string
		cpus   int32
		memory string
	}{
		{[]string{""}, 1, "256Mi"},
		{[]string{"cpu: 100m"}, 1, "256Mi"},
		{[]string{"cpu: 1"}, 1, "256Mi"},
		{[]string{"cpu: 1001m"}, 2, "256Mi"},
		{[]string{"cpu: 500m", "cpu: 600m"}, 2, "256Mi"},
		{[]string{"memory: 128Mi"}, 1, "256Mi"},
		{[]string{"memory: 129Mi"}, 1, "257Mi"},
		{[]string{"memory: 512Mi", "memory: 0.5Gi"}, 1, "1152Mi"},
		{[]string{"cpu: 256, memory: 1G"}, 256, "1134217728"},
	} {
		var containers []string
		for i, l := range c.limits {
			containers = append(containers, fmt.Sprintf("{name: c%d, image: a, resources: {limits: {%s}}}", i, l))
		}
		s := one(t, "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: ["+strings.Join(containers, ", ")+"]}").Sandbox
		if s.Spec.VM.CPUs != c.cpus || s.Spec.VM.Memory.String() != c.memory {
			t.Errorf("%q: got %d CPUs and %s, want %d and %s", c.limits, s.Spec.VM.CPUs, s.Spec.VM.Memory, c.cpus, c.memory)
		}
	}
}

func TestHostnameIsMadeOfAnyName(t *testing.T) {
	for name, want := range map[string]string{
		"web":                            "web",
		"web.example.com":                "web-example-com",
		strings.Repeat("a", 63):          strings.Repeat("a", 63),
		strings.Repeat("a", 253):         strings.Repeat("a", 63),
		strings.Repeat("a", 62) + ".bcd": strings.Repeat("a", 62),
	} {
		s := one(t, "apiVersion: v1\nkind: Pod\nmetadata: {name: "+name+"}\nspec: {containers: [{name: a, image: b}]}").Sandbox
		if got := s.Spec.PodTemplate.Spec.Hostname; got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
}

func TestImages(t *testing.T) {
	for image, c := range map[string]struct {
		ref  ImageReference
		pull corev1.PullPolicy
		// resolved is what the sandbox holds for a manifest in /m; empty for a bad image.
		resolved string
	}{
		"nginx":                    {ImageReference{Transport: ImageRegistry, Name: "nginx"}, corev1.PullAlways, "nginx"},
		"nginx:latest":             {ImageReference{Transport: ImageRegistry, Name: "nginx:latest"}, corev1.PullAlways, "nginx:latest"},
		"nginx:alpine":             {ImageReference{Transport: ImageRegistry, Name: "nginx:alpine"}, corev1.PullIfNotPresent, "nginx:alpine"},
		"localhost:5000/a/b:1":     {ImageReference{Transport: ImageRegistry, Name: "localhost:5000/a/b:1"}, corev1.PullIfNotPresent, "localhost:5000/a/b:1"},
		"localhost:5000/a/b":       {ImageReference{Transport: ImageRegistry, Name: "localhost:5000/a/b"}, corev1.PullAlways, "localhost:5000/a/b"},
		"a@sha256:" + zeros:        {ImageReference{Transport: ImageRegistry, Name: "a@sha256:" + zeros}, corev1.PullIfNotPresent, "a@sha256:" + zeros},
		"a:latest@sha256:" + zeros: {ImageReference{Transport: ImageRegistry, Name: "a:latest@sha256:" + zeros}, corev1.PullIfNotPresent, "a:latest@sha256:" + zeros},
		"oci-layout:./x":           {ImageReference{Transport: ImageOCILayout, Path: "./x"}, corev1.PullIfNotPresent, "oci-layout:/m/x"},
		"oci-layout:x:v1":          {ImageReference{Transport: ImageOCILayout, Path: "x", Tag: "v1"}, corev1.PullIfNotPresent, "oci-layout:/m/x:v1"},
		"oci-layout:/x/y:z/w":      {ImageReference{Transport: ImageOCILayout, Path: "/x/y:z/w"}, corev1.PullIfNotPresent, "oci-layout:/x/y:z/w"},
		"oci-archive:../x.tar":     {ImageReference{Transport: ImageOCIArchive, Path: "../x.tar"}, corev1.PullIfNotPresent, "oci-archive:/x.tar"},
		"docker-archive:/x.tar":    {ImageReference{Transport: ImageDockerArchive, Path: "/x.tar"}, corev1.PullIfNotPresent, "docker-archive:/x.tar"},
		"":                         {},
		"UPPER":                    {},
		"a b":                      {},
		"docker://nginx":           {},
		"https://docker.io/nginx":  {},
		"oci-layout:":              {},
		"oci-archive:":             {},
		"oci-archive:a\nb":         {},
		"nginx:":                   {},
		"a@sha256:abc":             {},
		"oci-archive:" + strings.Repeat("a", 5000): {},
	} {
		ref, err := ParseImage(image)
		if (err != nil) != (c.resolved == "") || ref != c.ref {
			t.Errorf("%.60q: got %+v, %v; want %+v", image, ref, err, c.ref)
		}
		if err != nil {
			continue
		}
		got := one(t, "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: a, image: '"+image+"'}]}").Sandbox.Spec.PodTemplate.Spec.Containers[0]
		if got.Image != c.resolved || got.ImagePullPolicy != c.pull {
			t.Errorf("%q: got %s, %s; want %s, %s", image, got.Image, got.ImagePullPolicy, c.resolved, c.pull)
		}
	}
}

const zeros = "0000000000000000000000000000000000000000000000000000000000000000"

func TestImageSchemesAreExplained(t *testing.T) {
	got := messages(t, "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: a, image: 'docker://nginx:1'}]}")
	want := `x.yaml:4:38: Sandbox default/a: spec.containers[0].image: an image reference has no scheme such as docker:// or https:// (did you mean "nginx:1"?)`
	if len(got) != 1 || got[0] != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// One form inside, whatever the kind outside.
func TestKindsWithOnePodSpecAreOneSandbox(t *testing.T) {
	pod := `{"volumes":[{"name":"d","emptyDir":{}}],"hostname":"h","containers":[{"name":"a","image":"oci-layout:x","env":[{"name":"A","value":"b"}],"volumeMounts":[{"name":"d","mountPath":"/d"}],"resources":{"limits":{"cpu":"2","memory":"1Gi"}}}]}`
	document := func(version, kind, spec string) Object {
		return one(t, fmt.Sprintf(`{"apiVersion":%q,"kind":%q,"metadata":{"name":"web","labels":{"a":"b"}},"spec":%s}`, version, kind, spec))
	}
	template := `{"podTemplate":{"spec":` + pod + `}}`
	ours := document(APIVersion, "Sandbox", template)
	for _, other := range []Object{
		document("v1", "Pod", pod),
		document("agents.x-k8s.io/v1beta1", "Sandbox", template),
		document("agents.x-k8s.io/v1alpha1", "Sandbox", template),
		document("agents.x-k8s.io/v1alpha1", "Sandbox", `{"replicas":1,"podTemplate":{"spec":`+pod+`}}`),
	} {
		if diff := cmp.Diff(ours.Sandbox, other.Sandbox); diff != "" {
			t.Errorf("%s %s differs:\n%s", other.APIVersion, other.Kind, diff)
		}
		if ours.Key != other.Key || ours.Sandbox.SpecHash() != other.Sandbox.SpecHash() {
			t.Errorf("%s %s: another key or hash", other.APIVersion, other.Kind)
		}
	}
	suspended := document(APIVersion, "Sandbox", `{"operatingMode":"Suspended",`+template[1:])
	for _, other := range []Object{
		document("agents.x-k8s.io/v1beta1", "Sandbox", `{"operatingMode":"Suspended",`+template[1:]),
		document("agents.x-k8s.io/v1alpha1", "Sandbox", `{"replicas":0,`+template[1:]),
	} {
		if diff := cmp.Diff(suspended.Sandbox, other.Sandbox); diff != "" {
			t.Errorf("%s %s differs when suspended:\n%s", other.APIVersion, other.Kind, diff)
		}
	}
}

// A Sandbox written out as a manifest again is the same Sandbox.
func TestSandboxRoundTrips(t *testing.T) {
	for _, text := range []string{
		sandboxWith(nil),
		sandboxWith(map[string]string{
			"spec":      "operatingMode: Paused\nvm: {cpus: 3, memory: 1000Mi, runtimeData: {b: 1, a: [2]}, kernel: {args: [x]}}",
			"pod":       "volumes: [{name: a, emptyDir: {medium: Memory, sizeLimit: 1000k}}]\nsecurityContext: {runAsUser: 1}",
			"container": "resources: {limits: {cpu: 1500m, memory: 100M}}\nvolumeMounts: [{name: a, mountPath: /a}]",
		}),
	} {
		first := one(t, text).Sandbox
		again := one(t, string(mustJSON(t, first))).Sandbox
		if first.SpecHash() != again.SpecHash() {
			t.Errorf("not the same after a round trip: %+v", Classify(first, again))
		}
	}
}
