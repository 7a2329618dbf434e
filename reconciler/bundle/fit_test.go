package bundle

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/manifests"
)

func parseSandbox(t *testing.T, yaml string) *manifests.Sandbox {
	t.Helper()
	objects, errs := manifests.Parse("web.yaml", []byte(yaml))
	if len(errs) > 0 || len(objects) != 1 {
		t.Fatalf("%v", errs)
	}
	return objects[0].Sandbox
}

const plainSandbox = `apiVersion: vzreconciler.dev/v1alpha1
kind: Sandbox
metadata: {name: web}
spec:
  podTemplate:
    spec:
      containers:
      - name: main
        image: scratch
        command: [x]
`

const testSchema = `{"type": "object", "additionalProperties": false, "required": ["size"], "properties": {
	"size": {"type": "integer", "minimum": 1},
	"mode": {"enum": ["a", "b"]},
	"list": {"type": "array", "items": {"type": "object", "additionalProperties": false, "properties": {"a.b": {"type": "string"}}}}}}`

func TestWhatARuntimeLacksIsAMisfit(t *testing.T) {
	all := drivers.Info{Version: "1", Capabilities: drivers.Capabilities(), RuntimeDataSchema: json.RawMessage(testSchema)}
	none := drivers.Info{Version: "1"}
	for _, tt := range []struct {
		name, add string // to the spec
		info      drivers.Info
		want      []string
	}{
		{"nothing asked for", "", none, nil},
		{"pause", "  operatingMode: Paused\n", none, []string{`spec.operatingMode: runtime "r" 1 cannot pause a sandbox (it has no capability "pause")`}},
		{"pause, which it can", "  operatingMode: Paused\n", all, nil},
		{"nested", "  vm: {nestedVirtualization: true}\n", none, []string{`spec.vm.nestedVirtualization: runtime "r" 1 cannot let a guest run VMs of its own (it has no capability "nestedVirtualization")`}},
		{"two containers", "      - {name: b, image: scratch, command: [x]}\n", none, []string{`spec.podTemplate.spec.containers[1]: runtime "r" 1 cannot run more than one container in a sandbox (it has no capability "containers")`}},
		{"probes", "        readinessProbe: {tcpSocket: {port: 1}}\n        livenessProbe: {exec: {command: [a]}}\n", none, []string{
			`spec.podTemplate.spec.containers[0].livenessProbe: runtime "r" 1 cannot probe a container by a program in it (it has no capability "exec")`,
			`spec.podTemplate.spec.containers[0].readinessProbe: runtime "r" 1 cannot probe a port of a container (it has no capability "dial")`,
		}},
		{"volumes", "      volumes: [{name: v, emptyDir: {}}]\n", none, []string{`spec.podTemplate.spec.volumes: runtime "r" 1 cannot mount volumes (it has no capability "volumes")`}},
		{"claims", "      volumes: [{name: v, persistentVolumeClaim: {claimName: c}}]\n", none, []string{`spec.podTemplate.spec.volumes: runtime "r" 1 cannot mount volumes that outlive the sandbox (it has no capability "diskVolumes")`}},
		{"claim templates", "  volumeClaimTemplates: [{metadata: {name: v}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}]\n", none, []string{`spec.volumeClaimTemplates: runtime "r" 1 cannot mount volumes that outlive the sandbox (it has no capability "diskVolumes")`}},
		{"fsGroup", "      securityContext: {fsGroup: 5}\n", none, []string{`spec.podTemplate.spec.securityContext.fsGroup: runtime "r" 1 cannot give volumes to a group (it has no capability "diskVolumes")`}},
		{"data for one that takes none", "  vm: {runtimeData: {size: 1}}\n", none, []string{`spec.vm.runtimeData: runtime "r" 1 takes no runtimeData`}},
		{"good data", "  vm: {runtimeData: {size: 1, mode: a}}\n", all, nil},
		{"bad data", "  vm: {runtimeData: {size: 0, mode: c, nosuch: 1, list: [{}, {a.b: 1, x: 2}]}}\n", all, []string{
			"spec.vm.runtimeData.list[1].x: unknown field", "spec.vm.runtimeData.list[1][a.b]: got number, want string",
			"spec.vm.runtimeData.mode: value must be one of 'a', 'b'", "spec.vm.runtimeData.nosuch: unknown field",
			"spec.vm.runtimeData.size: minimum: got 0, want 1",
		}},
		{"missing data", "  vm: {runtimeData: {mode: a}}\n", all, []string{"spec.vm.runtimeData: missing property 'size'"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := parseSandbox(t, plainSandbox+tt.add)
			var got []string
			for _, m := range Misfits(s, "r", tt.info) {
				got = append(got, m.Error())
			}
			sorted := cmp.Transformer("sorted", func(l []string) map[string]bool {
				set := map[string]bool{}
				for _, s := range l {
					set[s] = true
				}
				return set
			})
			if diff := cmp.Diff(tt.want, got, sorted); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if tt.add != "" && !Asks(s) {
				t.Error("Asks does not know of it")
			}
		})
	}
	if Asks(parseSandbox(t, plainSandbox)) {
		t.Error("a plain sandbox asks for something")
	}
}

func TestImageAndKernelAreThereExactlyWhenTheRuntimeNeedsThem(t *testing.T) {
	scratch := parseSandbox(t, plainSandbox)
	busybox := parseSandbox(t, strings.Replace(plainSandbox, "image: scratch", "image: busybox:1", 1))
	for _, tt := range []struct {
		sandbox *manifests.Sandbox
		needs   Needs
		want    string
	}{
		{scratch, Needs{}, ""},
		{busybox, Needs{Image: true}, ""},
		{scratch, Needs{Image: true}, `needs an image`},
		{busybox, Needs{}, `runs no images: say "scratch"`},
		{parseSandbox(t, plainSandbox+"  vm: {kernel: {args: [quiet]}}\n"), Needs{}, `spec.vm.kernel: runtime "r" boots no kernel`},
		{parseSandbox(t, plainSandbox+"  vm: {kernel: {name: mine}}\n"), Needs{}, `spec.vm.kernel: runtime "r" boots no kernel`},
	} {
		err := MisfitError(NeedMisfits(tt.sandbox, "r", tt.needs))
		if tt.want == "" && err != nil || tt.want != "" && (!errors.Is(err, drivers.ErrInvalidArgument) || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%+v: %v, want %q", tt.needs, err, tt.want)
		}
	}
}

func TestSchemaThatReachesOutIsRefused(t *testing.T) {
	for name, schema := range map[string]string{
		"file":     `{"$ref": "file:///etc/passwd"}`,
		"network":  `{"$ref": "https://example.com/schema.json"}`,
		"no JSON":  `{`,
		"nonsense": `{"type": "wish"}`,
		"huge":     `{"description": "` + strings.Repeat("x", maxSchemaBytes) + `"}`,
	} {
		if faults, err := validateJSON(json.RawMessage(schema), json.RawMessage(`{}`)); err == nil {
			t.Errorf("%s: faults %v and no error", name, faults)
		}
	}
}

// The library takes all memory for these, or panics.
func TestNumbersThatNobodyWritesAreRefused(t *testing.T) {
	for _, number := range []string{"1e1000000000", "-1e400", "1e-1000000000", "0e999999999", "0." + strings.Repeat("3", 10_000)} {
		if faults, err := validateJSON(json.RawMessage(`{"items": {"multipleOf": 3}}`), json.RawMessage("["+number+"]")); err != nil || len(faults) != 1 {
			t.Errorf("%.20s in the data: %v, %v", number, faults, err)
		}
		if _, err := validateJSON(json.RawMessage(`{"multipleOf": `+number+`}`), json.RawMessage(`1`)); err == nil {
			t.Errorf("%.20s in the schema: no error", number)
		}
	}
	if faults, err := validateJSON(json.RawMessage(`{"multipleOf": 1e-3}`), json.RawMessage(`1.5e3`)); err != nil || len(faults) != 0 {
		t.Errorf("an honest number: %v, %v", faults, err)
	}
}

func FuzzValidateJSON(f *testing.F) {
	f.Add([]byte(testSchema), []byte(`{"size": 0}`))
	f.Add([]byte(`{"anyOf": [{"type": "string"}, {"const": 1}]}`), []byte(`[]`))
	f.Add([]byte(`{"$ref": "#"}`), []byte(`1`))
	f.Add([]byte(`{"multipleOf": 3}`), []byte(`1e1000000000`))
	f.Fuzz(func(t *testing.T, schema, doc []byte) {
		faults, err := validateJSON(schema, doc)
		if err != nil && len(faults) > 0 {
			t.Error("both faults and an error")
		}
	})
}
