package bundle

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/internal/kernels"
	"github.com/vzreconciler/vzreconciler/manifests"
)

// input reads manifests: a Pod, whose containers are of the given image, and
// ConfigMaps and Secrets.
func input(t testing.TB, img Image, yaml string) Input {
	t.Helper()
	objects, errs := manifests.Parse("/m/web.yaml", []byte(yaml))
	for _, err := range errs {
		t.Fatal(err)
	}
	in := Input{
		ConfigMaps: map[string]*corev1.ConfigMap{}, Secrets: map[string]*corev1.Secret{}, Images: map[string]*Image{},
		Kernel: kernels.Kernel{Image: "/k/vmlinuz", VMLinux: "/k/vmlinux", ModulesDir: "/k/modules"},
		Agent:  "/a/agent", CacheDir: "/s/cache", SocketDir: "/run/x",
	}
	for i := range objects {
		switch o := &objects[i]; {
		case o.Sandbox != nil:
			in.Sandbox = o.Sandbox
		case o.ConfigMap != nil:
			in.ConfigMaps[o.ConfigMap.Name] = o.ConfigMap
		case o.Secret != nil:
			in.Secrets[o.Secret.Name] = o.Secret
		}
	}
	for _, c := range in.Sandbox.Spec.PodTemplate.Spec.Containers {
		in.Images[c.Name] = &img
	}
	return in
}

func shellImage() Image {
	return Image{Rootfs: "/i/base.ext4", Config: ImageConfig{Entrypoint: []string{"/entry"}, Cmd: []string{"cmd"}}}
}

// pod returns a Pod's manifest with one container; lines of the spec are indented
// as they are, lines of the container follow.
func pod(spec, container string) string {
	s := "apiVersion: v1\nkind: Pod\nmetadata: {name: web, labels: {app: shop}}\nspec:\n"
	if spec != "" {
		s += indent(spec, "  ")
	}
	s += "  containers:\n  - name: c\n    image: docker.io/library/x:1\n"
	if container != "" {
		s += indent(container, "    ")
	}
	return s
}

func indent(s, by string) string {
	return by + strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n"+by) + "\n"
}

const data = `---
apiVersion: v1
kind: ConfigMap
metadata: {name: conf}
data: {COLOUR: blue, "b.txt": text}
binaryData: {bin: AAE=}
---
apiVersion: v1
kind: Secret
metadata: {name: creds}
stringData: {TOKEN: hunter2, user: bob}
`

func translate(t *testing.T, in Input) (drivers.Configuration, map[string][]byte) {
	t.Helper()
	cfg, secrets, err := Configuration(in)
	if err != nil {
		t.Fatal(err)
	}
	return cfg, secrets
}

func TestCommandAndArgsFollowKubernetes(t *testing.T) {
	tests := []struct {
		name, container string
		want            []string
	}{
		{"image", "", []string{"/entry", "cmd"}},
		{"args", "args: [a, b]", []string{"/entry", "a", "b"}},
		{"command", "command: [/bin/x]", []string{"/bin/x"}},
		{"both", "command: [/bin/x]\nargs: [a]", []string{"/bin/x", "a"}},
		{"variables", "command: [/bin/x]\nargs: [$(A), $$(A), $(NONE), $(PATH), 'a$', '$(A', '$x', '$(A)$(A)']\nenv: [{name: A, value: v}]",
			[]string{"/bin/x", "v", "$(A)", "$(NONE)", "$(PATH)", "a$", "$(A", "$x", "vv"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg, _ := translate(t, input(t, shellImage(), pod("", tt.container)))
			if diff := cmp.Diff(tt.want, cfg.Containers[0].Process.Args); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestNothingToRunIsAnError(t *testing.T) {
	_, _, err := Configuration(input(t, Image{}, pod("", "")))
	if err == nil || !strings.Contains(err.Error(), "containers[c].command") {
		t.Errorf("got %v", err)
	}
}

func TestEnvironmentFollowsKubernetes(t *testing.T) {
	img := shellImage()
	img.Config.Env = []string{"PATH=/bin", "A=image", "B=image", "broken"}
	tests := []struct {
		name, container, want string
	}{
		{"image", "", "PATH=/bin HOSTNAME=web A=image B=image"},
		{"env replaces the image's", "env: [{name: B, value: own}, {name: C, value: c}]", "PATH=/bin HOSTNAME=web A=image B=own C=c"},
		{"the last of a name counts", "env: [{name: C, value: c1}, {name: C, value: c2}]", "PATH=/bin HOSTNAME=web A=image B=image C=c2"},
		{"envFrom, less what is no name", "envFrom: [{configMapRef: {name: conf}}]", "PATH=/bin HOSTNAME=web A=image B=image COLOUR=blue b.txt=text"},
		{"envFrom with a prefix", "envFrom: [{prefix: P_, configMapRef: {name: conf}}]", "PATH=/bin HOSTNAME=web A=image B=image P_COLOUR=blue P_b.txt=text"},
		{"env replaces envFrom", "envFrom: [{configMapRef: {name: conf}}]\nenv: [{name: COLOUR, value: red}]", "PATH=/bin HOSTNAME=web A=image B=image COLOUR=red b.txt=text"},
		{"key of a ConfigMap", "env: [{name: C, valueFrom: {configMapKeyRef: {name: conf, key: COLOUR}}}]", "PATH=/bin HOSTNAME=web A=image B=image C=blue"},
		{"field", "env: [{name: NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}, {name: L, valueFrom: {fieldRef: {fieldPath: \"metadata.labels['app']\"}}}]",
			"PATH=/bin HOSTNAME=web A=image B=image NAME=web L=shop"},
		{"optional key", "env: [{name: C, valueFrom: {configMapKeyRef: {name: conf, key: none, optional: true}}}]", "PATH=/bin HOSTNAME=web A=image B=image"},
		{"optional object", "envFrom: [{configMapRef: {name: none, optional: true}}, {secretRef: {name: none, optional: true}}]", "PATH=/bin HOSTNAME=web A=image B=image"},
		{"earlier variables", "env: [{name: X, value: '1$(W)'}, {name: W, value: '2$(X)'}, {name: Z, value: '$(W)$(A)$$(W)'}]",
			"PATH=/bin HOSTNAME=web A=image B=image X=1$(W) W=21$(W) Z=21$(W)$(A)$(W)"},
		{"secret", "env: [{name: T, valueFrom: {secretKeyRef: {name: creds, key: TOKEN}}}]", "PATH=/bin HOSTNAME=web A=image B=image T=<env/c/T:hunter2>"},
		{"secrets from an object", "envFrom: [{secretRef: {name: creds}}]", "PATH=/bin HOSTNAME=web A=image B=image TOKEN=<env/c/TOKEN:hunter2> user=<env/c/user:bob>"},
		{"made of a secret", "env: [{name: T, valueFrom: {secretKeyRef: {name: creds, key: TOKEN}}}, {name: U, value: 'x://$(T)@h'}, {name: V, value: $(U)}]",
			"PATH=/bin HOSTNAME=web A=image B=image T=<env/c/T:hunter2> U=<env/c/U:x://hunter2@h> V=<env/c/V:x://hunter2@h>"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := input(t, img, pod("", tt.container)+data)
			in.ConfigMaps["conf"].Data["nul"] = "no variable can hold a\x00"
			cfg, secrets := translate(t, in)
			var got []string
			for _, e := range cfg.Containers[0].Process.Env {
				if e.Secret != "" {
					e.Value = "<" + e.Secret + ":" + string(secrets[e.Secret]) + ">"
				}
				got = append(got, e.Name+"="+e.Value)
			}
			if strings.Join(got, " ") != tt.want {
				t.Errorf("got  %s\nwant %s", strings.Join(got, " "), tt.want)
			}
		})
	}
}

func TestImageWithoutPathGetsDockers(t *testing.T) {
	cfg, _ := translate(t, input(t, shellImage(), pod("", "")))
	if got := cfg.Containers[0].Process.Env[0]; got != (drivers.EnvVar{Name: "PATH", Value: defaultPath}) {
		t.Errorf("got %v", got)
	}
}

func TestWhatIsMissingIsNamed(t *testing.T) {
	tests := []struct {
		name, spec, container string
		want                  []string
		missing               bool
	}{
		{"ConfigMap of env", "", "env: [{name: A, valueFrom: {configMapKeyRef: {name: none, key: k}}}]",
			[]string{"containers[c].env[A].valueFrom.configMapKeyRef", "ConfigMap default/none is missing"}, true},
		{"key of env", "", "env: [{name: A, valueFrom: {secretKeyRef: {name: creds, key: none}}}]",
			[]string{"containers[c].env[A].valueFrom.secretKeyRef", `key "none" of Secret default/creds is missing`}, true},
		{"binary key of env", "", "env: [{name: A, valueFrom: {configMapKeyRef: {name: conf, key: bin}}}]",
			[]string{`key "bin" of ConfigMap default/conf is missing`}, true},
		{"envFrom", "", "envFrom: [{secretRef: {name: none}}]",
			[]string{"containers[c].envFrom[0].secretRef", "Secret default/none is missing"}, true},
		{"volume", "volumes: [{name: v, secret: {secretName: none}}]", "",
			[]string{"volumes[v].secret", "Secret default/none is missing"}, true},
		{"item", "volumes: [{name: v, configMap: {name: conf, items: [{key: none, path: p}]}}]", "",
			[]string{"volumes[v].configMap.items[0].key", `key "none" of ConfigMap default/conf is missing`}, true},
		{"all at once", "volumes: [{name: v, secret: {secretName: none}}]", "envFrom: [{configMapRef: {name: none}}]",
			[]string{"Secret default/none", "ConfigMap default/none"}, true},
		{"root", "", "securityContext: {runAsNonRoot: true}", []string{"containers[c].securityContext.runAsNonRoot", "would run as root"}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg, secrets, err := Configuration(input(t, shellImage(), pod(tt.spec, tt.container)+data))
			if err == nil || secrets != nil || cfg.ID != "" {
				t.Fatalf("got %v and a result", err)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
			if errors.Is(err, ErrMissing) != tt.missing {
				t.Errorf("errors.Is(%v, ErrMissing) is %t", err, !tt.missing)
			}
		})
	}
}

func TestMissingImageIsNamed(t *testing.T) {
	in := input(t, shellImage(), pod("", ""))
	in.Images = nil
	if _, _, err := Configuration(in); err == nil || !strings.Contains(err.Error(), "docker.io/library/x:1") {
		t.Errorf("got %v", err)
	}
}

func TestSecretsAppearNowhereInTheConfiguration(t *testing.T) {
	in := input(t, shellImage(), pod("volumes: [{name: v, secret: {secretName: creds}}]",
		"volumeMounts: [{name: v, mountPath: /v}]\nenvFrom: [{secretRef: {name: creds}}]\nenv: [{name: U, value: 'x$(TOKEN)'}]")+data)
	cfg, secrets := translate(t, in)
	text, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, value := range []string{"hunter2", "aHVudGVyMg", "bob"} {
		if strings.Contains(string(text), value) {
			t.Errorf("%s stands in the configuration: %s", value, text)
		}
	}
	if len(secrets) != 5 {
		t.Errorf("secrets: %v", slices.Sorted(mapKeys(secrets)))
	}
}

func mapKeys(m map[string][]byte) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func TestSecretOnACommandLineIsRefused(t *testing.T) {
	_, _, err := Configuration(input(t, shellImage(), pod("",
		"args: [--password=$(T)]\nenv: [{name: T, valueFrom: {secretKeyRef: {name: creds, key: TOKEN}}}]")+data))
	if err == nil || !strings.Contains(err.Error(), "containers[c].args[0]") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
}

func TestUserFollowsKubernetes(t *testing.T) {
	tests := []struct {
		name, image, pod, own string
		want, fails           string
	}{
		{"image", "nginx:www", "", "", "nginx:www", ""},
		{"nobody says", "", "", "", "", ""},
		{"pod", "nginx", "runAsUser: 1", "", "1", ""},
		{"container before pod", "nginx", "runAsUser: 1, runAsGroup: 2", "runAsUser: 3", "3:2", ""},
		{"group alone, with the image's user", "nginx:www", "runAsGroup: 5", "", "nginx:5", ""},
		{"group alone", "", "runAsGroup: 5", "", "0:5", ""},
		{"root by the pod", "101", "runAsUser: 0", "", "0", ""},
		{"not root", "101:101", "runAsNonRoot: true", "", "101:101", ""},
		{"not root by the manifest", "", "runAsNonRoot: true", "runAsUser: 7", "7", ""},
		{"root is refused", "0", "runAsNonRoot: true", "", "", "as root"},
		{"root by default is refused", "", "runAsNonRoot: true", "", "", "as root"},
		{"a name is refused", "nginx", "runAsNonRoot: true", "", "", "no number"},
		{"the container decides", "", "runAsNonRoot: true", "runAsNonRoot: false", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			img := shellImage()
			img.Config.User = tt.image
			cfg, _, err := Configuration(input(t, img, pod("securityContext: {"+tt.pod+"}", "securityContext: {"+tt.own+"}")))
			if tt.fails != "" {
				if err == nil || !strings.Contains(err.Error(), tt.fails) {
					t.Errorf("got %v, want %q", err, tt.fails)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := cfg.Containers[0].Process.User; got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestCapabilities(t *testing.T) {
	all, some := allCapabilities(), defaultCapabilities()
	if len(all) != 41 || len(some) != 14 {
		t.Errorf("%d and %d capabilities, want 41 and 14", len(all), len(some))
	}
	tests := []struct {
		add, drop []corev1.Capability
		want      int
		has, not  string
	}{
		{nil, nil, 14, "CAP_CHOWN", "CAP_SYS_ADMIN"},
		{[]corev1.Capability{"NET_ADMIN", "cap_sys_time", "CHOWN"}, nil, 16, "CAP_SYS_TIME", "CAP_SYS_ADMIN"},
		{nil, []corev1.Capability{"CHOWN", "CAP_KILL"}, 12, "CAP_SETUID", "CAP_KILL"},
		{nil, []corev1.Capability{"ALL"}, 0, "", "CAP_CHOWN"},
		{[]corev1.Capability{"NET_BIND_SERVICE"}, []corev1.Capability{"ALL"}, 1, "CAP_NET_BIND_SERVICE", "CAP_CHOWN"},
		{[]corev1.Capability{"ALL"}, []corev1.Capability{"SYS_ADMIN"}, 40, "CAP_BPF", "CAP_SYS_ADMIN"},
		{[]corev1.Capability{"KILL"}, []corev1.Capability{"KILL"}, 13, "CAP_CHOWN", "CAP_KILL"},
	}
	for _, tt := range tests {
		got := capabilities(&corev1.SecurityContext{Capabilities: &corev1.Capabilities{Add: tt.add, Drop: tt.drop}})
		if len(got) != tt.want || (tt.has != "" && !slices.Contains(got, tt.has)) || slices.Contains(got, tt.not) || !slices.IsSorted(got) {
			t.Errorf("add %v, drop %v: got %v", tt.add, tt.drop, got)
		}
		if got == nil {
			t.Errorf("add %v, drop %v: nil would mean all", tt.add, tt.drop)
		}
	}
}

func TestStopSignals(t *testing.T) {
	for s, want := range map[string]int{
		"": 0, "SIGTERM": 15, "TERM": 15, "sigquit": 3, "SIGWINCH": 28, "9": 9, "64": 64,
		"SIGRTMIN": 34, "SIGRTMIN+3": 37, "RTMAX": 64, "SIGRTMAX-2": 62,
	} {
		if got, err := SignalNumber(s); got != want || err != nil {
			t.Errorf("%q: got %d, %v, want %d", s, got, err, want)
		}
	}
	for _, s := range []string{"SIGNONE", "0", "65", "-1", "SIGRTMIN-1", "SIGRTMAX+1", "SIGRTMIN+31", "RTMIN+", "SIG", "RTMIN+1x"} {
		if got, err := SignalNumber(s); err == nil {
			t.Errorf("%q: got %d, want an error", s, got)
		}
	}
}

func TestVolumes(t *testing.T) {
	in := input(t, shellImage(), pod(`volumes:
- {name: disk, emptyDir: {}}
- {name: mem, emptyDir: {medium: Memory, sizeLimit: 64Mi}}
- {name: all, configMap: {name: conf}}
- {name: some, configMap: {name: conf, defaultMode: 0400, items: [{key: bin, path: d/./bin, mode: 0755}, {key: COLOUR, path: a}]}}
- {name: creds, secret: {secretName: creds, items: [{key: TOKEN, path: token}]}}
- {name: none, secret: {secretName: none, optional: true}}
- {name: part, configMap: {name: conf, optional: true, items: [{key: none, path: p}, {key: COLOUR, path: a}]}}`,
		"volumeMounts: [{name: disk, mountPath: /d, subPath: s}, {name: mem, mountPath: /m, readOnly: true}, {name: all, mountPath: /c}]")+data)
	cfg, secrets := translate(t, in)
	files := func(files ...drivers.File) *drivers.FilesVolume { return &drivers.FilesVolume{Files: files} }
	want := []drivers.Volume{
		{Name: "disk", EmptyDir: &drivers.EmptyDirVolume{}},
		{Name: "mem", EmptyDir: &drivers.EmptyDirVolume{Memory: true, SizeLimitBytes: 64 << 20}},
		{Name: "all", Files: files(
			drivers.File{Path: "COLOUR", Mode: 0o644, Data: []byte("blue")},
			drivers.File{Path: "b.txt", Mode: 0o644, Data: []byte("text")},
			drivers.File{Path: "bin", Mode: 0o644, Data: []byte{0, 1}},
		)},
		{Name: "some", Files: files(
			drivers.File{Path: "a", Mode: 0o400, Data: []byte("blue")},
			drivers.File{Path: "d/bin", Mode: 0o755, Data: []byte{0, 1}},
		)},
		{Name: "creds", Files: files(drivers.File{Path: "token", Mode: 0o644, Secret: "file/creds/TOKEN"})},
		{Name: "none", Files: &drivers.FilesVolume{Files: []drivers.File{}}},
		{Name: "part", Files: files(drivers.File{Path: "a", Mode: 0o644, Data: []byte("blue")})},
	}
	if diff := cmp.Diff(want, cfg.Volumes); diff != "" {
		t.Error(diff)
	}
	if got := string(secrets["file/creds/TOKEN"]); got != "hunter2" {
		t.Errorf("secret %q", got)
	}
	mounts := []drivers.Mount{
		{Volume: "disk", Path: "/d", SubPath: "s"},
		{Volume: "mem", Path: "/m", ReadOnly: true},
		{Volume: "all", Path: "/c", ReadOnly: true},
	}
	if diff := cmp.Diff(mounts, cfg.Containers[0].Mounts); diff != "" {
		t.Error(diff)
	}
}

func TestTheRestOfTheConfiguration(t *testing.T) {
	img := shellImage()
	img.Config.WorkingDir, img.Config.StopSignal = "/srv", "SIGQUIT"
	in := input(t, img, `apiVersion: vzreconciler.dev/v1alpha1
kind: Sandbox
metadata: {name: web, namespace: shop}
spec:
  podTemplate:
    spec:
      dnsConfig: {nameservers: [1.1.1.1], searches: [a.b], options: [{name: ndots, value: "2"}, {name: rotate}]}
      hostAliases: [{ip: 10.0.0.1, hostnames: [db, database]}]
      securityContext: {sysctls: [{name: net.core.somaxconn, value: "1024"}], supplementalGroups: [7]}
      containers:
      - name: c
        image: docker.io/library/x:1
        resources: {limits: {cpu: 1500m, memory: 128Mi}}
        securityContext: {readOnlyRootFilesystem: true, allowPrivilegeEscalation: false}
      - {name: d, image: "docker.io/library/x:1", workingDir: /d}
  vm: {disk: 1Gi, kernel: {args: [quiet]}}
`)
	got, _ := translate(t, in)
	for i := range got.Containers {
		got.Containers[i].Process.Env, got.Containers[i].Process.Capabilities = nil, nil
	}
	want := drivers.Configuration{
		Version: drivers.ConfigurationVersion, ID: "shop/web", Hostname: "web", CPUs: 2,
		MemoryBytes: 256 << 20, DiskBytes: 1 << 30,
		Kernel: drivers.Kernel{Image: "/k/vmlinuz", VMLinux: "/k/vmlinux", ModulesDir: "/k/modules", Args: []string{"quiet"}},
		Agent:  "/a/agent", CacheDir: "/s/cache", SocketDir: "/run/x",
		Sysctls:     map[string]string{"net.core.somaxconn": "1024"},
		DNS:         drivers.DNS{Nameservers: []string{"1.1.1.1"}, Searches: []string{"a.b"}, Options: []string{"ndots:2", "rotate"}},
		HostAliases: []drivers.HostAlias{{IP: "10.0.0.1", Hostnames: []string{"db", "database"}}},
		Containers: []drivers.Container{
			{
				Name: "c", Rootfs: "/i/base.ext4", ReadOnlyRootfs: true, StopSignal: 3, CPUMillis: 1500, MemoryBytes: 128 << 20,
				Process: drivers.ProcessSpec{Args: []string{"/entry", "cmd"}, WorkingDir: "/srv", SupplementalGroups: []uint32{7}, NoNewPrivileges: true},
			},
			{
				Name: "d", Rootfs: "/i/base.ext4", StopSignal: 3,
				Process: drivers.ProcessSpec{Args: []string{"/entry", "cmd"}, WorkingDir: "/d", SupplementalGroups: []uint32{7}},
			},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestConfigHashChangesWithWhatIsUsed(t *testing.T) {
	yaml := pod("volumes: [{name: v, configMap: {name: conf, items: [{key: b.txt, path: b}]}}]",
		"env: [{name: T, valueFrom: {secretKeyRef: {name: creds, key: TOKEN}}}, {name: NAME, valueFrom: {fieldRef: {fieldPath: \"metadata.labels['app']\"}}}]") + data
	hash := func(change func(in Input)) string {
		in := input(t, shellImage(), yaml)
		change(in)
		return ConfigHash(in.Sandbox, in.ConfigMaps, in.Secrets)
	}
	before := hash(func(Input) {})
	for name, same := range map[string]func(Input){
		"nothing":         func(Input) {},
		"another key":     func(in Input) { in.ConfigMaps["conf"].Data["COLOUR"] = "red" },
		"another object":  func(in Input) { in.Secrets["other"] = &corev1.Secret{Data: map[string][]byte{"TOKEN": nil}} },
		"a label":         func(in Input) { in.Sandbox.Labels["app"] = "x" },
		"an object's own": func(in Input) { in.Secrets["creds"].Labels = map[string]string{"a": "b"} },
	} {
		if hash(same) != before {
			t.Errorf("%s changes the hash", name)
		}
	}
	for name, other := range map[string]func(Input){
		"a file":              func(in Input) { in.ConfigMaps["conf"].Data["b.txt"] = "other" },
		"a secret":            func(in Input) { in.Secrets["creds"].Data["TOKEN"] = []byte("x") },
		"a key that is gone":  func(in Input) { delete(in.Secrets["creds"].Data, "TOKEN") },
		"a secret in its way": func(in Input) { delete(in.ConfigMaps, "conf") },
	} {
		if hash(other) == before {
			t.Errorf("%s does not change the hash", name)
		}
	}
}

func FuzzExpand(f *testing.F) {
	for _, s := range []string{"$(A)", "$$(A)", "$", "$(", "$(A$(B))", "a$$$", "$(A)$(NONE)"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e := &environment{values: map[string]value{}, own: map[string]value{}}
		e.setOwn("A", value{text: "v", secret: true})
		got := e.expand(s)
		if !strings.Contains(s, "$") && got.text != s {
			t.Errorf("%q became %q", s, got.text)
		}
		if got.secret && !strings.Contains(s, "$(A)") {
			t.Errorf("%q counts as secret", s)
		}
		// Escaped, any text comes back as it was.
		if back := e.expand(strings.ReplaceAll(s, "$", "$$")); back.text != s || back.secret {
			t.Errorf("%q escaped became %q", s, back.text)
		}
	})
}

func ExampleConfigHash() {
	s := &manifests.Sandbox{}
	fmt.Println(len(ConfigHash(s, nil, nil)))
	// Output: 64
}
