package manifests

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// Each error stands at the very place, names the object and the field, and
// says what was probably meant.
func TestErrorsNameTheirPlace(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"unknown fields at any depth": {`apiVersion: vzreconciler.dev/v1alpha1
kind: Sandbox
metadata: {name: web, lables: {app: web}}
spec:
  podTemplate:
    spec:
      containers:
      - name: nginx
        image: nginx
        evn: [{name: A, value: b}]
        env:
        - name: TOKEN
          valueFrom: {secretKeyRef: {nam: s, key: token}}
        securityContext: {runasuser: 1}
`, []string{
			`x.yaml:3:23: Sandbox default/web: metadata.lables: unknown field (did you mean "labels"?)`,
			`x.yaml:10:9: Sandbox default/web: spec.podTemplate.spec.containers[0].evn: unknown field (did you mean "env"?)`,
			`x.yaml:13:38: Sandbox default/web: spec.podTemplate.spec.containers[0].env[0].valueFrom.secretKeyRef.nam: unknown field (did you mean "name"?)`,
			`x.yaml:14:27: Sandbox default/web: spec.podTemplate.spec.containers[0].securityContext.runasuser: unknown field (did you mean "runAsUser"?)`,
		}},
		"a field one floor too high": {`apiVersion: vzreconciler.dev/v1alpha1
kind: Sandbox
metadata: {name: web}
spec:
  containers: [{name: a, image: b}]
  memory: 512Mi
`, []string{
			`x.yaml:5:3: Sandbox default/web: spec.containers: unknown field (did you mean "podTemplate.spec.containers"?)`,
			`x.yaml:6:3: Sandbox default/web: spec.memory: unknown field (did you mean "vm.memory"?)`,
		}},
		"wrong types": {`apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  terminationGracePeriodSeconds: ten
  containers:
  - name: [nginx]
    image: 1.27
    command: echo hello
    ports: [{containerPort: 4294967296}, {containerPort: 80.5}]
    env: {A: b}
    resources: {limits: {memory: 128Mb}}
    securityContext: {readOnlyRootFilesystem: "true"}
  - just text
  -
  restartPolicy: yes
`, []string{
			`x.yaml:5:34: Sandbox default/web: spec.terminationGracePeriodSeconds: want a whole number, have a string`,
			`x.yaml:7:11: Sandbox default/web: spec.containers[0].name: want a string, have a list`,
			`x.yaml:8:12: Sandbox default/web: spec.containers[0].image: want a string, have a number: put it in quotes`,
			`x.yaml:9:14: Sandbox default/web: spec.containers[0].command: want a list, have a string`,
			`x.yaml:10:29: Sandbox default/web: spec.containers[0].ports[0].containerPort: the number is too large`,
			`x.yaml:10:58: Sandbox default/web: spec.containers[0].ports[1].containerPort: want a whole number, have a number`,
			`x.yaml:11:10: Sandbox default/web: spec.containers[0].env: want a list, have a mapping`,
			`x.yaml:12:34: Sandbox default/web: spec.containers[0].resources.limits[memory]: not a quantity; want for example "512Mi", "2" or "500m"`,
			`x.yaml:13:47: Sandbox default/web: spec.containers[0].securityContext.readOnlyRootFilesystem: want true or false, have a string`,
			`x.yaml:14:5: Sandbox default/web: spec.containers[1]: want a mapping, have a string`,
			`x.yaml:15:4: Sandbox default/web: spec.containers[2]: a list's item must not be null`,
			`x.yaml:16:18: Sandbox default/web: spec.restartPolicy: put it in quotes: Kubernetes reads it as true or false`,
		}},
		"duplicate keys": {`apiVersion: v1
kind: ConfigMap
metadata:
  name: web
  name: web2
data:
  a: "1"
  "a": "2"
`, []string{
			`x.yaml:5:3: ConfigMap default/web: duplicate key "name": it is already on line 4`,
			`x.yaml:8:3: ConfigMap default/web: duplicate key "a": it is already on line 7`,
		}},
		"kinds": {`apiVersion: v1
kind: Pdo
metadata: {name: web}
---
apiVersion: vzreconciler.dev/v1
kind: Sandbox
metadata: {name: web}
---
apiVersion: v1
kind: Sandbox
---
apiVersion: vzreconciler.dev/v1alpha1
kind: EgressPolicy
metadata: {name: default}
---
apiVersion: apps/v1
kind: Deployment
---
kind: Pod
---
apiVersion: v1
kind: 7
---
[]
`, []string{
			`x.yaml:2:7: Sandbox default/web: there is no kind "Pdo" (did you mean "Pod"?)`,
			`x.yaml:5:13: Sandbox default/web: there is no kind Sandbox in "vzreconciler.dev/v1"; it is in vzreconciler.dev/v1alpha1, agents.x-k8s.io/v1beta1, agents.x-k8s.io/v1alpha1 (did you mean "vzreconciler.dev/v1alpha1"?)`,
			`x.yaml:9:13: there is no kind Sandbox in "v1"; it is in vzreconciler.dev/v1alpha1, agents.x-k8s.io/v1beta1, agents.x-k8s.io/v1alpha1 (did you mean "vzreconciler.dev/v1alpha1"?)`,
			`x.yaml:13:7: EgressPolicy default/default: kind EgressPolicy is not supported yet`,
			`x.yaml:17:7: there is no kind "Deployment"`,
			`x.yaml:19:1: apiVersion: required: every object has an apiVersion and a kind`,
			`x.yaml:22:7: kind: want a string, have a whole number`,
			`x.yaml:24:1: want an object with apiVersion and kind, have a list`,
		}},
		"what a Pod has not": {`apiVersion: agents.x-k8s.io/v1beta1
kind: Sandbox
metadata: {name: web}
spec:
  vm: {cpus: 2}
  replicas: 1
  podTemplate: {spec: {containers: [{name: a, image: b}]}}
`, []string{
			`x.yaml:5:3: Sandbox default/web: spec.vm: unknown field: what a Pod has not needs apiVersion vzreconciler.dev/v1alpha1`,
			`x.yaml:6:3: Sandbox default/web: spec.replicas: unknown field`,
		}},
		"syntax": {`apiVersion: v1
kind: Pod
metadata:
  name: web
spec:
  containers:
  - name: a
    image: b
   ports: []
`, []string{
			`x.yaml:9:4: Sandbox default/web: not valid YAML: did not find expected key; is the line indented as its neighbours are?`,
		}},
		"a bracket that is not closed": {"kind: [unclosed\n", []string{
			`x.yaml:1:7: not valid YAML: did not find expected ',' or ']'`,
		}},
		"a brace that is not closed": {"apiVersion: v1\nkind: Pod\nmetadata:\n  labels: {a: b}\n  annotations: {a: [b], c: {d: e}\nspec: {}\n", []string{
			`x.yaml:5:16: not valid YAML: did not find expected ',' or '}'`,
		}},
		"a quote that is not closed": {"kind: Pod\nmetadata: {name: web}\nspec:\n  hostname: \"web\n", []string{
			`x.yaml:4:13: Sandbox default/web: not valid YAML: found unexpected end of stream`,
		}},
		"an item of a List": {`apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: ConfigMap
  metadata: {name: a}
  dat: {}
itms: []
`, []string{
			`x.yaml:7:3: ConfigMap default/a: dat: unknown field (did you mean "data"?)`,
			`x.yaml:8:1: itms: unknown field of a List`,
		}},
		"JSON": {"{\n  \"apiVersion\": \"v1\",\n  \"kind\": \"Pod\",\n  \"metadata\": {\"name\": \"web\"},\n  \"spec\": {\"containers\": [{\"nme\": \"a\", \"image\": \"b\"}]}\n}\n", []string{
			`x.yaml:5:28: Sandbox default/web: spec.containers[0].nme: unknown field (did you mean "name"?)`,
		}},
		"defaults are placed at what they are missing from": {`apiVersion: v1
kind: Pod
metadata: {}
spec: {containers: []}
`, []string{
			`x.yaml:3:11: metadata.name: required: every object has a name`,
			`x.yaml:4:20: spec.containers: required: at least one container`,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			_, errs := Parse("x.yaml", []byte(c.text))
			if got := texts(errs); !slices.Equal(got, c.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
		})
	}
}

func TestErrorsOfOneDocumentAreBounded(t *testing.T) {
	text := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"
	for i := range 1000 {
		text += fmt.Sprintf("key%d: 1\n", i)
	}
	if got := messages(t, text); len(got) != maxErrors {
		t.Errorf("got %d errors, want %d", len(got), maxErrors)
	}
}

func TestSuggestionsAreWhatWasMeant(t *testing.T) {
	fields := []string{"image", "imagePullPolicy", "name", "command", "args", "volumeMounts", "env", "envFrom"}
	for word, want := range map[string]string{
		"imge": "image", "Image": "image", "imagepullpolicy": "imagePullPolicy", "pullPolicy": "imagePullPolicy", "comand": "command",
		"volumeMount": "volumeMounts", "arg": "args", "": "", "zzz": "", "namne": "name", "enb": "env",
		"a-very-long-word-that-nobody-has-ever-used-as-the-name-of-a-field-at-all": "",
	} {
		if got := Closest(word, fields); got != want {
			t.Errorf("%q: got %q, want %q", word, got, want)
		}
	}
}
