package service

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

// services are descriptions of every shape, by the name of their golden files.
func services() map[string]struct {
	service Service
	system  bool
} {
	type entry = struct {
		service Service
		system  bool
	}
	return map[string]entry{
		"plain": {service: Service{Description: "Sandboxes declared in YAML", Program: "/usr/local/bin/vzreconciler"}},
		"full": {service: Service{
			Description:   "Sandboxes declared in YAML",
			Documentation: "https://github.com/vzreconciler/vzreconciler",
			Program:       "/opt/my tools/100%/vzreconciler",
			Args:          []string{"--manifests", "/srv/a b,/srv/$HOME", `--state-dir=C:\odd "quoted" %h`, "two\nlines\tand a tab", ""},
			Env:           map[string]string{"PATH": "/opt/qemu/bin:/usr/bin", "GREETING": `say "hi" <&> $USER 100%`, "A": "1"},
			LogFile:       "/home/u/.local/share/vzreconciler/vzreconciler.log",
		}},
		"system": {service: Service{
			Description: "Sandboxes declared in YAML", Program: "/usr/local/bin/vzreconciler",
			Args: []string{"--config", "/etc/vzreconciler.yaml"}, User: "vz",
		}, system: true},
	}
}

// golden compares with a file of testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got, go test -update writes it):\n%s", path, diff)
	}
}

func TestUnits(t *testing.T) {
	for name, s := range services() {
		golden(t, name+".service", []byte(unit("vzreconciler", &s.service, s.system)))
	}
}

// What makes a restart of the daemon harmless to sandboxes must not get lost.
func TestUnitsLeaveSandboxesRunning(t *testing.T) {
	for name, s := range services() {
		lines := strings.Split(unit("vzreconciler", &s.service, s.system), "\n")
		for _, want := range []string{"KillMode=process", "OOMPolicy=continue", "Restart=always"} {
			n := 0
			for _, line := range lines {
				if line == want {
					n++
				}
			}
			if n != 1 {
				t.Errorf("%s: %q is there %d times", name, want, n)
			}
		}
	}
}

func TestWordsOfUnitsAreQuoted(t *testing.T) {
	for in, want := range map[string]string{
		"":          `""`,
		"plain":     `"plain"`,
		"a b":       `"a b"`,
		`say "x"`:   `"say \"x\""`,
		`back\nose`: `"back\\nose"`,
		"two\nends": `"two\nends"`,
		"100%h":     `"100%%h"`,
		"$HOME":     `"$$HOME"`,
		"; # ' {":   `"; # ' {"`,
	} {
		if got := arguments([]string{in})[0]; got != want {
			t.Errorf("%q becomes %s, want %s", in, got, want)
		}
	}
	if got := quote("A=$B"); got != `"A=$B"` {
		t.Errorf("in a variable's value, where systemd replaces none, $ became %s", got)
	}
}

// A unit must be one to systemd itself, without a word of warning.
func TestSystemdAcceptsUnits(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("there is no systemd-analyze here: Debian's package systemd has it")
	}
	for name, s := range services() {
		for _, system := range []bool{false, true} {
			dir := t.TempDir()
			// It looks whether the program is there, and whether it can read the unit.
			s.service.Program = filepath.Join(dir, "odd 100% $name", "vzreconciler")
			if err := os.MkdirAll(filepath.Dir(s.service.Program), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(s.service.Program, []byte("#!/bin/sh\n"), 0o700); err != nil { //nolint:gosec // it is a program
				t.Fatal(err)
			}
			file := filepath.Join(dir, "vzreconciler.service")
			if err := os.WriteFile(file, []byte(unit("vzreconciler", &s.service, system)), 0o600); err != nil {
				t.Fatal(err)
			}
			scope := "--user"
			if system {
				scope = "--system"
			}
			cmd := exec.CommandContext(t.Context(), analyze, scope, "--man=no", "verify", file)
			cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+dir, "LC_ALL=C")
			out, err := cmd.CombinedOutput()
			if err != nil || strings.Contains(string(out), file) || strings.Contains(string(out), "vzreconciler.service:") {
				t.Errorf("%s %s: %v\n%s", name, scope, err, out)
			}
		}
	}
}
