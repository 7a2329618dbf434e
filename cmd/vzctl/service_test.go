package main

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/vzreconciler/vzreconciler/reconciler/api"
	"github.com/vzreconciler/vzreconciler/reconciler/api/apitest"
)

// serviceHost is a host on which systemctl is a script that says what it is told
// to of every unit. It returns the unit's file.
func serviceHost(t *testing.T, says ...string) (unit string) {
	t.Helper()
	if runtime.GOOS == "darwin" {
		t.Skip("launchd is here instead of systemd")
	}
	dir := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", dir)
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	script := "#!/bin/sh\ncat <<'END'\n" + strings.Join(says, "\n") + "\nEND\n"
	for _, name := range []string{"systemctl", "vzreconciler"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o700); err != nil { //nolint:gosec // they are programs
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "systemd", "user", "vzreconciler.service")
}

func TestStatusOfTheServiceHasExitCodes(t *testing.T) {
	for name, test := range map[string]struct {
		says []string
		code int
		want string
	}{
		"runs":          {[]string{"LoadState=loaded", "ActiveState=active", "MainPID=42", "UnitFileState=enabled"}, exitDone, "PID:               42\n"},
		"stopped":       {[]string{"LoadState=loaded", "ActiveState=inactive"}, exitUnreachable, "State:             stopped\n"},
		"failed":        {[]string{"LoadState=loaded", "ActiveState=failed", "Result=exit-code", "ExecMainStatus=2"}, exitUnreachable, "Message:           it ended with exit code 2\n"},
		"not installed": {[]string{"LoadState=not-found"}, exitNotFound, "State:    not installed\n"},
	} {
		serviceHost(t, test.says...)
		if out := command(t, "", "service", "status"); out.code != test.code || !strings.Contains(out.stdout, test.want) {
			t.Errorf("%s: code %d, output %q%s", name, out.code, out.stdout, out.stderr)
		}
	}
	serviceHost(t, "LoadState=loaded", "ActiveState=active", "MainPID=42")
	if out := command(t, "", "service", "status", "-o", "jsonpath={.state} {.pid}"); strings.TrimSpace(out.stdout) != "running 42" {
		t.Errorf("as JSON: %q%s", out.stdout, out.stderr)
	}
}

func TestInstallationWritesWhatWasAskedFor(t *testing.T) {
	unit := serviceHost(t, "LoadState=loaded", "ActiveState=inactive")
	t.Chdir(filepath.Dir(filepath.Dir(filepath.Dir(unit))))
	if err := os.WriteFile("c.yaml", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	out := command(t, "", "service", "install", "--manifests", "a b,c", "--manifests", "/d", "--metrics-addr", "",
		"--config", "c.yaml", "--state-dir", "s", "--env", "A=x y", "-e", "B=1=2")
	if out.code != exitDone || !strings.HasPrefix(out.stdout, "service installed (") {
		t.Fatalf("code %d: %s%s", out.code, out.stdout, out.stderr)
	}
	data, err := os.ReadFile(unit)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"--config=` + here + `/c.yaml" "--state-dir=` + here + `/s" "--manifests=` + here + `/a b" "--manifests=` + here + `/c" "--manifests=/d" "--metrics-addr="` + "\n",
		"Environment=\"A=x y\"\nEnvironment=\"B=1=2\"\n",
		"KillMode=process\n",
	} {
		if !strings.Contains(string(data), want) {
			t.Errorf("the unit does not have %s:\n%s", want, data)
		}
	}
}

func TestWhatCannotBeInstalledIsRefused(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		code int
	}{
		"no such configuration": {[]string{"--config", "nonexistent.yaml"}, exitNotFound},
		"no name of a variable": {[]string{"--env", "A B=1"}, exitFailed},
		"user of a user":        {[]string{"--run-as", "root"}, exitUsage},
		"empty directory":       {[]string{"--manifests", "a,,b"}, exitUsage},
		"no such user":          {[]string{"--system", "--run-as", "no-such-user-here"}, exitUsage},
	} {
		unit := serviceHost(t, "LoadState=not-found")
		if out := command(t, "", append([]string{"service", "install"}, test.args...)...); out.code != test.code || out.stderr == "" {
			t.Errorf("%s: code %d, %q", name, out.code, out.stderr)
		}
		if _, err := os.Stat(unit); err == nil {
			t.Errorf("%s: there is a unit", name)
		}
	}
}

// Two daemons on one state directory do not work: the second would fail, be
// started again, and fail.
func TestServiceIsNotStartedBesideADaemon(t *testing.T) {
	unit := serviceHost(t, "LoadState=loaded", "ActiveState=inactive")
	daemon := &apitest.Backend{StatusFunc: func(context.Context) (*api.StatusResponse, error) {
		return &api.StatusResponse{Pid: 4711}, nil
	}}
	for _, args := range [][]string{{"install", "--now"}, {"start"}, {"restart"}} {
		out := vzctl(t, daemon, "", append([]string{"service"}, args...)...)
		if out.code != exitFailed || !strings.Contains(out.stderr, "as process 4711") {
			t.Errorf("%s: code %d, %q", args, out.code, out.stderr)
		}
	}
	if _, err := os.Stat(unit); err == nil {
		t.Error("there is a unit")
	}
}

func TestVerbsNeedAnInstalledService(t *testing.T) {
	serviceHost(t, "LoadState=not-found")
	for _, verb := range []string{"start", "stop", "restart", "uninstall"} {
		if out := command(t, "", "service", verb, "--state-dir", t.TempDir()); out.code != exitNotFound || !strings.Contains(out.stderr, "not installed") {
			t.Errorf("%s: code %d, %q", verb, out.code, out.stderr)
		}
	}
}
