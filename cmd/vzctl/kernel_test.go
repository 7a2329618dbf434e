package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/internal/kernels"
	"github.com/vzreconciler/vzreconciler/internal/state"
	"github.com/vzreconciler/vzreconciler/reconciler/bundle"
)

func TestAKernelKnowsTheSandboxesThatBootIt(t *testing.T) {
	dir := bundle.StateDir(t.TempDir())
	for id, image := range map[string]string{"default/web": "/k/mine/image", "prod/db": "/k/mine/image", "default/other": "/k/default/image"} {
		namespace, name, _ := strings.Cut(id, "/")
		b := dir.Bundle(namespace, name)
		if err := state.MkdirAll(string(b)); err != nil {
			t.Fatal(err)
		}
		cfg := drivers.Configuration{Version: drivers.ConfigurationVersion, ID: id, Kernel: drivers.Kernel{Image: image}}
		if err := state.WriteJSON(b.ConfigurationFile(), cfg); err != nil {
			t.Fatal(err)
		}
	}
	// A bundle that is being made has no configuration yet.
	if err := state.MkdirAll(string(dir.Bundle("default", "new"))); err != nil {
		t.Fatal(err)
	}
	users, err := kernelUsers(dir, kernels.Kernel{Name: "mine", Image: "/k/mine/image"})
	if err != nil {
		t.Fatal(err)
	}
	wantOutput(t, users.String(), "default/web, prod/db")
}

func TestKernelListSaysHowToInstallOne(t *testing.T) {
	dir := t.TempDir()
	out := command(t, "", "--state-dir", dir, "kernel", "list")
	if out.code != exitDone || !strings.Contains(out.stderr, "vzctl kernel install") {
		t.Errorf("%+v", out)
	}
	if out = command(t, "", "--state-dir", dir, "kernel", "list", "-o", "json"); !strings.Contains(out.stdout, `"items": []`) {
		t.Errorf("%+v", out)
	}
}

func TestKernelInstallOfWhatIsNoKernelFails(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "notes.txt")
	if err := os.WriteFile(file, []byte("no kernel"), 0o600); err != nil {
		t.Fatal(err)
	}
	out := command(t, "", "--state-dir", dir, "kernel", "install", "--image", file)
	if out.code != exitFailed || !strings.Contains(out.stderr, "notes.txt") {
		t.Errorf("%+v", out)
	}
	if out = command(t, "", "--state-dir", dir, "kernel", "install", "--image", file, "--deb", file); out.code != exitFailed {
		t.Errorf("two sources at once: %+v", out)
	}
}
