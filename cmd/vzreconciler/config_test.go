package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// parse runs a command line and returns the configuration it comes to.
func parse(t *testing.T, args ...string) (config, error) {
	t.Helper()
	var got config
	cmd := newCommand(io.Discard, func(_ context.Context, cfg config, _ io.Writer) error {
		got = cfg
		return nil
	})
	cmd.SetArgs(args)
	return got, errors.Join(cmd.ExecuteContext(t.Context()), nil)
}

func writeConfig(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFlags(t *testing.T) {
	cmdline := []string{
		"--manifests", "/a,/b", "--manifests=/c", "--state-dir=/s", "--metrics-addr=", "--resync=5s",
		"--max-prune=3", "--log-format=json", "--log-level=debug", "--plugin-dir=/p", "--runtime=fake",
		"--registry-mirror=docker.io=https://mirror.lan", "--insecure-registry=a.lan,b.lan:5000",
	}
	want := config{
		manifests: []string{"/a", "/b", "/c"}, gitInterval: time.Minute, stateDir: "/s", resync: 5 * time.Second,
		maxPrune: 3, logFormat: "json", logLevel: "debug", pluginDirs: []string{"/p"}, runtime: "fake",
		registryMirrors: []string{"docker.io=https://mirror.lan"}, insecureRegistries: []string{"a.lan", "b.lan:5000"},
	}
	got, err := parse(t, cmdline...)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(config{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestDefaultsDependOnTheUser(t *testing.T) {
	t.Setenv("VZ_STATE_DIR", "")
	t.Setenv("HOME", "/home/u")
	t.Setenv("XDG_CONFIG_HOME", "/conf")
	t.Setenv("XDG_DATA_HOME", "/data")
	got, err := parse(t)
	if err != nil {
		t.Fatal(err)
	}
	want := defaultConfig()
	want.manifests, want.stateDir = []string{"/conf/vzreconciler/manifests"}, "/data/vzreconciler"
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(config{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	t.Setenv("VZ_STATE_DIR", "/elsewhere")
	if got, err = parse(t); err != nil || got.stateDir != "/elsewhere" {
		t.Errorf("VZ_STATE_DIR: %q, %v", got.stateDir, err)
	}
	if got, err = parse(t, "--state-dir=/flag"); err != nil || got.stateDir != "/flag" {
		t.Errorf("a flag comes before VZ_STATE_DIR: %q, %v", got.stateDir, err)
	}
}

func TestConfigFileHasTheFlagsNames(t *testing.T) {
	path := writeConfig(t, `
# comment
manifests: [/a, /b]
state-dir: /s
metrics-addr: ""
resync: 5s
max-prune: 3
log-format: json
plugin-dir: /p,/q
`)
	got, err := parse(t, "--config", path, "--resync=9s", "--manifests=/flag")
	if err != nil {
		t.Fatal(err)
	}
	want := config{
		manifests: []string{"/flag"}, gitInterval: time.Minute, stateDir: "/s", resync: 9 * time.Second,
		maxPrune: 3, logFormat: "json", logLevel: "info", pluginDirs: []string{"/p", "/q"},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(config{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := parse(t, "--config", writeConfig(t, "")); err != nil {
		t.Errorf("an empty file: %v", err)
	}
}

func TestBadConfigurationIsRefusedWithItsPlace(t *testing.T) {
	for text, want := range map[string]string{
		"resync: 5s\nmanifest: /a\n":         `config.yaml:2:1: unknown key "manifest": the keys are`,
		"config: other.yaml\n":               `1:1: unknown key "config"`,
		"resync: soon\n":                     `1:9: resync: `,
		"resync: 5s\nresync: 6s\n":           `2:1: "resync" is there twice`,
		"resync: [5s]\n":                     `1:9: resync: must be one value`,
		"resync:\n":                          `resync: must be one value`,
		"manifests: [[/a]]\n":                `1:13: manifests: must be a list of texts`,
		"- a\n":                              `1:1: must be a mapping`,
		"resync: 5s\n\t: [":                  `config.yaml: yaml: line 2`,
		"resync: 1ms\n":                      `--resync 1ms: must be at least 1s`,
		"max-prune: -2\n":                    `--max-prune -2`,
		"max-prune: many\n":                  `1:12: max-prune: `,
		"log-format: xml\n":                  `--log-format "xml": must be text or json`,
		"log-level: loud\n":                  `--log-level "loud"`,
		"metrics-addr: \"9753\"\n":           `--metrics-addr "9753": must be HOST:PORT`,
		"manifests: [\"\"]\nstate-dir: /s\n": `the name of a directory is empty`,
	} {
		_, err := parse(t, "--config", writeConfig(t, text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
		if exitCode(err) != exitUsage {
			t.Errorf("%q: exit code %d, want %d", text, exitCode(err), exitUsage)
		}
	}
	if _, err := parse(t, "--config", "/nonexistent.yaml"); err == nil || exitCode(err) != exitUsage {
		t.Errorf("a file that is not there: %v", err)
	}
	if _, err := parse(t, "--frobnicate"); exitCode(err) != exitUsage {
		t.Errorf("an unknown flag: %v", err)
	}
}
