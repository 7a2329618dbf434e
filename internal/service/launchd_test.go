package service

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// fakeLaunchctl knows one job, which is loaded while the file $DIR/loaded is
// there. A bootout takes one more print to be through, as the real one may.
const fakeLaunchctl = `
case $1 in
managername) cat "$DIR/manager" ;;
print)
	if [ -e "$DIR/going" ]; then rm -f "$DIR/going" "$DIR/loaded"; echo 'state = running'; exit 0; fi
	[ -e "$DIR/loaded" ] || { echo 'Could not find service "dev.vzreconciler" in domain for port' >&2; exit 113; }
	printf 'gui/501/dev.vzreconciler = {\n\tactive count = 1\n\tpath = /x/dev.vzreconciler.plist\n\tstate = running\n\tstdout path = /x/log\n\tpid = 1\n}\n' ;;
bootstrap)
	[ -e "$DIR/loaded" ] && { echo 'Bootstrap failed: 5: Input/output error' >&2; exit 5; }
	touch "$DIR/loaded" ;;
bootout) touch "$DIR/going"; exit 36 ;;
esac
`

func launchd(t *testing.T, manager string) (*Launchd, func() []string) {
	t.Helper()
	calls, dir := fakeTool(t, "launchctl", fakeLaunchctl)
	if err := os.WriteFile(filepath.Join(dir, "manager"), []byte(manager+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return &Launchd{Label: "dev.vzreconciler", Dir: filepath.Join(dir, "LaunchAgents"), UID: 501}, calls
}

func TestLifeOfAnAgent(t *testing.T) {
	for manager, domain := range map[string]string{"Aqua": "gui/501", "Background": "user/501"} {
		m, calls := launchd(t, manager)
		status := func(want State) {
			t.Helper()
			if got, err := m.Status(t.Context()); err != nil || got.State != want {
				t.Fatalf("%v, %v, want %s", got, err, want)
			}
		}
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		status(NotInstalled)
		for _, want := range []Change{Installed, Unchanged} {
			if got, err := m.Install(t.Context(), testService()); err != nil || got != want {
				t.Fatalf("%s, %v, want %s", got, err, want)
			}
		}
		status(Stopped)
		must(m.Start(t.Context()))
		status(Running)
		must(m.Start(t.Context())) // which is no error
		must(m.Restart(t.Context()))
		status(Running)
		must(m.Stop(t.Context()))
		status(Stopped)
		must(m.Stop(t.Context()))
		must(m.Restart(t.Context()))
		must(m.Uninstall(t.Context()))
		status(NotInstalled)
		if err := m.Uninstall(t.Context()); !errors.Is(err, ErrNotInstalled) {
			t.Errorf("uninstalled twice: %v", err)
		}

		job := domain + "/dev.vzreconciler"
		var got []string
		for _, c := range calls() {
			if !strings.HasPrefix(c, "print ") && c != "managername" {
				got = append(got, c)
			} else if strings.HasPrefix(c, "print ") && c != "print "+job {
				t.Errorf("launchctl %s: it is %s", c, job)
			}
		}
		up, down := "bootstrap "+domain+" "+m.file(), "bootout "+job
		want := []string{"enable " + job, "enable " + job, up, "kickstart " + job, down, up, down, up, down}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: calls of launchctl (-want +got):\n%s", manager, diff)
		}
	}
}

func TestJobsOfTheSystem(t *testing.T) {
	m, calls := launchd(t, "Aqua")
	m.System = true
	if _, err := m.Install(t.Context(), testService()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"enable system/dev.vzreconciler"}, calls()); diff != "" {
		t.Error(diff)
	}
}

func TestWhatLaunchctlPrints(t *testing.T) {
	for name, test := range map[string]struct {
		out  string
		want Status
	}{
		"runs": {
			"gui/501/x = {\n\tpath = /p\n\tstate = running\n\n\tstdout path = /log\n\tpid = 4711\n\tlast exit code = (never exited)\n\tendpoints = {\n\t\tpid = 9\n\t}\n}\n",
			Status{State: Running, PID: 4711, File: "/p", LogFile: "/log"},
		},
		"is not started again yet": {"\tstate = spawn scheduled\n\tlast exit code = 1\n", Status{State: Starting, Message: "it ended with exit code 1"}},
		"does not run":             {"\tstate = not running\n\tlast exit code = 0\n", Status{State: Stopped}},
		"nonsense":                 {"\x00 = \n = 1\npid = many\n", Status{State: Stopped}},
	} {
		var got Status
		parsePrint(test.out, &got)
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestStartOfAProcess(t *testing.T) {
	start := startOf(t.Context(), os.Getpid())
	if age := time.Since(start); age < -2*time.Second || age > time.Hour {
		t.Errorf("this process started %s ago", age)
	}
	if !startOf(t.Context(), 1<<30).IsZero() {
		t.Error("no process has started")
	}
}

func TestNoLaunchd(t *testing.T) {
	noTools(t)
	m := &Launchd{Label: "x", Dir: t.TempDir()}
	if _, err := m.Status(t.Context()); err == nil || !strings.Contains(err.Error(), "there is no launchd") {
		t.Error(err)
	}
}
