package workload

import (
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vzreconciler/vzreconciler/manifests"
)

func testTemplate(t *testing.T) *manifests.SandboxTemplateSpec {
	t.Helper()
	objects, errs := manifests.Parse("x.yaml", []byte(`
apiVersion: extensions.agents.x-k8s.io/v1beta1
kind: SandboxTemplate
metadata: {name: py}
spec:
  podTemplate:
    metadata: {labels: {app: py}}
    spec:
      initContainers: [{name: first, image: "example.com/a:1"}]
      containers: [{name: main, image: "example.com/a:1", env: [{name: A, value: b}]}, {name: side, image: "example.com/a:1", envFrom: [{configMapRef: {name: c}}]}]
      volumes: [{name: tmp, emptyDir: {}}]
  volumeClaimTemplates: [{metadata: {name: data}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}]
`))
	if len(errs) > 0 {
		t.Fatal(errs[0])
	}
	return &objects[0].SandboxTemplate.Spec
}

func TestPlanClaimTakesWhatIsReady(t *testing.T) {
	now := TemplateHash(&testTemplate(t).SandboxBlueprint)
	for name, tc := range map[string]struct {
		strategy manifests.WarmPoolUpdateStrategy
		spec     manifests.SandboxClaimSpec
		members  string
		missing  string // "pool" or "template"
		take     string
		made     bool
		reason   string
	}{
		"the one ready for longest":          {"OnReplenish", manifests.SandboxClaimSpec{}, "a A up 1m, b B up 3m, c A down 9m, d A going 9m, e A ended 9m", "", "b,a", true, ReasonSandboxMissing},
		"none is ready":                      {"OnReplenish", manifests.SandboxClaimSpec{}, "c A down", "", "", true, ReasonSandboxMissing},
		"none of an old template":            {"Recreate", manifests.SandboxClaimSpec{}, "a old up, b " + now + " up", "", "b", true, ReasonSandboxMissing},
		"variables make it cold":             {"OnReplenish", manifests.SandboxClaimSpec{Env: []manifests.SandboxClaimEnv{{Name: "X"}}}, "a A up", "", "", false, ReasonEnvRejected},
		"no pool":                            {"OnReplenish", manifests.SandboxClaimSpec{}, "", "pool", "", false, ReasonWarmPoolNotFound},
		"no template":                        {"OnReplenish", manifests.SandboxClaimSpec{}, "", "template", "", false, ReasonTemplateNotFound},
		"no template, and one is ready":      {"OnReplenish", manifests.SandboxClaimSpec{}, "a A up", "template", "a", false, ""},
		"no template to hold it against":     {"Recreate", manifests.SandboxClaimSpec{}, "a A up", "template", "", false, ReasonTemplateNotFound},
		"no template to merge metadata with": {"OnReplenish", manifests.SandboxClaimSpec{AdditionalPodMetadata: manifests.PodMetadata{Labels: map[string]string{"a": "b"}}}, "a A up", "template", "", false, ReasonTemplateNotFound},
		"metadata is the template's":         {"OnReplenish", manifests.SandboxClaimSpec{AdditionalPodMetadata: manifests.PodMetadata{Labels: map[string]string{"app": "b"}}}, "a A up", "", "", false, ReasonInvalidMetadata},
	} {
		t.Run(name, func(t *testing.T) {
			tc.spec.WarmPoolRef.Name = "warm"
			in := ClaimInput{UID: "u", Spec: &tc.spec, Members: poolMembers(t, tc.members), Now: noon}
			if tc.missing != "pool" {
				in.Pool = &manifests.SandboxWarmPoolSpec{
					TemplateRef:    manifests.SandboxTemplateRef{Name: "py"},
					UpdateStrategy: &manifests.SandboxWarmPoolUpdateStrategy{Type: tc.strategy},
				}
			}
			if tc.missing == "" {
				in.Template = testTemplate(t)
			}
			p := PlanClaim(in)
			if got := strings.Join(p.Take, ","); got != tc.take || (p.Make != nil) != tc.made {
				t.Errorf("takes %q, makes one: %v; want %q, %v", got, p.Make != nil, tc.take, tc.made)
			}
			if got := readyReason(p.Status.Conditions); got != tc.reason {
				t.Errorf("reason %q, want %q", got, tc.reason)
			}
		})
	}
}

func readyReason(conditions []metav1.Condition) string {
	i := slices.IndexFunc(conditions, func(c metav1.Condition) bool { return c.Type == manifests.ConditionReady })
	if i < 0 {
		return ""
	}
	return conditions[i].Reason
}

func TestTemplatesPolicyHoldsForClaims(t *testing.T) {
	volume := func(name string) manifests.PersistentVolumeClaimTemplate {
		return manifests.PersistentVolumeClaimTemplate{ObjectMeta: manifests.EmbeddedObjectMetadata{Name: name, Labels: map[string]string{"of": "claim"}}}
	}
	for name, tc := range map[string]struct {
		policy  manifests.InjectionPolicy
		env     []manifests.SandboxClaimEnv
		volumes []manifests.PersistentVolumeClaimTemplate
		refused string
		want    string // the variables of each container and the volumes
	}{
		"nothing":                     {"Disallowed", nil, nil, "", "A=b | | | data"},
		"a variable, disallowed":      {"Disallowed", []manifests.SandboxClaimEnv{{Name: "X"}}, nil, ReasonEnvRejected, ""},
		"a volume, disallowed":        {"Disallowed", nil, []manifests.PersistentVolumeClaimTemplate{volume("more")}, ReasonVolumeClaims, ""},
		"a new variable":              {"Allowed", []manifests.SandboxClaimEnv{{Name: "X", Value: "y"}}, nil, "", "A=b,X=y | | | data"},
		"of an init container":        {"Allowed", []manifests.SandboxClaimEnv{{Name: "X", Value: "y", ContainerName: "first"}}, nil, "", "A=b | | X=y | data"},
		"of a container that is not":  {"Overrides", []manifests.SandboxClaimEnv{{Name: "X", ContainerName: "no"}}, nil, ReasonEnvRejected, ""},
		"an old variable":             {"Allowed", []manifests.SandboxClaimEnv{{Name: "A", Value: "c"}}, nil, ReasonEnvRejected, ""},
		"an old variable, overridden": {"Overrides", []manifests.SandboxClaimEnv{{Name: "A", Value: "c"}}, nil, "", "A=c | | | data"},
		"it may be in envFrom":        {"Allowed", []manifests.SandboxClaimEnv{{Name: "X", ContainerName: "side"}}, nil, ReasonEnvRejected, ""},
		"envFrom is overridden":       {"Overrides", []manifests.SandboxClaimEnv{{Name: "X", Value: "y", ContainerName: "side"}}, nil, "", "A=b | X=y | | data"},
		"a new volume":                {"Allowed", nil, []manifests.PersistentVolumeClaimTemplate{volume("more")}, "", "A=b | | | data,more of claim"},
		"an old volume":               {"Allowed", nil, []manifests.PersistentVolumeClaimTemplate{volume("data")}, ReasonVolumeClaims, ""},
		"an old volume, overridden":   {"Overrides", nil, []manifests.PersistentVolumeClaimTemplate{volume("data")}, "", "A=b | | | data of claim"},
		"a volume that is no claim's": {"Overrides", nil, []manifests.PersistentVolumeClaimTemplate{volume("tmp")}, ReasonVolumeClaims, ""},
	} {
		t.Run(name, func(t *testing.T) {
			template := testTemplate(t)
			template.EnvVarsInjectionPolicy, template.VolumeClaimTemplatesPolicy = tc.policy, tc.policy
			spec := &manifests.SandboxClaimSpec{Env: tc.env, VolumeClaimTemplates: tc.volumes}
			pool := &manifests.SandboxWarmPoolSpec{UpdateStrategy: &manifests.SandboxWarmPoolUpdateStrategy{Type: manifests.WarmPoolOnReplenish}}
			p := PlanClaim(ClaimInput{UID: "u", Spec: spec, Pool: pool, Template: template, Now: noon})
			if (p.Make == nil) != (tc.refused != "") || tc.refused != "" && readyReason(p.Status.Conditions) != tc.refused {
				t.Fatalf("conditions %+v, want reason %q", p.Status.Conditions, tc.refused)
			}
			if p.Make == nil {
				return
			}
			var parts []string
			pod := &p.Make.PodTemplate.Spec
			for _, c := range slices.Concat(pod.Containers, pod.InitContainers) {
				var env []string
				for _, e := range c.Env {
					env = append(env, e.Name+"="+e.Value)
				}
				parts = append(parts, strings.Join(env, ","))
			}
			var volumes []string
			for _, v := range p.Make.VolumeClaimTemplates {
				text := v.ObjectMeta.Name
				if v.ObjectMeta.Labels != nil {
					text += " of claim"
				}
				volumes = append(volumes, text)
			}
			parts = append(parts, strings.Join(volumes, ","))
			if got := strings.ReplaceAll(strings.Join(parts, " | "), "  ", " "); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
			if p.Make.PodTemplate.ObjectMeta.Labels[ClaimUIDLabel] != "u" || template.PodTemplate.ObjectMeta.Labels[ClaimUIDLabel] != "" || len(template.VolumeClaimTemplates) != 1 {
				t.Error("the template was changed")
			}
		})
	}
}

func TestClaimExpires(t *testing.T) {
	at := func(d time.Duration) *metav1.Time { return new(metav1.NewTime(noon.Add(d))) }
	ready := []metav1.Condition{{Type: manifests.ConditionReady, Status: metav1.ConditionTrue, Reason: "DependenciesReady"}}
	finished := []metav1.Condition{
		{Type: manifests.ConditionReady, Status: metav1.ConditionFalse, Reason: "PodSucceeded"},
		{Type: manifests.ConditionFinished, Status: metav1.ConditionTrue, Reason: "PodSucceeded", LastTransitionTime: *at(-time.Minute)},
	}
	for name, tc := range map[string]struct {
		lifecycle manifests.SandboxClaimLifecycle
		has       []metav1.Condition
		gone      bool
		expired   bool
		again     time.Duration
	}{
		"not yet":                   {manifests.SandboxClaimLifecycle{ShutdownTime: at(time.Hour)}, ready, false, false, time.Hour},
		"its time has come":         {manifests.SandboxClaimLifecycle{ShutdownTime: at(0)}, ready, false, true, 0},
		"runs: no TTL":              {manifests.SandboxClaimLifecycle{TTLSecondsAfterFinished: new(int32(60))}, ready, false, false, 0},
		"finished, not long ago":    {manifests.SandboxClaimLifecycle{TTLSecondsAfterFinished: new(int32(90))}, finished, false, false, 30 * time.Second},
		"finished, long enough ago": {manifests.SandboxClaimLifecycle{TTLSecondsAfterFinished: new(int32(60))}, finished, false, true, 0},
		"the first of both":         {manifests.SandboxClaimLifecycle{ShutdownTime: at(time.Second), TTLSecondsAfterFinished: new(int32(90))}, finished, false, false, time.Second},
		"stays so, without sandbox": {manifests.SandboxClaimLifecycle{TTLSecondsAfterFinished: new(int32(60))}, finished, true, true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			in := ClaimInput{Spec: &manifests.SandboxClaimSpec{Lifecycle: &tc.lifecycle}, Now: noon}
			if tc.gone {
				in.Was.Conditions = tc.has
			} else {
				in.Own = []Sandbox{{Name: "a", Conditions: tc.has, PodIPs: []string{"10.0.0.1"}}}
			}
			p := PlanClaim(in)
			if got := readyReason(p.Status.Conditions) == ReasonClaimExpired; got != tc.expired {
				t.Errorf("expired: %v, want %v", got, tc.expired)
			}
			if removed := slices.Equal(p.Delete, []string{"a"}); removed != (tc.expired && !tc.gone) {
				t.Errorf("removes %q", p.Delete)
			}
			want := time.Time{}
			if tc.again != 0 {
				want = noon.Add(tc.again)
			}
			if !p.Again.Equal(want) {
				t.Errorf("looks again at %s, want %s", p.Again, want)
			}
			if tc.expired {
				in.Was = p.Status
				if again := PlanClaim(in); len(again.Events) != 0 {
					t.Errorf("told again: %v", again.Events)
				}
			}
		})
	}
}
