package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
	"github.com/vzreconciler/vzreconciler/reconciler/api/apitest"
)

// fromHere answers for variables and files that a test has.
func fromHere(name string) (string, bool) {
	value, ok := map[string]string{"OWN": "mine", "EMPTY": ""}[name]
	return value, ok
}

func fileHere(name string) ([]byte, error) {
	if name != "vars" {
		return nil, os.ErrNotExist
	}
	return []byte("# a comment\n\nA=from file\r\n  B=with = in it\nOWN\nNOT_SET\nC='quotes stay'\n"), nil
}

func TestManifestOfARun(t *testing.T) {
	data, err := (&runOptions{
		name: "job", namespace: "ci", image: "docker.io/library/alpine:3", restart: "on-failure",
		args: []string{"sh", "-c", "echo $HOME $(date) $$"}, entrypoint: "/bin/env", entrypointSet: true,
		env: []string{"A=last", "OWN", "NOT_SET", "EMPTY"}, envFiles: []string{"vars"},
		cpus: "2", memory: "512m", workingDir: "/srv", user: "1000:100", labels: []string{"app=job", "team"},
	}).manifest(fromHere, fileHere)
	if err != nil {
		t.Fatal(err)
	}
	want := `# Written by vzctl run. The sandbox is what this file says: edit it, commit it,
# or remove it to end the sandbox.
apiVersion: vzreconciler.dev/v1alpha1
kind: Sandbox
metadata:
  name: job
  namespace: ci
  labels:
    app: job
    team: ""
spec:
  podTemplate:
    spec:
      restartPolicy: OnFailure
      containers:
      - name: main
        image: docker.io/library/alpine:3
        command:
        - /bin/env
        args:
        - sh
        - -c
        - echo $HOME $$(date) $$$
        workingDir: /srv
        env:
        - name: B
          value: with = in it
        - name: C
          value: '''''quotes stay'''''
        - name: A
          value: last
        - name: OWN
          value: mine
        - name: EMPTY
          value: ""
        securityContext:
          runAsUser: 1000
          runAsGroup: 100
  vm:
    cpus: 2
    memory: 512Mi
`
	want = strings.ReplaceAll(want, "'''''", "'''")
	if diff := cmp.Diff(want, string(data)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if _, errs := manifests.Parse("job.yaml", data); len(errs) > 0 {
		t.Errorf("it is not valid: %v", errs[0])
	}
}

func TestMemoryOfARun(t *testing.T) {
	for in, want := range map[string]string{
		"512m": "512Mi", "512M": "512Mi", "512mb": "512Mi", "2g": "2Gi", "524288k": "524288Ki", "536870912": "536870912", "536870912b": "536870912",
		"512Mi": "512Mi", "1.5Gi": "1.5Gi",
		"": "", "0": "!", "-1m": "!", "much": "!", "1m2": "!",
	} {
		vm, err := parseVM("", in)
		got := ""
		if vm != nil {
			got = vm.Memory
		}
		if err != nil {
			got = "!"
		}
		if got != want {
			t.Errorf("--memory=%s is %q, want %q", in, got, want)
		}
	}
}

func TestNamesOfRunsAreValid(t *testing.T) {
	for image, want := range map[string]string{
		"nginx":                                   `nginx-[a-z2-7]{5}`,
		"docker.io/library/nginx:alpine":          `nginx-[a-z2-7]{5}`,
		"localhost:5000/team/my_app.x:1":          `my-app-x-[a-z2-7]{5}`,
		"a/b@sha256:" + strings.Repeat("a", 64):   `b-[a-z2-7]{5}`,
		"docker-archive:/x/busy box.tar":          `busy-box-[a-z2-7]{5}`,
		"oci-layout:/srv/___:tag":                 `sandbox-[a-z2-7]{5}`,
		"x/" + strings.Repeat("long-", 30) + "er": `(long-)+[a-z2-7]{5}`,
	} {
		name := generateName(image)
		if !regexp.MustCompile("^" + want + "$").MatchString(name) {
			t.Errorf("%s: %q is not as %s", image, name, want)
		}
		data, err := (&runOptions{name: name, namespace: "default", image: "nginx", restart: "no"}).manifest(fromHere, fileHere)
		if err != nil {
			t.Fatal(err)
		}
		if _, errs := manifests.Parse("x.yaml", data); len(errs) > 0 {
			t.Errorf("%s: %v", name, errs[0])
		}
	}
	names := map[string]bool{}
	for range 10 {
		names[generateName("a")] = true
	}
	if len(names) < 2 {
		t.Error("there is nothing random in names")
	}
}

func TestRunRefusesWhatIsNotMeant(t *testing.T) {
	for _, test := range []struct{ args, want string }{
		{"", "say which image"},
		{"-p 80 nginx", "want [IP:]HOSTPORT:PORT"},
		{"-p 80-81:80-81 nginx", "one port on each side"},
		{"-p host:80:80 nginx", "hostIP: want an IP address"},
		{"--volume /a:/b nginx", "run mounts no directories"},
		{"-v /a:/b nginx", "run mounts no directories"},
		{"--rm -d nginx", "--detach"},
		{"-dit nginx", "--detach"},
		{"--rm --restart always nginx", "--restart"},
		{"--restart on-failure:3 nginx", "on-failure"},
		{"--restart sometimes nginx", "always"},
		{"--cpus 0.5 nginx", "whole number"},
		{"--cpus 0 nginx", "whole number"},
		{"-m lots nginx", "512m"},
		{"-u nobody nginx", "UID"},
		{"-u 1:wheel nginx", "UID"},
		{"-e =x nginx", "name of a variable"},
		{"-l =x nginx", "no name"},
		{"--entrypoint= nginx", "program"},
		{"--name No_Good nginx", "metadata.name"},
		{"docker://nginx", "no scheme"},
		{"--no-such-flag nginx", "unknown flag"},
		{"--dry-run -o xml nginx", "yaml or json"},
	} {
		out := command(t, "", append([]string{"run"}, strings.Fields(test.args)...)...)
		if out.code != exitUsage || !strings.Contains(out.stderr, test.want) {
			t.Errorf("%q: code %d, %q does not say %q", test.args, out.code, out.stderr, test.want)
		}
	}
	if out := command(t, "", "run", "--env-file", "/nonexistent", "nginx"); out.code != exitNotFound || !strings.Contains(out.stderr, "/nonexistent") {
		t.Errorf("no file of variables: code %d, %q", out.code, out.stderr)
	}
}

func TestDryRunNeedsNoDaemon(t *testing.T) {
	out := command(t, "", "run", "--dry-run", "--name", "x", "-o", "json", "nginx", "-v", "--rm")
	if out.code != exitDone {
		t.Fatal(out.stderr)
	}
	var m manifests.Sandbox
	if err := json.Unmarshal([]byte(out.stdout), &m); err != nil {
		t.Fatal(err)
	}
	if got := m.Spec.PodTemplate.Spec.Containers[0].Args; !slices.Equal(got, []string{"-v", "--rm"}) {
		t.Errorf("what follows the image is the command's, which became %q", got)
	}
}

// aRun is a daemon with one sandbox that goes through states.
type aRun struct {
	apitest.Backend
	states []string // phase and container, see runState
	log    []string

	mu      sync.Mutex
	deleted bool
	calls   []string
	gone    chan struct{} // closed when it is deleted
}

func newRun(t *testing.T, states ...string) *aRun {
	r := &aRun{states: states, gone: make(chan struct{})}
	note := func(call string) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.calls = append(r.calls, call)
	}
	r.ListImagesFunc = func(context.Context) (*api.ListImagesResponse, error) {
		return &api.ListImagesResponse{Images: []*api.Image{{Reference: "nginx"}}}, nil
	}
	r.ApplyFunc = func(_ context.Context, req *api.ApplyRequest) (*api.ApplyResponse, error) {
		note(fmt.Sprintf("apply %s create=%v", req.GetFileName(), req.GetCreate()))
		return &api.ApplyResponse{}, nil
	}
	r.DeleteFunc = func(context.Context, *api.DeleteRequest) (*api.DeleteResponse, error) {
		note("delete")
		r.mu.Lock()
		defer r.mu.Unlock()
		r.deleted = true
		close(r.gone)
		return &api.DeleteResponse{}, nil
	}
	r.WatchFunc = func(ctx context.Context, _ *api.GetRequest, send func(*api.WatchResponse) error) error {
		r.mu.Lock()
		deleted := r.deleted
		r.mu.Unlock()
		if deleted {
			return send(&api.WatchResponse{Type: api.WatchResponse_SYNCED})
		}
		for i, s := range r.states {
			change := &api.WatchResponse{Type: api.WatchResponse_MODIFIED, Object: runState(t, s)}
			if err := send(change); err != nil {
				return err
			}
			if i == 0 {
				if err := send(&api.WatchResponse{Type: api.WatchResponse_SYNCED}); err != nil {
					return err
				}
			}
		}
		<-ctx.Done()
		return ctx.Err()
	}
	r.LogsFunc = func(ctx context.Context, req *api.LogsRequest, send func([]byte) error) error {
		lines := r.log
		if req.GetTail() == 1 {
			lines = lines[max(0, len(lines)-1):]
		}
		for _, l := range lines {
			// In two parts, as entries may come.
			if err := errors.Join(send([]byte(l[:len(l)/2])), send([]byte(l[len(l)/2:]+"\n"))); err != nil {
				return err
			}
		}
		if req.GetFollow() {
			select {
			case <-ctx.Done():
			case <-r.gone:
			}
		}
		return nil
	}
	return r
}

// runState is "PHASE" or "PHASE STATE", where STATE is the container's in JSON.
func runState(t *testing.T, s string) []byte {
	phase, state, _ := strings.Cut(s, " ")
	return webJSON(t, 0, func(m map[string]any) {
		st := status(m)
		st["phase"] = phase
		st["conditions"] = []any{}
		container := map[string]any{"name": "main", "state": map[string]any{}}
		if state != "" {
			container["state"] = json.RawMessage(state)
		}
		st["containerStatuses"] = []any{container}
	})
}

const (
	running   = `Running {"running":{}}`
	succeeded = `Succeeded {"terminated":{"exitCode":0,"reason":"Completed"}}`
)

func TestRunPrintsAllAndPassesTheExitCodeOn(t *testing.T) {
	var log []string
	want := ""
	for i := range 3000 {
		log = append(log, fmt.Sprintf("2026-11-23T17:51:18.%09dZ stdout F line %d", i, i))
		want += fmt.Sprintf("line %d\n", i)
	}
	log = append(log, "2026-11-23T17:51:19Z stdout P the end")
	want += "the end"
	for name, test := range map[string]struct {
		states []string
		code   int
		stderr string
	}{
		"done":             {[]string{"Pending", running, succeeded}, 0, ""},
		"done at once":     {[]string{succeeded}, 0, ""},
		"failed":           {[]string{"Pending", `Failed {"terminated":{"exitCode":42,"reason":"Error"}}`}, 42, ""},
		"killed":           {[]string{running, `Failed {"terminated":{"exitCode":137,"reason":"OOMKilled"}}`}, 137, "OOMKilled"},
		"lost":             {[]string{running, `Failed {"terminated":{"exitCode":137,"reason":"VirtualMachineLost","message":"it was killed"}}`}, 137, "it was killed"},
		"no such program":  {[]string{`Failed {"terminated":{"exitCode":128,"reason":"StartError","message":"main: not found: exec nosuch"}}`}, exitNoCommand, "nosuch"},
		"not a program":    {[]string{`Failed {"terminated":{"exitCode":128,"reason":"StartError","message":"exec /etc: is a directory"}}`}, exitCannotRun, "is a directory"},
		"stopped by vzctl": {[]string{running, `Stopped {"terminated":{"exitCode":143,"reason":"Error"}}`}, 143, ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := newRun(t, test.states...)
			b.log = log
			out := vzctl(t, &b.Backend, "", "run", "--rm", "--name", "web", "nginx")
			if out.code != test.code || !strings.Contains(out.stderr, test.stderr) || test.stderr == "" && out.stderr != "" {
				t.Errorf("code %d, want %d; %q, want %q", out.code, test.code, out.stderr, test.stderr)
			}
			if out.stdout != want && test.code != exitNoCommand && test.code != exitCannotRun {
				t.Errorf("%d bytes of output, want %d", len(out.stdout), len(want))
			}
			if diff := cmp.Diff([]string{"apply sandbox-web.yaml create=true", "delete"}, b.calls); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRunWithoutRmLeavesTheSandbox(t *testing.T) {
	b := newRun(t, succeeded)
	if out := vzctl(t, &b.Backend, "", "run", "--name", "web", "nginx"); out.code != 0 {
		t.Error(out.stderr)
	}
	if slices.Contains(b.calls, "delete") {
		t.Error("it was removed")
	}
	b = newRun(t, "Pending", running)
	if out := vzctl(t, &b.Backend, "", "run", "-d", "--name", "web", "nginx"); out.code != 0 || out.stdout != "web\n" {
		t.Errorf("detached: code %d, %q, %s", out.code, out.stdout, out.stderr)
	}
}

func TestWhatDoesNotStartIsRemovedWithRm(t *testing.T) {
	for name, test := range map[string]struct {
		states []string
		code   int
	}{
		"time is up": {[]string{"Pending"}, exitTimedOut},
		"stalled":    {[]string{"stalled"}, exitFailed},
	} {
		b := newRun(t, test.states...)
		if name == "stalled" {
			b.WatchFunc = stalled(t, &b.mu, &b.deleted)
		}
		out := vzctl(t, &b.Backend, "", "run", "--rm", "--timeout", "50ms", "--name", "web", "nginx")
		if out.code != test.code || out.stderr == "" {
			t.Errorf("%s: code %d, want %d: %s", name, out.code, test.code, out.stderr)
		}
		if !slices.Contains(b.calls, "delete") {
			t.Errorf("%s: it was not removed", name)
		}
	}
}

func stalled(t *testing.T, mu *sync.Mutex, deleted *bool) func(context.Context, *api.GetRequest, func(*api.WatchResponse) error) error {
	return func(ctx context.Context, _ *api.GetRequest, send func(*api.WatchResponse) error) error {
		mu.Lock()
		defer mu.Unlock()
		if !*deleted {
			object := webJSON(t, 0, func(m map[string]any) {
				status(m)["phase"] = "Pending"
				status(m)["containerStatuses"] = []any{}
				status(m)["conditions"] = []any{condition("Stalled", "True", "HostNotReady", "no kernel is installed")}
			})
			if err := send(&api.WatchResponse{Type: api.WatchResponse_ADDED, Object: object}); err != nil {
				return err
			}
		}
		return send(&api.WatchResponse{Type: api.WatchResponse_SYNCED})
	}
}

// What run did not make it must not remove.
func TestRunLeavesASandboxOfTheSameNameAlone(t *testing.T) {
	b := newRun(t)
	b.ApplyFunc = func(context.Context, *api.ApplyRequest) (*api.ApplyResponse, error) {
		return nil, fmt.Errorf("Sandbox default/web: %w: there is one already", drivers.ErrInvalidState)
	}
	out := vzctl(t, &b.Backend, "", "run", "--rm", "--name", "web", "nginx")
	if out.code != exitFailed || !strings.Contains(out.stderr, "there is one already") {
		t.Errorf("code %d, %s", out.code, out.stderr)
	}
	if len(b.calls) > 0 {
		t.Errorf("the daemon was told to %q", b.calls)
	}
}

func TestNothingIsMadeOfAnImageThatIsNotThere(t *testing.T) {
	b := newRun(t)
	b.PullImageFunc = func(context.Context, *api.PullImageRequest, func(*api.PullImageResponse) error) error {
		return fmt.Errorf("image other: %w", drivers.ErrNotFound)
	}
	out := vzctl(t, &b.Backend, "", "run", "--rm", "--name", "web", "other")
	if out.code != exitNotFound || len(b.calls) > 0 {
		t.Errorf("code %d, calls %q: %s", out.code, b.calls, out.stderr)
	}
}

func TestLocalImagesAreNamedByTheirWholePath(t *testing.T) {
	t.Chdir(t.TempDir())
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	out := command(t, "", "run", "--dry-run", "oci-archive:a/b.tar")
	if want := "image: oci-archive:" + filepath.Join(wd, "a/b.tar"); !strings.Contains(out.stdout, want) {
		t.Errorf("%s%s does not have %s", out.stdout, out.stderr, want)
	}
}

func TestRunPassesInputOnAndTakesOutputFromTheLog(t *testing.T) {
	b := newRun(t, running)
	b.log = []string{"2026-11-23T17:51:19Z stdout F all of it"}
	ended := make(chan struct{})
	watch := b.WatchFunc
	b.WatchFunc = func(ctx context.Context, req *api.GetRequest, send func(*api.WatchResponse) error) error {
		// It ends when its input does.
		select {
		case <-ended:
			b.states = []string{succeeded}
			return watch(ctx, req, send)
		default:
		}
		if err := send(&api.WatchResponse{Type: api.WatchResponse_MODIFIED, Object: runState(t, running)}); err != nil {
			return err
		}
		select {
		case <-ended:
			return send(&api.WatchResponse{Type: api.WatchResponse_MODIFIED, Object: runState(t, succeeded)})
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	var got string
	b.AttachFunc = func(_ context.Context, req *api.AttachStart, stdio drivers.Stdio) (drivers.ExitStatus, error) {
		data, err := io.ReadAll(stdio.Stdin)
		if !req.GetStdin() || err != nil {
			return drivers.ExitStatus{}, fmt.Errorf("stdin %v: %w", req.GetStdin(), err)
		}
		got = string(data)
		close(ended)
		_, err = io.WriteString(stdio.Stdout, "a part of it")
		return drivers.ExitStatus{}, err
	}
	out := vzctl(t, &b.Backend, "typed\n", "run", "-i", "--name", "web", "nginx")
	if out.code != 0 || got != "typed\n" || out.stdout != "all of it\n" || out.stderr != "" {
		t.Errorf("code %d, input %q, output %q, errors %q", out.code, got, out.stdout, out.stderr)
	}
}

func TestAttachGivesInputToContainersThatTakeIt(t *testing.T) {
	for name, test := range map[string]struct {
		takes bool
		args  string
		stdin bool
		code  int
	}{
		"takes input":         {true, "attach web", true, 7},
		"takes input, unused": {true, "attach web --no-stdin", false, 7},
		"takes none":          {false, "attach web", false, 7},
		"takes none, asked":   {false, "attach -i web", true, 7},
		"both":                {false, "attach -i --no-stdin web", false, exitUsage},
	} {
		b := holds(webJSON(t, 0, func(m map[string]any) {
			spec := m["spec"].(map[string]any)["podTemplate"].(map[string]any)["spec"].(map[string]any)
			spec["containers"].([]any)[0].(map[string]any)["stdin"] = test.takes
		}))
		b.AttachFunc = func(_ context.Context, req *api.AttachStart, stdio drivers.Stdio) (drivers.ExitStatus, error) {
			if req.GetStdin() != test.stdin {
				t.Errorf("%s: stdin is %v", name, req.GetStdin())
			}
			_, err := io.WriteString(stdio.Stdout, "said")
			return drivers.ExitStatus{Code: 7}, err
		}
		out := vzctl(t, b, "", strings.Fields(test.args)...)
		if out.code != test.code || test.code == 7 && out.stdout != "said" {
			t.Errorf("%s: code %d, output %q, %s", name, out.code, out.stdout, out.stderr)
		}
	}
}

func TestRunPublishesPortsOnTheDefaultNetwork(t *testing.T) {
	data, err := (&runOptions{
		name: "web", namespace: "default", image: "docker.io/library/nginx:1", restart: "no",
		publish: []string{"8080:80", "0.0.0.0:53:53/udp", "[::1]:1:2"},
	}).manifest(fromHere, fileHere)
	if err != nil {
		t.Fatal(err)
	}
	objects, errs := manifests.Parse("x.yaml", data)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	spec := objects[0].Sandbox.Spec
	if len(spec.Networks) != 1 || spec.Networks[0].Name != manifests.DefaultNetwork {
		t.Errorf("networks %+v", spec.Networks)
	}
	got := spec.PodTemplate.Spec.Containers[0].Ports
	want := []corev1.ContainerPort{
		{ContainerPort: 80, HostPort: 8080, HostIP: "127.0.0.1", Protocol: corev1.ProtocolTCP},
		{ContainerPort: 53, HostPort: 53, HostIP: "0.0.0.0", Protocol: corev1.ProtocolUDP},
		{ContainerPort: 2, HostPort: 1, HostIP: "::1", Protocol: corev1.ProtocolTCP},
	}
	if !slices.Equal(got, want) {
		t.Errorf("ports %+v", got)
	}
}
