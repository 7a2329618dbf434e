package plugins_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/plugins"
)

func TestUnusedPluginEndsByItself(t *testing.T) {
	p, l := rolePlugin(t, roleUnused)
	inst := launch(t, l, p, newBundle(t))
	closes(t, inst.Done(), 10*time.Second, "the end of a plugin that nobody uses")

	bundle := newBundle(t)
	used := launch(t, l, p, bundle)
	run(t, used, bundle)
	select {
	case <-used.Done():
		t.Error("a plugin that is used ended")
	case <-time.After(2 * time.Second):
	}
}

func TestShutdownEndsThePluginAtOnce(t *testing.T) {
	l := plugins.NewLauncher(plugins.LauncherOptions{SocketDir: socketDir(t)})
	inst := launch(t, l, fakePlugin(t), newBundle(t))
	begin := time.Now()
	if err := inst.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	closes(t, inst.Done(), 5*time.Second, "its end")
	if took := time.Since(begin); took > time.Second {
		t.Errorf("that took %s", took)
	}
}

func TestTerminatedPluginStopsItsSandbox(t *testing.T) {
	bundle := newBundle(t)
	l := plugins.NewLauncher(plugins.LauncherOptions{SocketDir: socketDir(t)})
	inst := launch(t, l, fakePlugin(t), bundle)
	run(t, inst, bundle)
	if err := syscall.Kill(inst.PID(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	closes(t, inst.Done(), 5*time.Second, "its end")
	if log := pluginLog(t, bundle); !strings.Contains(log, "sandbox stopped") || !strings.Contains(log, "plugin ends") {
		t.Errorf("it did not end in good order: %s", log)
	}
}

func pluginLog(t *testing.T, bundle string) string {
	t.Helper()
	log, err := os.ReadFile(filepath.Join(bundle, drivers.LogsDir, plugins.PluginLog))
	if err != nil {
		t.Fatal(err)
	}
	return string(log)
}

func TestPluginThatPrintsDoesNotHang(t *testing.T) {
	bundle := newBundle(t)
	p, l := rolePlugin(t, rolePrinter)
	inst := launch(t, l, p, bundle)
	for range 3 {
		if _, err := inst.State(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if !strings.Contains(pluginLog(t, bundle), "xxx") {
		t.Error("what it printed is not in its log")
	}
}

func TestSecretsOfTheDaemonsEnvironmentStayThere(t *testing.T) {
	t.Setenv("SECRET_TOKEN", "hunter2")
	t.Setenv("HTTPS_PROXY", "http://user:hunter2@proxy")
	t.Setenv("VZ_GIT_PASSWORD", "hunter2")
	t.Setenv("LC_ALL", "C.UTF-8")
	t.Setenv("XDG_DATA_HOME", "/xdg")
	t.Setenv("LICENCE_SERVER", "asked for")
	bundle := newBundle(t)
	l := plugins.NewLauncher(plugins.LauncherOptions{SocketDir: socketDir(t), Env: []string{"EXTRA=1"}})
	p := *fakePlugin(t)
	p.Env = []string{"LICENCE_SERVER", "NOT_SET"}
	inst := launch(t, l, &p, bundle)
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", inst.PID()))
	if err != nil {
		t.Fatal(err)
	}
	environ := "\x00" + string(data)
	if strings.Contains(environ, "hunter2") {
		t.Error("a secret of the daemon's environment was passed on")
	}
	for _, want := range []string{"PATH=", "LC_ALL=C.UTF-8", "XDG_DATA_HOME=/xdg", "EXTRA=1", "LICENCE_SERVER=asked for"} {
		if !strings.Contains(environ, "\x00"+want) {
			t.Errorf("%s was not passed on", want)
		}
	}
}

func TestPluginHasASessionAndNoFilesOfTheDaemon(t *testing.T) {
	l := plugins.NewLauncher(plugins.LauncherOptions{SocketDir: socketDir(t)})
	inst := launch(t, l, fakePlugin(t), newBundle(t))
	pgid, err := syscall.Getpgid(inst.PID())
	if err != nil || pgid != inst.PID() {
		t.Errorf("process group %d, %v, want its own", pgid, err)
	}
	if in, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/0", inst.PID())); err != nil || in != os.DevNull {
		t.Errorf("stdin is %s, %v", in, err)
	}
	if _, err := inst.State(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, fd := range []string{"1", "2"} {
		out, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", inst.PID(), fd))
		if err != nil || filepath.Base(out) != plugins.PluginLog {
			t.Errorf("descriptor %s is %s, %v, want the log", fd, out, err)
		}
	}
}

func TestPluginProcessIsSmall(t *testing.T) {
	bundle := newBundle(t)
	l := plugins.NewLauncher(plugins.LauncherOptions{SocketDir: socketDir(t)})
	inst := launch(t, l, fakePlugin(t), bundle)
	run(t, inst, bundle)
	for range 200 {
		if _, err := inst.State(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	rss := residentKiB(t, inst.PID())
	t.Logf("resident: %d KiB", rss)
	if rss > 40<<10 {
		t.Errorf("the plugin process takes %d KiB, more than 40 MiB", rss)
	}
}

func residentKiB(t *testing.T, pid int) int {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "VmRSS:" {
			n, err := strconv.Atoi(fields[1])
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatal(errors.New("no VmRSS"))
	return 0
}
