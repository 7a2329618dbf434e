package manifests

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func claim(spec string) string {
	return "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data}\nspec: " + spec + "\n"
}

func TestClaim(t *testing.T) {
	obj := one(t, claim("{accessModes: [ReadWriteOnce], resources: {requests: {storage: 1024Mi}}, storageClassName: fast}"))
	if obj.Key != (Key{KindPersistentVolumeClaim, "default", "data"}) || ClaimBytes(&obj.Claim.Spec) != 1<<30 {
		t.Errorf("key %s, %d bytes", obj.Key, ClaimBytes(&obj.Claim.Spec))
	}
	if len(obj.Warnings) != 1 || !strings.Contains(obj.Warnings[0], "storageClassName") {
		t.Errorf("warnings: %q", obj.Warnings)
	}
}

func TestClaimThatCannotBe(t *testing.T) {
	const modes, size = "accessModes: [ReadWriteOnce]", "resources: {requests: {storage: 1Gi}}"
	for spec, want := range map[string]string{
		"{" + size + "}": "spec.accessModes: required",
		"{accessModes: [ReadWriteMany], " + size + "}":                   "several VMs cannot write to one disk",
		"{accessModes: [ReadWriteOnce, ReadWriteOncePod], " + size + "}": "ReadWriteOncePod can only stand alone",
		"{accessModes: [ReadOnlyManny], " + size + "}":                   `did you mean "ReadOnlyMany"`,
		"{" + modes + "}": "spec.resources.requests[storage]: required",
		"{" + modes + ", resources: {requests: {storage: 1Mi}}}":                     "1Mi is not between 64Mi",
		"{" + modes + ", resources: {requests: {storage: 1Gi, cpu: 1}}}":             "only storage can be requested",
		"{" + modes + ", " + size + ", volumeMode: Block}":                           "Block is not supported yet",
		"{" + modes + ", " + size + ", selector: {matchLabels: {a: b}}}":             "no PersistentVolumes to choose from",
		"{" + modes + ", " + size + ", dataSource: {kind: a, name: b}}":              "spec.dataSource.kind: must be PersistentVolumeClaim",
		"{" + modes + ", " + size + ", dataSource: {kind: VolumeSnapshot, name: b}}": "VolumeSnapshot is not supported yet",
		"{" + modes + ", " + size + ", dataSource: {kind: PersistentVolumeClaim}}":   "spec.dataSource.name: required",
	} {
		if got := messages(t, claim(spec)); len(got) != 1 || !strings.Contains(got[0], want) {
			t.Errorf("%s: got %q, want %q", spec, got, want)
		}
	}
	bad := strings.Replace(claim("{"+modes+", "+size+"}"), "{name: data}", "{name: data, annotations: {vzreconciler.dev/reclaim-policy: Recycle}}", 1)
	if got := messages(t, bad); len(got) != 1 || !strings.Contains(got[0], "must be Retain or Delete") {
		t.Errorf("reclaim policy: %q", got)
	}
}

const template = "volumeClaimTemplates: [{metadata: {name: data}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}]"

func TestSandboxUsesClaims(t *testing.T) {
	s := one(t, sandboxWith(map[string]string{
		"spec":      template,
		"pod":       "volumes: [{name: ro, persistentVolumeClaim: {claimName: shared, readOnly: true}}, {name: e, emptyDir: {}}]",
		"container": "volumeMounts: [{name: data, mountPath: /data}, {name: ro, mountPath: /ro}]",
	})).Sandbox
	want := []Claim{{Name: "shared", ReadOnly: true}, {Name: "data-web", Template: &s.Spec.VolumeClaimTemplates[0]}}
	if diff := cmp.Diff(want, s.Claims()); diff != "" {
		t.Error(diff)
	}
	// A claim from a template has no manifest to wait for.
	if refs := s.References(); len(refs) != 1 || refs[0].Key != (Key{KindPersistentVolumeClaim, "default", "shared"}) {
		t.Errorf("refers to %v", refs)
	}
}

func TestEphemeralVolumeIsAClaimOfItsSandbox(t *testing.T) {
	s := one(t, sandboxWith(map[string]string{
		"pod": "volumes: [{name: scratch, ephemeral: {volumeClaimTemplate: {spec: " + claimSpec + "}}}]",
	})).Sandbox
	claims := s.Claims()
	if len(claims) != 1 || claims[0].Name != "web-scratch" || claims[0].ReadOnly || claims[0].Template.ObjectMeta.Annotations[ReclaimPolicyAnnotation] != "Delete" {
		t.Errorf("claims: %+v", claims)
	}
	if refs := s.References(); len(refs) != 0 {
		t.Errorf("refers to %v", refs)
	}
}

func TestClaimsThatClash(t *testing.T) {
	second := strings.Replace(template, "}]", "}, {metadata: {name: data}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}]", 1)
	many := "volumes: ["
	for c := 'a'; c <= 'i'; c++ {
		many += "{name: " + string(c) + ", persistentVolumeClaim: {claimName: " + string(c) + "}},"
	}
	for name, c := range map[string]struct {
		parts map[string]string
		want  string
	}{
		"a volume of the template's name":       {map[string]string{"spec": template, "pod": "volumes: [{name: data, emptyDir: {}}]"}, "a volume is named data too"},
		"two templates of one name":             {map[string]string{"spec": second}, "another template is named data too"},
		"a template without a name":             {map[string]string{"spec": strings.Replace(template, "name: data", "labels: {a: b}", 1)}, "required: the claim's volume is named by it"},
		"an ephemeral volume without a claim":   {map[string]string{"pod": "volumes: [{name: a, ephemeral: {}}]"}, "required: the claim that is made for the volume"},
		"an ephemeral volume that is to stay":   {map[string]string{"pod": "volumes: [{name: a, ephemeral: {volumeClaimTemplate: {metadata: {annotations: {vzreconciler.dev/reclaim-policy: Retain}}, spec: " + claimSpec + "}}}]"}, "an ephemeral volume goes with its sandbox"},
		"an ephemeral volume's claim elsewhere": {map[string]string{"pod": "volumes: [{name: a, ephemeral: {volumeClaimTemplate: {spec: " + claimSpec + "}}}, {name: b, persistentVolumeClaim: {claimName: web-a}}]"}, "claim web-a is in another volume too"},
		"a claim in two volumes":                {map[string]string{"pod": "volumes: [{name: a, persistentVolumeClaim: {claimName: x}}, {name: b, persistentVolumeClaim: {claimName: x}}]"}, "claim x is in another volume too"},
		"more than the bus has room for":        {map[string]string{"pod": many + "]"}, "9 claims and directories with a sizeLimit are more than 8"},
	} {
		if got := messages(t, sandboxWith(c.parts)); len(got) != 1 || !strings.Contains(got[0], c.want) {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

func TestGrowingAClaimIsLive(t *testing.T) {
	before := one(t, sandboxWith(map[string]string{"spec": template})).Sandbox
	after := one(t, sandboxWith(map[string]string{"spec": strings.Replace(template, "1Gi", "2Gi", 1)})).Sandbox
	if c := Classify(before, after); c.Class != ChangeLive || len(c.Fields) != 1 {
		t.Errorf("%+v", c)
	}
}
