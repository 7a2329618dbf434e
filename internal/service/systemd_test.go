package service

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const show = "--user show vzreconciler.service --property=LoadState,ActiveState,SubState,Result,MainPID,ExecMainStatus,UnitFileState,StateChangeTimestamp,FragmentPath,NRestarts"

func TestInstallingTwiceIsInstallingOnce(t *testing.T) {
	calls, dir := fakeTool(t, "systemctl", "")
	m := &Systemd{Name: "vzreconciler", Dir: filepath.Join(dir, "systemd", "user")}
	for _, want := range []Change{Installed, Unchanged, Unchanged} {
		if got, err := m.Install(t.Context(), testService()); err != nil || got != want {
			t.Fatalf("%s, %v, want %s", got, err, want)
		}
	}
	changed := testService()
	changed.Args = nil
	if got, err := m.Install(t.Context(), changed); err != nil || got != Updated {
		t.Fatalf("%s, %v, want %s", got, err, Updated)
	}
	if fi, err := os.Stat(m.file()); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("the unit has mode %v (%v): its environment is the user's business", fi.Mode(), err)
	}
	reloads := 0
	for _, c := range calls() {
		if c == "--user daemon-reload" {
			reloads++
		}
		if strings.Contains(c, "restart") || strings.Contains(c, "stop") {
			t.Errorf("systemctl %s: an installation must leave what runs running", c)
		}
	}
	if reloads != 2 {
		t.Errorf("systemd was told of %d changes, there were 2", reloads)
	}
}

func TestVerbsOfSystemd(t *testing.T) {
	for name, test := range map[string]struct {
		do     func(m *Systemd) error
		system bool
		want   []string
	}{
		"start":            {do: func(m *Systemd) error { return m.Start(t.Context()) }, want: []string{"--user start vzreconciler.service"}},
		"stop":             {do: func(m *Systemd) error { return m.Stop(t.Context()) }, want: []string{"--user stop vzreconciler.service"}},
		"restart":          {do: func(m *Systemd) error { return m.Restart(t.Context()) }, want: []string{"--user restart vzreconciler.service"}},
		"restart, system":  {do: func(m *Systemd) error { return m.Restart(t.Context()) }, system: true, want: []string{"restart vzreconciler.service"}},
		"status":           {do: func(m *Systemd) error { _, err := m.Status(t.Context()); return err }, want: []string{show}},
		"status, system":   {do: func(m *Systemd) error { _, err := m.Status(t.Context()); return err }, system: true, want: []string{strings.TrimPrefix(show, "--user ")}},
		"install, system":  {do: func(m *Systemd) error { _, err := m.Install(t.Context(), testService()); return err }, system: true, want: []string{"show --property=Version", "daemon-reload", "enable vzreconciler.service"}},
		"uninstall":        {do: func(m *Systemd) error { return m.Uninstall(t.Context()) }, want: []string{"--user disable --now vzreconciler.service", "--user daemon-reload", "--user reset-failed vzreconciler.service"}},
		"uninstall, again": {do: func(m *Systemd) error { return errors.Join(m.Uninstall(t.Context()), gone(m.Uninstall(t.Context()))) }, want: []string{"--user disable --now vzreconciler.service", "--user daemon-reload", "--user reset-failed vzreconciler.service"}},
	} {
		t.Run(name, func(t *testing.T) {
			calls, dir := fakeTool(t, "systemctl", "")
			m := &Systemd{Name: "vzreconciler", Dir: dir, System: test.system}
			if err := os.WriteFile(m.file(), []byte("an older unit"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := test.do(m); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, calls()); diff != "" {
				t.Errorf("calls of systemctl (-want +got):\n%s", diff)
			}
		})
	}
}

// gone turns the error that is right once the service is gone into none.
func gone(err error) error {
	if errors.Is(err, ErrNotInstalled) {
		return nil
	}
	return errors.New("the service is still there")
}

func TestWhatIsNotInstalledIsSaidSo(t *testing.T) {
	calls, dir := fakeTool(t, "systemctl", "")
	m := &Systemd{Name: "vzreconciler", Dir: dir}
	for name, err := range map[string]error{
		"start": m.Start(t.Context()), "stop": m.Stop(t.Context()),
		"restart": m.Restart(t.Context()), "uninstall": m.Uninstall(t.Context()),
	} {
		if !errors.Is(err, ErrNotInstalled) || !strings.Contains(err.Error(), m.file()) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := calls(); len(got) != 0 {
		t.Errorf("systemctl was called: %q", got)
	}
}

func TestErrorsOfSystemdSayWhatToDo(t *testing.T) {
	for name, test := range map[string]struct {
		script string
		system bool
		want   string
	}{
		"no user manager": {
			script: "echo 'Failed to connect to bus: No medium found' >&2; exit 1",
			want:   "use --system",
		},
		"no user manager, newer words": {
			script: "echo 'Failed to connect to user scope bus via local transport: $DBUS_SESSION_BUS_ADDRESS and $XDG_RUNTIME_DIR not defined' >&2; exit 1",
			want:   "use --system",
		},
		"not booted with systemd": {
			script: "echo \"System has not been booted with systemd as init system (PID 1). Can't operate.\" >&2; exit 1",
			system: true, want: "run vzreconciler yourself",
		},
		"something else": {
			script: "echo 'Unit is masked.' >&2; exit 1",
			want:   "Unit is masked.",
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, dir := fakeTool(t, "systemctl", test.script)
			m := &Systemd{Name: "vzreconciler", Dir: dir, System: test.system}
			_, err := m.Install(t.Context(), testService())
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, which does not say %q", err, test.want)
			}
			if exists(m.file()) {
				t.Error("there is a unit that nobody will read")
			}
		})
	}
	t.Run("no systemctl", func(t *testing.T) {
		noTools(t)
		m := &Systemd{Name: "vzreconciler", Dir: t.TempDir()}
		if _, err := m.Status(t.Context()); err == nil || !strings.Contains(err.Error(), "there is no systemd on this host") {
			t.Error(err)
		}
	})
}

func TestAToolThatHangsIsGivenUp(t *testing.T) {
	_, dir := fakeTool(t, "systemctl", "exec tail -f /dev/null")
	m := &Systemd{Name: "vzreconciler", Dir: dir}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := m.Status(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

func TestStatusOfUnits(t *testing.T) {
	since := time.Date(2026, 11, 25, 20, 56, 55, 0, time.UTC)
	lines := func(l ...string) string { return strings.Join(l, "\n") + "\n" }
	for name, test := range map[string]struct {
		out  string
		want Status
	}{
		"nothing":       {"", Status{State: NotInstalled}},
		"not installed": {lines("LoadState=not-found", "ActiveState=inactive", "MainPID=0"), Status{State: NotInstalled}},
		"running": {
			lines("MainPID=42", "NRestarts=0", "Result=success", "ExecMainStatus=0", "LoadState=loaded", "ActiveState=active", "SubState=running",
				"FragmentPath=/u/vzreconciler.service", "UnitFileState=enabled", "StateChangeTimestamp=Wed 2026-11-25 20:56:55 UTC"),
			Status{State: Running, PID: 42, Since: since, AtLogin: true, File: "/u/vzreconciler.service"},
		},
		"stopped": {
			lines("LoadState=loaded", "ActiveState=inactive", "MainPID=0", "Result=success", "UnitFileState=disabled", "StateChangeTimestamp="),
			Status{State: Stopped},
		},
		"starting": {lines("LoadState=loaded", "ActiveState=activating", "MainPID=7", "Result=success"), Status{State: Starting, PID: 7}},
		"waits to be started again": {
			lines("LoadState=loaded", "ActiveState=activating", "SubState=auto-restart", "MainPID=0", "Result=exit-code", "ExecMainStatus=1", "NRestarts=3"),
			Status{State: Starting, Message: "it ended with exit code 1, and was restarted 3 times"},
		},
		"stopping": {lines("LoadState=loaded", "ActiveState=deactivating", "MainPID=7", "Result=success"), Status{State: Stopping, PID: 7}},
		"failed": {
			lines("LoadState=loaded", "ActiveState=failed", "MainPID=0", "Result=exit-code", "ExecMainStatus=2", "NRestarts=0"),
			Status{State: Failed, Message: "it ended with exit code 2"},
		},
		"killed": {
			lines("LoadState=loaded", "ActiveState=failed", "Result=oom-kill", "ExecMainStatus=9"),
			Status{State: Failed, Message: "it ended by oom-kill"},
		},
		"broken unit": {
			lines("LoadState=bad-setting", "ActiveState=inactive", "Result=success"),
			Status{State: Stopped, Message: "systemd cannot read the unit: install it again"},
		},
		"nonsense": {"=\n\x00\nLoadState", Status{State: NotInstalled}},
	} {
		if diff := cmp.Diff(test.want, parseShow(test.out)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestLingering(t *testing.T) {
	for _, user := range []string{"", "..", "../linger/root", "no-such-user-here"} {
		if Lingers(user) {
			t.Errorf("%q lingers", user)
		}
	}
}
