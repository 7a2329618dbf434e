package manifests

import (
	"fmt"
	"strings"
	"testing"
)

// Every bound and rule, from both sides where it has two.
func TestValidation(t *testing.T) {
	const ok = ""
	volumes := "volumes: [{name: data, emptyDir: {}}, {name: conf, configMap: {name: c}}]"
	for _, c := range []struct {
		mark, lines string
		// want is in the only error: its field and message; empty for a valid one.
		want string
	}{
		{"spec", "operatingMode: Running", ok},
		{"spec", "operatingMode: Suspended", ok},
		{"spec", "operatingMode: Paused", ok},
		{"spec", "operatingMode: running", `5:18: Sandbox default/web: spec.operatingMode: must be Running, Suspended or Paused (did you mean "Running"?)`},
		{"spec", "shutdownPolicy: Delete", ok},
		{"spec", "shutdownPolicy: Keep", "spec.shutdownPolicy: must be Retain or Delete"},

		{"spec", "vm: {cpus: 1}", ok},
		{"spec", "vm: {cpus: 256}", ok},
		{"spec", "vm: {cpus: 0}", "5:14: Sandbox default/web: spec.vm.cpus: 0 is not between 1 and 256"},
		{"spec", "vm: {cpus: 257}", "spec.vm.cpus: 257 is not between 1 and 256"},
		{"spec", "vm: {cpus: -1}", "spec.vm.cpus: -1 is not between 1 and 256"},
		{"spec", "vm: {memory: 64Mi}", ok},
		{"spec", "vm: {memory: 1Ti}", ok},
		{"spec", "vm: {memory: 0}", "5:16: Sandbox default/web: spec.vm.memory: 0 is not between 64Mi and 1Ti"},
		{"spec", "vm: {memory: 63Mi}", "spec.vm.memory: 63Mi is not between 64Mi and 1Ti"},
		{"spec", "vm: {memory: 1025Gi}", "spec.vm.memory: 1025Gi is not between"},
		{"spec", "vm: {memory: -1Gi}", "spec.vm.memory: -1Gi is not between"},
		{"spec", "vm: {memory: 500m}", "spec.vm.memory: 500m is not between"},
		{"spec", "vm: {memory: ''}", "spec.vm.memory: not a quantity"},
		{"spec", "vm: {disk: 64Mi}", ok},
		{"spec", "vm: {disk: 16Ti}", ok},
		{"spec", "vm: {disk: 63Mi}", "spec.vm.disk: 63Mi is not between 64Mi and 16Ti"},
		{"spec", "vm: {disk: 17Ti}", "spec.vm.disk: 17Ti is not between"},
		{"spec", "vm: {kernel: {name: debian-6.1, args: [a=b, quiet]}}", ok},
		{"spec", "vm: {kernel: {name: ../x}}", "spec.vm.kernel.name: a lowercase RFC 1123"},
		{"spec", "vm: {kernel: {args: ['a b']}}", "spec.vm.kernel.args[0]: must be one word"},
		{"spec", "vm: {kernel: {args: ['']}}", "spec.vm.kernel.args[0]: must be one word"},
		{"spec", "vm: {kernel: {args: [" + strings.Repeat("a", 1024) + "]}}", "spec.vm.kernel.args: 1 arguments of 1025 bytes"},
		{"spec", "vm: {rosetta: Disabled}", ok},
		{"spec", "vm: {rosetta: on}", "spec.vm.rosetta: put it in quotes"},
		{"spec", "vm: {rosetta: Enabled}", "spec.vm.rosetta: must be Auto or Disabled"},
		{"spec", "vm: {nestedVirtualization: true}", ok},
		{"spec", "vm: {runtimeData: {a: [1, {b: null}]}}", ok},
		{"spec", "vm: {runtimeData: [1]}", "spec.vm.runtimeData: want a mapping, have a list"},
		{"spec", "vm: {runtimeData: {a: " + strings.Repeat("a", 64<<10) + "}}", "spec.vm.runtimeData: has"},

		{"pod", "restartPolicy: OnFailure", ok},
		{"pod", "restartPolicy: never", `must be Always, OnFailure or Never (did you mean "Never"?)`},
		{"pod", "terminationGracePeriodSeconds: 0", ok},
		{"pod", "terminationGracePeriodSeconds: 86400", ok},
		{"pod", "terminationGracePeriodSeconds: -1", "-1 is not between 0 and 86400"},
		{"pod", "terminationGracePeriodSeconds: 86401", "86401 is not between 0 and 86400"},
		{"pod", "hostname: web-1", ok},
		{"pod", "hostname: web.local", "spec.podTemplate.spec.hostname: must not contain dots"},
		{"pod", "hostname: " + strings.Repeat("a", 64), "spec.hostname: must be no more than 63"},
		{"pod", "runtimeClassName: qemu", ok},
		{"pod", "runtimeClassName: ''", ok},
		{"pod", "runtimeClassName: ../qemu", "spec.runtimeClassName: a lowercase"},
		{"pod", "os: {name: linux}", ok},
		{"pod", "os: {name: windows}", "spec.os.name: must be linux"},
		{"pod", "dnsConfig: {nameservers: [1.1.1.1, '::1'], searches: [a.b, ., _tcp.x.], options: [{name: ndots, value: '2'}, {name: rotate}]}", ok},
		{"pod", "dnsConfig: {nameservers: [dns.local]}", "dnsConfig.nameservers[0]: must be an IP address"},
		{"pod", "dnsConfig: {nameservers: [1.1.1.1, 1.1.1.2, 1.1.1.3, 1.1.1.4]}", "dnsConfig.nameservers: has 4 items; 3 are the most"},
		{"pod", `dnsConfig: {searches: ["a\nnameserver 6.6.6.6"]}`, "dnsConfig.searches[0]: "},
		{"pod", `dnsConfig: {options: [{name: "a\nb"}]}`, "dnsConfig.options[0].name: must be one word"},
		{"pod", `dnsConfig: {options: [{name: a, value: "x y"}]}`, "dnsConfig.options[0].value: must be one word"},
		{"pod", "hostAliases: [{ip: 10.0.0.1, hostnames: [db, db.local]}]", ok},
		{"pod", "hostAliases: [{ip: db, hostnames: [db]}]", "hostAliases[0].ip: must be an IP address"},
		{"pod", "hostAliases: [{ip: 10.0.0.1}]", "hostAliases[0].hostnames: required"},
		{"pod", `hostAliases: [{ip: 10.0.0.1, hostnames: ["a b"]}]`, "hostAliases[0].hostnames[0]: "},
		{"pod", "securityContext: {runAsUser: 1000, runAsGroup: 1000, runAsNonRoot: true, supplementalGroups: [1, 2]}", ok},
		{"pod", "securityContext: {runAsUser: -1}", "securityContext.runAsUser: must be between 0 and 2147483647"},
		{"pod", "securityContext: {runAsGroup: 2147483648}", "securityContext.runAsGroup: must be between"},
		{"pod", "securityContext: {runAsUser: 0, runAsNonRoot: true}", "0 is root, and runAsNonRoot is true"},
		{"pod", "securityContext: {supplementalGroups: [-1]}", "supplementalGroups[0]: must be between"},
		{"pod", "securityContext: {sysctls: [{name: net.core.somaxconn, value: '1024'}]}", ok},
		{"pod", "securityContext: {sysctls: [{name: net/../x, value: '1'}]}", "sysctls[0].name: not a sysctl's name"},
		{"pod", "securityContext: {sysctls: [{name: a.b, value: '1'}, {name: a.b, value: '2'}]}", "sysctls[1].name: a.b is set twice"},
		{"pod", `securityContext: {sysctls: [{name: a.b, value: "1\n2"}]}`, "sysctls[0].value: must be one line"},

		{"pod", "volumes: [{name: a, emptyDir: {medium: Memory, sizeLimit: 64Mi}}]", ok},
		{"pod", "volumes: [{name: a, emptyDir: {medium: HugePages}}]", "emptyDir.medium: must be empty or Memory"},
		{"pod", "volumes: [{name: a, emptyDir: {sizeLimit: 1Mi}}]", "emptyDir.sizeLimit: 1Mi is not between 64Mi"},
		{"pod", "volumes: [{name: a, emptyDir: {medium: Memory, sizeLimit: -1}}]", "emptyDir.sizeLimit: -1 is not between 4Ki and 16Ti"},
		{"pod", "volumes: [{name: a, configMap: {name: c, defaultMode: 0644, optional: true, items: [{key: k, path: d/f, mode: 0400}]}}]", ok},
		{"pod", "volumes: [{name: a, secret: {secretName: c, items: [{key: k, path: f}]}}]", ok},
		{"pod", "volumes: [{name: a, secret: {name: c}}]", `secret.name: unknown field (did you mean "secretName"?)`},
		{"pod", "volumes: [{name: a, secret: {}}]", "volumes[0].secret.secretName: required"},
		{"pod", "volumes: [{name: a}]", "volumes[0]: must have exactly one of emptyDir, "},
		{"pod", "volumes: [{name: a, emptyDir: {}, configMap: {name: c}}]", "volumes[0]: must have exactly one"},
		{"pod", "volumes: [{emptyDir: {}}]", "volumes[0].name: required"},
		{"pod", "volumes: [{name: A, emptyDir: {}}]", "volumes[0].name: a lowercase"},
		{"pod", "volumes: [{name: a, emptyDir: {}}, {name: a, emptyDir: {}}]", "volumes[1].name: another volume is named a too"},
		{"pod", "volumes: [{name: a, nfs: {server: s, path: p}}]", "nfs has no meaning here: there are no storage drivers"},
		{"pod", "volumes: [{name: a, configMap: {name: c, defaultMode: 01000}}]", "defaultMode: must be a file mode"},
		{"pod", "volumes: [{name: a, configMap: {name: c, items: [{key: k, path: ../x}]}}]", `items[0].path: must be a relative path without ".."`},
		{"pod", "volumes: [{name: a, configMap: {name: c, items: [{key: k, path: /x}]}}]", `items[0].path: must be a relative path`},
		{"pod", "volumes: [{name: a, configMap: {name: c, items: [{key: k, path: .}]}}]", `items[0].path: must be a relative path`},
		{"pod", "volumes: [{name: a, configMap: {name: c, items: [{key: k, path: ..x}]}}]", `items[0].path: must not begin with ".."`},
		{"pod", "volumes: [{name: a, configMap: {name: c, items: [{key: k, path: x}, {key: l, path: ./x}]}}]", `items[1].path: another item has the path x too`},
		{"pod", "volumes: [{name: a, configMap: {name: c, items: [{key: k}]}}]", `items[0].path: required`},
		{"pod", "volumes: [{name: a, configMap: {name: c, items: [{key: k/l, path: x}]}}]", `items[0].key: `},

		{"container", "imagePullPolicy: Never", ok},
		{"container", "imagePullPolicy: never", `imagePullPolicy: must be Always, IfNotPresent or Never (did you mean "Never"?)`},
		{"container", "command: [sh, -c]\nargs: ['echo $(A)']\nworkingDir: /srv", ok},
		{"container", "command: ['']", "command[0]: required: the program to run"},
		{"container", `args: ["a\0b"]`, "args[0]: must not hold a NUL byte"},
		{"container", "workingDir: srv", "workingDir: must be an absolute path"},
		{"container", "workingDir: /a/../b", "workingDir: must be an absolute path"},
		{"container", "ports: [{name: http, containerPort: 80}, {containerPort: 53, protocol: UDP}]", ok},
		{"container", "ports: [{containerPort: 0}]", "ports[0].containerPort: must be between 1 and 65535"},
		{"container", "ports: [{containerPort: 65536}]", "ports[0].containerPort: must be between 1 and 65535"},
		{"container", "ports: [{containerPort: 1, protocol: udp}]", `ports[0].protocol: must be TCP or UDP (did you mean "UDP"?)`},
		{"container", "ports: [{containerPort: 1, name: a}, {containerPort: 2, name: a}]", "ports[1].name: another port is named a too"},
		{"container", "ports: [{containerPort: 1, name: a_b}]", "ports[0].name: "},
		{"container", "env: [{name: A, value: a}, {name: A, value: b}, {name: a.b-c, value: ''}]", ok},
		{"container", "env: [{value: a}]", "env[0].name: required"},
		{"container", "env: [{name: A=B, value: a}]", "env[0].name: "},
		{"container", `env: [{name: A, value: "a\0"}]`, "env[0].value: must be text"},
		{"container", "env: [{name: A, valueFrom: {configMapKeyRef: {name: c, key: k, optional: true}}}]", ok},
		{"container", "env: [{name: A, valueFrom: {fieldRef: {fieldPath: \"metadata.labels['app']\"}}}]", ok},
		{"container", "env: [{name: A, valueFrom: {fieldRef: {fieldPath: metadata.nme}}}]", `fieldPath: must be metadata.name`},
		{"container", "env: [{name: A, value: a, valueFrom: {secretKeyRef: {name: c, key: k}}}]", "env[0].valueFrom: value is set already"},
		{"container", "env: [{name: A, valueFrom: {}}]", "env[0].valueFrom: must have exactly one"},
		{"container", "env: [{name: A, valueFrom: {secretKeyRef: {key: k}}}]", "secretKeyRef.name: required"},
		{"container", "env: [{name: A, valueFrom: {secretKeyRef: {name: c, key: a b}}}]", "secretKeyRef.key: "},
		{"container", "envFrom: [{prefix: P_, configMapRef: {name: c}}, {secretRef: {name: s, optional: true}}]", ok},
		{"container", "envFrom: [{prefix: P_}]", "envFrom[0]: must have exactly one of configMapRef and secretRef"},
		{"container", "envFrom: [{configMapRef: {name: c}, secretRef: {name: s}}]", "envFrom[0]: must have exactly one"},
		{"container", "envFrom: [{secretRef: {name: S}}]", "envFrom[0].secretRef.name: "},
		{"container", "resources: {limits: {cpu: 1500m, memory: 128Mi}}", ok},
		{"container", "resources: {limits: {cpu: 0}}", "limits[cpu]: 0 is not between"},
		{"container", "resources: {limits: {memory: 1Mi}}", "limits[memory]: 1Mi is not between 4Mi and 1Ti"},
		{"container", "resources: {limits: {memry: 1Gi}}", `limits[memry]: only cpu and memory can be limited (did you mean "memory"?)`},
		{"container", "resources: {limits: {ephemeral-storage: 1Gi}}", ok},
		{"container", "resources: {limits: {nvidia.com/gpu: 1}}", `limits[nvidia.com/gpu]: only cpu and memory can be limited`},
		{"container", "securityContext: {capabilities: {drop: [ALL], add: [NET_BIND_SERVICE, CAP_CHOWN, kill]}}", ok},
		{"container", "securityContext: {capabilities: {add: [NET_BIND]}}", `capabilities.add[0]: there is no capability "NET_BIND" (did you mean`},
		{"container", "securityContext: {runAsUser: 4294967296}", "securityContext.runAsUser: must be between"},
		{"container", "volumeMounts: [{name: data, mountPath: /data, subPath: a/b, readOnly: true}, {name: conf, mountPath: /etc/conf}]", ok},
		{"container", "volumeMounts: [{name: dta, mountPath: /data}]", `volumeMounts[0].name: there is no volume "dta" (did you mean "data"?)`},
		{"container", "volumeMounts: [{name: data}]", "volumeMounts[0].mountPath: required"},
		{"container", "volumeMounts: [{name: data, mountPath: data}]", "mountPath: must be an absolute path"},
		{"container", "volumeMounts: [{name: data, mountPath: /a/../b}]", "mountPath: must be an absolute path"},
		{"container", "volumeMounts: [{name: data, mountPath: /}]", "mountPath: must not be the container's root"},
		{"container", "volumeMounts: [{name: data, mountPath: /proc/sys}]", "mountPath: /proc/sys is the kernel's"},
		{"container", "volumeMounts: [{name: data, mountPath: /dev/shm}]", ok},
		{"container", "volumeMounts: [{name: data, mountPath: /a}, {name: conf, mountPath: /a/}]", "volumeMounts[1].mountPath: another volume is mounted at /a too"},
		{"container", "volumeMounts: [{name: data, mountPath: /a, subPath: ../b}]", "subPath: must be a relative path"},
		{"container", "volumeMounts: [{name: data, mountPath: /a, subPath: /b}]", "subPath: must be a relative path"},
	} {
		t.Run(fmt.Sprintf("%.60s", c.lines), func(t *testing.T) {
			parts := map[string]string{c.mark: c.lines}
			if c.mark == "container" {
				parts["pod"] = volumes
			}
			objects, errs := Parse("x.yaml", []byte(sandboxWith(parts)))
			switch {
			case c.want == ok && (len(errs) > 0 || len(objects) != 1):
				t.Errorf("refused: %q", texts(errs))
			case c.want != ok && (len(errs) != 1 || !strings.Contains(errs[0].Error(), c.want)):
				t.Errorf("got %q, want one error with %q", texts(errs), c.want)
			}
		})
	}
}

func TestNamesLabelsAndAnnotationsAreBounded(t *testing.T) {
	for metadata, want := range map[string]string{
		"{name: web}": "",
		"{name: web.example.com, namespace: prod}": "",
		"{name: " + strings.Repeat("a", 253) + "}": "",
		"{name: " + strings.Repeat("a", 300) + "}": "metadata.name: the name has 300 characters; 253 are the most",
		"{name: Web}":                     "metadata.name: a lowercase RFC 1123 subdomain",
		"{name: ../web}":                  "metadata.name: a lowercase",
		"{name: ''}":                      "metadata.name: required",
		"{namespace: a}":                  "metadata.name: required",
		"{name: web, namespace: a.b}":     "metadata.namespace: must not contain dots",
		"{name: web, namespace: ..}":      "metadata.namespace: a lowercase RFC 1123 label",
		"{name: web, labels: {a.b/c: d}}": "",
		"{name: web, labels: {'a b': c}}": "4:",
		"{name: web, labels: {a: 'b c'}}": "metadata.labels[a]: not a label's value",
		"{name: web, labels: {a: " + strings.Repeat("b", 64) + "}}":            "metadata.labels[a]: not a label's value: must be no more than 63",
		"{name: web, labels: {a: }}":                                           "metadata.labels[a]: want a string, have null",
		"{name: web, annotations: {A.b/c: 'any thing'}}":                       "",
		"{name: web, annotations: {vzreconciler.dev/prune: disabled}}":         "",
		"{name: web, annotations: {vzreconciler.dev/prune: disable}}":          `metadata.annotations[vzreconciler.dev/prune]: must be disabled or enabled (did you mean "disabled"?)`,
		"{name: web, annotations: {'a b': c}}":                                 "metadata.annotations[a b]: not an annotation's name",
		"{name: web, annotations: {a: " + strings.Repeat("b", 256<<10) + "}}":  "metadata.annotations: the annotations have 262145 bytes",
		"{name: web, generateName: a}":                                         "metadata.generateName: generateName has no meaning here",
		"{name: web, ownerReferences: [{}]}":                                   "has no meaning here",
		"{name: web, creationTimestamp: null, uid: abc, resourceVersion: '1'}": "",
		"{name: web, creationTimestamp: now}":                                  "metadata.creationTimestamp: not a time",
	} {
		t.Run(fmt.Sprintf("%.60s", metadata), func(t *testing.T) {
			text := "apiVersion: v1\nkind: Pod\n# a comment\nmetadata: " + metadata + "\nspec: {containers: [{name: a, image: b}]}\n"
			_, errs := Parse("x.yaml", []byte(text))
			if want == "" && len(errs) > 0 || want != "" && (len(errs) != 1 || !strings.Contains(errs[0].Error(), want)) {
				t.Errorf("got %.300q, want %q", texts(errs), want)
			}
		})
	}
}

func TestContainersAreNamedOnceAndFitTheVM(t *testing.T) {
	pod := func(vm, containers string) string {
		return "apiVersion: vzreconciler.dev/v1alpha1\nkind: Sandbox\nmetadata: {name: web}\nspec:\n  vm: " + vm +
			"\n  podTemplate: {spec: {containers: " + containers + "}}\n"
	}
	for _, c := range []struct{ vm, containers, want string }{
		{"{}", "[{name: a, image: b}, {name: b, image: b}]", ""},
		{"{}", "[{name: a, image: b}, {name: a, image: b}]", "containers[1].name: another container is named a too"},
		{"{}", "[{image: b}]", "containers[0].name: required"},
		{"{}", "[{name: a.b, image: b}]", "containers[0].name: must not contain dots"},
		{"{}", "[{name: a}]", "containers[0].image: required"},
		{"{}", "[]", "containers: required"},
		{"{cpus: 2}", "[{name: a, image: b, resources: {limits: {cpu: 2}}}, {name: b, image: b, resources: {limits: {cpu: 2}}}]", ""},
		{"{cpus: 1}", "[{name: a, image: b, resources: {limits: {cpu: 1500m}}}]", "limits[cpu]: 1500m is more than the VM's 1 CPUs"},
		{"{memory: 128Mi}", "[{name: a, image: b, resources: {limits: {memory: 256Mi}}}]", "limits[memory]: 256Mi is more than the VM's memory, 128Mi"},
		{"{}", "[{name: a, image: b, resources: {limits: {cpu: 200}}}, {name: b, image: b, resources: {limits: {cpu: 200}}}]", "spec.vm.cpus: the containers' limits add up to more than 256 CPUs"},
		{"{}", "[{name: a, image: b, resources: {limits: {memory: 1Ti}}}]", "spec.vm.memory: the containers' limits and the overhead add up"},
	} {
		_, errs := Parse("x.yaml", []byte(pod(c.vm, c.containers)))
		if c.want == "" && len(errs) > 0 || c.want != "" && (len(errs) != 1 || !strings.Contains(errs[0].Error(), c.want)) {
			t.Errorf("%s %s: got %q, want %q", c.vm, c.containers, texts(errs), c.want)
		}
	}
}

func TestForeignKindsKeepTheirOwnRules(t *testing.T) {
	sandbox := func(version, line string) string {
		return "apiVersion: agents.x-k8s.io/" + version + "\nkind: Sandbox\nmetadata: {name: web}\nspec:\n  " + line +
			"\n  podTemplate: {spec: {containers: [{name: a, image: b}]}}\n"
	}
	for _, c := range []struct{ version, line, want string }{
		{"v1beta1", "operatingMode: Suspended", ""},
		{"v1beta1", "operatingMode: Paused", "must be Running or Suspended; Paused needs apiVersion vzreconciler.dev/v1alpha1"},
		{"v1beta1", "shutdownTime: 2026-12-24T18:00:00Z", ""},
		{"v1beta1", "shutdownTime: at six", `not a time; want for example "2026-12-24T18:00:00Z"`},
		{"v1alpha1", "replicas: 0", ""},
		{"v1alpha1", "replicas: 1", ""},
		{"v1alpha1", "replicas: 2", "spec.replicas: must be 0 (suspended) or 1 (running)"},
		{"v1alpha1", "operatingMode: Running", "unknown field"},
	} {
		_, errs := Parse("x.yaml", []byte(sandbox(c.version, c.line)))
		if c.want == "" && len(errs) > 0 || c.want != "" && (len(errs) != 1 || !strings.Contains(errs[0].Error(), c.want)) {
			t.Errorf("%s %s: got %q, want %q", c.version, c.line, texts(errs), c.want)
		}
	}
}

func TestDataIsBounded(t *testing.T) {
	for lines, want := range map[string]string{
		"kind: ConfigMap\ndata: {a.b_c-D: x}\nbinaryData: {b: AAEC}":       "",
		"kind: ConfigMap\ndata: {a/b: x}":                                  "data[a/b]: a valid config key",
		"kind: ConfigMap\ndata: {..: x}":                                   "data[..]: must not be '..'",
		"kind: ConfigMap\ndata: {a: x}\nbinaryData: {a: AAEC}":             "binaryData[a]: the key is in data too",
		"kind: ConfigMap\nbinaryData: {a: '!'}":                            "binaryData[a]: not base64",
		"kind: ConfigMap\ndata: {a: " + strings.Repeat("x", 1<<20) + "}":   "",
		"kind: ConfigMap\ndata: {a: " + strings.Repeat("x", 1<<20+1) + "}": "the values have 1048577 bytes; 1048576 are the most",
		"kind: Secret\nstringData: {a/b: x}":                               "stringData[a/b]: a valid config key",
		"kind: Secret\ndata: {a: x}":                                       "data[a]: not base64; plain text goes in stringData",
		"kind: Secret\ntype: kubernetes.io/tls":                            "",
		"kind: Secret\ntype: 'a b'":                                        "type: not a type of Secret",
	} {
		_, errs := Parse("x.yaml", []byte("apiVersion: v1\nmetadata: {name: a}\n"+lines))
		if want == "" && len(errs) > 0 || want != "" && (len(errs) != 1 || !strings.Contains(errs[0].Error(), want)) {
			t.Errorf("%.80s: got %.300q, want %q", lines, texts(errs), want)
		}
	}
}
