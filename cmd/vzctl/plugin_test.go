package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/vzreconciler/vzreconciler/plugins"
	"github.com/vzreconciler/vzreconciler/reconciler/bundle"
)

// leftBehind is removed after the tests.
var leftBehind string

// fakePlugins is a directory of plugins with the fake runtime in it, built once.
var fakePlugins = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "plugins")
	if err != nil {
		return "", err
	}
	leftBehind = dir
	home := filepath.Join(dir, "runtime-fake")
	cmd := exec.CommandContext(context.Background(), "go", "build", "-buildvcs=false", "-o", filepath.Join(home, "bin", "runtime-fake"), "../../plugins/runtime-fake")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", errors.New(string(out))
	}
	manifest, err := os.ReadFile("../../plugins/runtime-fake/plugin.yaml")
	if err != nil {
		return "", err
	}
	// Tests of vzctl have neither images nor kernels.
	manifest = append(manifest, "needs: []\n"...)
	return dir, os.WriteFile(filepath.Join(home, plugins.ManifestFile), manifest, 0o600)
})

// withFake makes a state directory of the test's own and the fake runtime known.
func withFake(t *testing.T) (pluginDir string) {
	t.Helper()
	dir, err := fakePlugins()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(bundle.StateDirEnv, t.TempDir())
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	t.Setenv(plugins.PathEnv, dir)
	return dir
}

// script puts a program into a directory.
func script(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
}

func TestPluginListShowsWhatIsInstalledShadowedAndBroken(t *testing.T) {
	dir := withFake(t)
	state := os.Getenv(bundle.StateDirEnv)
	script(t, filepath.Join(state, "plugins", "runtime-fake", "run"), "exit 1")
	manifest := "kind: runtime\nname: fake\nversion: 0.0.9\nprotocolVersions: [1]\ncommand: run\n"
	if err := os.WriteFile(filepath.Join(state, "plugins", "runtime-fake", plugins.ManifestFile), []byte(manifest), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(state, "plugins", "half"), 0o700); err != nil {
		t.Fatal(err)
	}
	out := command(t, "", "plugin", "list", "-o", "json")
	var list struct{ Items []listedPlugin }
	if err := json.Unmarshal([]byte(out.stdout), &list); err != nil {
		t.Fatalf("%v: %s", err, out.stdout)
	}
	got := map[string]listedPlugin{}
	for _, p := range list.Items {
		got[p.Path] = p
	}
	if p := got[filepath.Join(dir, "runtime-fake")]; p.Status != pluginReady || p.Version != "0.1.0" || len(p.SHA256) != 64 || len(p.ProtocolVersions) != 2 {
		t.Errorf("the installed one: %+v", p)
	}
	if p := got[filepath.Join(state, "plugins", "runtime-fake")]; p.Status != pluginShadowed || p.Version != "0.0.9" || !strings.Contains(p.Message, dir) {
		t.Errorf("the shadowed one: %+v", p)
	}
	if p := got[filepath.Join(state, "plugins", "half")]; p.Status != pluginBroken || !strings.Contains(p.Message, "no plugin.yaml") {
		t.Errorf("the broken one: %+v", p)
	}
	if out := command(t, "", "plugin", "list"); strings.Contains(out.stdout, "0.0.9") || !strings.Contains(out.stdout, "0.1.0") {
		t.Errorf("without wide: %s", out.stdout)
	}
	if out := command(t, "", "plugin", "list", "-o", "wide"); !strings.Contains(out.stdout, "0.0.9") || !strings.Contains(out.stdout, dir) {
		t.Errorf("wide: %s", out.stdout)
	}
}

func TestPluginInspectAsksTheRuntime(t *testing.T) {
	withFake(t)
	out := command(t, "", "plugin", "inspect", "fake", "-o", "json")
	var p inspectedPlugin
	if err := json.Unmarshal([]byte(out.stdout), &p); err != nil {
		t.Fatalf("%v: %+v", err, out)
	}
	if p.Usable == nil || !*p.Usable || p.Runtime == nil || !p.Runtime.Can("exec") || len(p.Runtime.RuntimeDataSchema) == 0 || len(p.UnknownCapabilities) > 0 {
		t.Errorf("%+v", p)
	}
	out = command(t, "", "plugin", "inspect", "fake")
	for _, want := range []string{"Usable here:  yes", "exec", "bootDelay", "<none>"} {
		if !strings.Contains(out.stdout, want) {
			t.Errorf("no %q in %s", want, out.stdout)
		}
	}
	if out := command(t, "", "__complete", "plugin", "test", ""); !strings.Contains(out.stdout, "fake\tSandboxes in memory") {
		t.Errorf("completion: %q", out.stdout)
	}
	if out := command(t, "", "plugin", "inspect", "nosuch"); out.code != exitNotFound || !strings.Contains(out.stderr, "there is fake") {
		t.Errorf("%+v", out)
	}
}

func TestPluginTestReportsEveryCheck(t *testing.T) {
	withFake(t)
	junit := filepath.Join(t.TempDir(), "report.xml")
	out := command(t, "", "plugin", "test", "fake", "--run", "^(Info|Exec|WhatIs)", "--parallel", "4", "--junit", junit, "-o", "json")
	var r testedPlugin
	if err := json.Unmarshal([]byte(out.stdout), &r); err != nil {
		t.Fatalf("%v: %+v", err, out)
	}
	if out.code != exitDone || r.Failed != 0 || r.Passed < 8 || r.Skipped != 1 || len(r.Checks) != r.Passed+r.Skipped || r.Seconds <= 0 {
		t.Errorf("code %d: %+v", out.code, r)
	}
	data, err := os.ReadFile(junit)
	if err != nil || !bytes.Contains(data, []byte(`<testcase name="ExecReportsExitCode"`)) || !bytes.Contains(data, []byte(`failures="0"`)) {
		t.Errorf("%v: %s", err, data)
	}
	// A sandbox that cannot start its process fails the checks that need one.
	out = command(t, "", "plugin", "test", "fake", "--run", "^ExecReports", "--runtime-data", `{"startError": "no luck"}`)
	if out.code != exitFailed || !strings.Contains(out.stdout, "FAIL  ExecReportsExitCode") || !strings.Contains(out.stdout, "no luck") || !strings.Contains(out.stdout, "0 passed, 1 failed") {
		t.Errorf("%+v", out)
	}
	for _, args := range [][]string{{"--run", "nosuch"}, {"--run", "("}, {"--image", "busybox"}} {
		if out := command(t, "", append([]string{"plugin", "test", "fake"}, args...)...); out.code != exitUsage {
			t.Errorf("%v: %+v", args, out)
		}
	}
}

const fakeSandbox = `apiVersion: vzreconciler.dev/v1alpha1
kind: Sandbox
metadata: {name: web}
spec:
  podTemplate:
    spec:
      runtimeClassName: fake
      containers:
      - {name: main, image: scratch, command: [x]}
`

func TestValidateAsksTheInstalledRuntime(t *testing.T) {
	withFake(t)
	for _, tt := range []struct {
		name, manifest string
		want           []string
		code           int
	}{
		{"good", fakeSandbox + "  vm: {runtimeData: {bootDelay: 1s}}\n", []string{"is valid"}, exitDone},
		{"unknown field", fakeSandbox + "  vm:\n    runtimeData:\n      bootDelai: 1s\n",
			[]string{"<stdin>:12:7: Sandbox default/web: spec.vm.runtimeData.bootDelai: unknown field"}, exitFailed},
		{"wrong value", fakeSandbox + "  vm:\n    runtimeData:\n      exitCode: 256\n",
			[]string{"<stdin>:12:17: Sandbox default/web: spec.vm.runtimeData.exitCode: maximum: got 256, want 255"}, exitFailed},
		{"what it cannot", fakeSandbox + "  vm: {nestedVirtualization: true}\n",
			[]string{`<stdin>:10:30: Sandbox default/web: spec.vm.nestedVirtualization: runtime "fake" dev cannot let a guest run VMs of its own`}, exitFailed},
		{"an image that it does not run", strings.Replace(fakeSandbox, "scratch", "busybox", 1),
			[]string{`<stdin>:9:29: Sandbox default/web: spec.podTemplate.spec.containers[0].image: runtime "fake" runs no images: say "scratch"`}, exitFailed},
		{"not installed", strings.Replace(fakeSandbox, "runtimeClassName: fake", "runtimeClassName: gone", 1),
			[]string{`<stdin>:7:25: Sandbox default/web: warning: runtime "gone" is not installed here`, "is valid"}, exitDone},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out := command(t, tt.manifest, "validate", "-f", "-")
			if out.code != tt.code {
				t.Errorf("code %d, want %d", out.code, tt.code)
			}
			for _, want := range tt.want {
				if !strings.Contains(out.stdout, want) {
					t.Errorf("no %q in\n%s", want, out.stdout)
				}
			}
		})
	}
}

// vzctlProcess runs vzctl in a process of its own.
func vzctlProcess(t *testing.T, args ...string) outcome {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, args...)
	cmd.Env = append(os.Environ(), mainEnv+"=1")
	cmd.Stdin = strings.NewReader("from stdin")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	_ = cmd.Run()
	return outcome{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

func TestCLIPluginRunsAsAVerb(t *testing.T) {
	withFake(t)
	bin := t.TempDir()
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	script(t, filepath.Join(bin, "vzctl-hello"), `echo "$VZ_STATE_DIR|$*|$(cat)"; exit 7`)
	script(t, filepath.Join(bin, "vzctl-get"), "echo never")
	home := filepath.Join(os.Getenv(bundle.StateDirEnv), "plugins", "cli-top")
	script(t, filepath.Join(home, "run"), `echo "top $*"`)
	manifest := "kind: cli\nname: top\nversion: '1'\ncommand: run\nargs: [--all]\nabstract: Show who is busiest\n"
	if err := os.WriteFile(filepath.Join(home, plugins.ManifestFile), []byte(manifest), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := vzctlProcess(t, "--state-dir", "/elsewhere", "hello", "a b", "--flag", "-v"); out.code != 7 || out.stdout != "/elsewhere|a b --flag -v|from stdin\n" {
		t.Errorf("a program on PATH: %+v", out)
	}
	if out := vzctlProcess(t, "top", "x"); out.code != 0 || out.stdout != "top --all x\n" {
		t.Errorf("an installed one: %+v", out)
	}
	if out := vzctlProcess(t, "get", "--help"); strings.Contains(out.stdout, "never") {
		t.Error("a plugin shadows a verb of vzctl's own")
	}
	if out := vzctlProcess(t, "nosuch"); out.code != exitUsage || !strings.Contains(out.stderr, "nosuch") {
		t.Errorf("no such verb: %+v", out)
	}
	out := vzctlProcess(t, "--help")
	_, listed, _ := strings.Cut(out.stdout, "\nPlugins:\n")
	if !strings.Contains(listed, "hello") || !strings.Contains(listed, "Show who is busiest") || strings.Contains(listed, "get") {
		t.Errorf("help lists %q", listed)
	}
	if out := command(t, "", "plugin", "list", "-o", "wide"); !strings.Contains(out.stdout, "vzctl has a verb of this name") || !strings.Contains(out.stdout, "vzctl-hello") {
		t.Errorf("list: %s", out.stdout)
	}
	if err := os.Chmod(filepath.Join(home, "run"), 0o777); err != nil {
		t.Fatal(err)
	}
	script(t, filepath.Join(bin, "vzctl-top"), "echo another top")
	if out := vzctlProcess(t, "top"); out.code != exitCannotRun || strings.Contains(out.stdout, "top") || !strings.Contains(out.stderr, "chmod go-w") {
		t.Errorf("one that others can write: %+v", out)
	}
}
