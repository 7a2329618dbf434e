package manifests

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

func compileSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	data, err := JSONSchema()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// check validates each document of a file as it is written.
func checkSchema(t *testing.T, schema *jsonschema.Schema, text []byte) error {
	t.Helper()
	for _, c := range split(text) {
		docs, err := parseYAML(c)
		if err != nil {
			t.Fatal(err)
		}
		for _, doc := range docs {
			root, errs := buildTree(doc, c.line)
			if len(errs) > 0 {
				t.Fatal(errs[0])
			}
			value, uerr := jsonschema.UnmarshalJSON(bytes.NewReader(root.appendJSON(nil)))
			if uerr != nil {
				t.Fatal(uerr)
			}
			if err := schema.Validate(value); err != nil {
				return err
			}
		}
	}
	return nil
}

func TestExamplesAreValid(t *testing.T) {
	schema := compileSchema(t)
	count := 0
	err := filepath.WalkDir("../examples", func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !IsManifestFile(path) {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(data, []byte("apiVersion")) {
			return err // some tool's own file
		}
		count++
		objects, errs := Parse(path, data)
		for _, e := range errs {
			t.Error(e)
		}
		for _, o := range objects {
			for _, w := range o.Warnings {
				t.Errorf("an example warns: %s", w)
			}
		}
		if err := checkSchema(t, schema, data); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		return nil
	})
	if err != nil || count == 0 {
		t.Fatalf("%d examples read: %v", count, err)
	}
}

func TestSchemaAgreesWithParse(t *testing.T) {
	schema := compileSchema(t)
	pod := func(s string) string {
		return "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: a, image: b}]" + s + "}\n"
	}
	for _, good := range []string{
		twoMaps, sandboxWith(nil), pod(""), pod(", tolerations: [{key: a}], nodeName: b"),
		sandboxWith(map[string]string{
			"spec": "operatingMode: Paused\nservice: false\nvm: {cpus: 4, memory: 1Gi, disk: 1e9, kernel: {name: a, args: [b]}, runtimeData: {x: [1]}}",
			"pod":  "volumes: [{name: a, emptyDir: {medium: Memory, sizeLimit: 1Mi}}, {name: b, configMap: {name: c, defaultMode: 0644}}, {name: c, secret: {secretName: s, items: [{key: a, path: b}]}}]\ndnsConfig: {nameservers: [1.1.1.1]}\nsecurityContext: {sysctls: [{name: a.b, value: '1'}]}",
			"container": "env: [{name: A}, {name: B, valueFrom: {secretKeyRef: {name: s, key: k, optional: true}}}]\nenvFrom: [{prefix: A, configMapRef: {name: c}}]\n" +
				"ports: [{containerPort: 80}]\nresources: {limits: {cpu: 0.5, memory: 64Mi}, requests: {cpu: 1m}}\nvolumeMounts: [{name: a, mountPath: /a}]\nsecurityContext: {capabilities: {drop: [ALL]}}",
		}),
		sandboxWith(map[string]string{
			"spec": "dependsOn: [{name: a}, {kind: Pod, name: b, condition: Completed}]\nprogressDeadlineSeconds: 5",
			"container": "ports: [{name: www, containerPort: 80}]\nstartupProbe: {exec: {command: [a]}, periodSeconds: 1}\n" +
				"livenessProbe: {grpc: {port: 1}, terminationGracePeriodSeconds: 1}\nreadinessProbe: {httpGet: {port: www, httpHeaders: [{name: A, value: b}]}}",
		}),
		"apiVersion: v1\nkind: Secret\nmetadata: {name: a, creationTimestamp: null}\ntype: Opaque\ndata: {a: aGk=}\nstringData: {b: c}\n",
		"apiVersion: agents.x-k8s.io/v1alpha1\nkind: Sandbox\nmetadata: {name: a}\nspec: {replicas: 0, podTemplate: {spec: {containers: [{name: a, image: b}]}}}\n",
		"apiVersion: agents.x-k8s.io/v1beta1\nkind: Sandbox\nmetadata: {name: a}\nspec: {operatingMode: Suspended, podTemplate: {metadata: {labels: {a: b}}, spec: {containers: [{name: a, image: b}]}}}\n",
	} {
		if _, errs := Parse("x.yaml", []byte(good)); len(errs) > 0 {
			t.Errorf("Parse refuses: %v", errs[0])
		}
		if err := checkSchema(t, schema, []byte(good)); err != nil {
			t.Errorf("the schema refuses what Parse accepts: %v\n%s", err, good)
		}
	}
	for _, bad := range []string{
		"apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n",
		"apiVersion: v1\nkind: Pdo\nmetadata: {name: a}\n",
		"apiVersion: v2\nkind: ConfigMap\nmetadata: {name: a}\n",
		"apiVersion: v1\nkind: ConfigMap\n",
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: A}\n",
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + strings.Repeat("a", 300) + "}\n",
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: 1}\n",
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndta: {}\n",
		pod(", hostNetwork: true"), pod(", initContainers: [{name: a, image: b, restartPolicy: Always}]"), pod(", restartPolicy: always"),
		pod(", volumes: [{name: a, csi: {driver: a}}]"), pod(", terminationGracePeriodSeconds: -1"), pod(", contaners: []"),
		"apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: []}\n",
		"apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: a}]}\n",
		sandboxWith(map[string]string{"spec": "vm: {cpus: 0}"}),
		sandboxWith(map[string]string{"spec": "vm: {memory: 1GB}"}),
		sandboxWith(map[string]string{"spec": "vm: {runtimeData: 1}"}),
		sandboxWith(map[string]string{"spec": "networks: [{name: default, mtu: 1}]"}),
		sandboxWith(map[string]string{"container": "resources: {limits: {gpu: 1}}"}),
		sandboxWith(map[string]string{"container": "livenessProbe: {exec: {command: [a]}, period: 1}"}),
		"apiVersion: agents.x-k8s.io/v1beta1\nkind: Sandbox\nmetadata: {name: a}\nspec: {operatingMode: Paused, podTemplate: {spec: {containers: [{name: a, image: b}]}}}\n",
		"apiVersion: agents.x-k8s.io/v1beta1\nkind: Sandbox\nmetadata: {name: a}\nspec: {vm: {cpus: 1}, podTemplate: {spec: {containers: [{name: a, image: b}]}}}\n",
		"apiVersion: agents.x-k8s.io/v1alpha1\nkind: Sandbox\nmetadata: {name: a}\nspec: {replicas: 2, podTemplate: {spec: {containers: [{name: a, image: b}]}}}\n",
	} {
		if objects, _ := Parse("x.yaml", []byte(bad)); len(objects) > 0 {
			t.Errorf("Parse accepts:\n%s", bad)
		}
		if checkSchema(t, schema, []byte(bad)) == nil {
			t.Errorf("the schema accepts what Parse refuses:\n%s", bad)
		}
	}
}

func TestSchemaIsACopy(t *testing.T) {
	first, err := JSONSchema()
	if err != nil {
		t.Fatal(err)
	}
	clear(first)
	if second, err := JSONSchema(); err != nil || !json.Valid(second) {
		t.Errorf("a caller can change the schema: %v", err)
	}
}
