package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// runArgs is `vzctl run` of the examples' image, in a small VM.
func runArgs(flags string, command ...string) []string {
	args := append([]string{"run", "-m", "128m"}, strings.Fields(flags)...)
	return append(append(args, "docker-archive:"+busyboxArchive), command...)
}

// nothingLeft checks that a host has no manifest, no bundle and no process.
func (h *host) nothingLeft() {
	h.t.Helper()
	for _, dir := range []string{h.folder, h.state + "/sandboxes/default"} {
		entries, err := os.ReadDir(dir)
		if err != nil && !os.IsNotExist(err) {
			h.t.Fatal(err)
		}
		for _, e := range entries {
			h.t.Errorf("%s/%s is left", dir, e.Name())
		}
	}
	if pids := h.processes(); len(pids) > 0 {
		h.t.Errorf("processes %v are left", pids)
	}
}

func TestRunPassesOutputAndExitCodeOnAndLeavesNothing(t *testing.T) {
	t.Parallel()
	h := startHost(t)
	var want strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&want, "line %d\n", i)
	}
	for name, test := range map[string]struct {
		command        []string
		code           int
		stdout, stderr string
	}{
		"at once":      {[]string{"true"}, 0, "", ""},
		"exit code":    {[]string{"sh", "-c", "echo out; echo err >&2; exit 7"}, 7, "out\n", "err\n"},
		"no newline":   {[]string{"printf", "no newline"}, 0, "no newline", ""},
		"much":         {[]string{"sh", "-c", "i=0; while [ $i -lt 5000 ]; do echo line $i; i=$((i+1)); done"}, 0, want.String(), ""},
		"as written":   {[]string{"sh", "-c", "A=x; echo $A $(echo sub) '$(B)'"}, 0, "x sub $(B)\n", ""},
		"no program":   {[]string{"no-such-program"}, 127, "", "no-such-program"},
		"no directory": {[]string{"/etc"}, 126, "", "/etc"},
	} {
		t.Run(name, func(t *testing.T) {
			out, errOut, code := h.vzctl(runArgs("--rm", test.command...)...)
			if code != test.code || out != test.stdout {
				t.Errorf("code %d, want %d; output of %d bytes, want %d: %.200q", code, test.code, len(out), len(test.stdout), out)
			}
			if !strings.Contains(errOut, test.stderr) || test.stderr == "" && errOut != "" {
				t.Errorf("errors %q, want %q", errOut, test.stderr)
			}
			h := *h
			h.t = t
			h.nothingLeft()
		})
	}
}

func TestRunRefusesWhatIsThereOrNowhere(t *testing.T) {
	t.Parallel()
	h := startHost(t)
	if name := h.vzctlOK(runArgs("-d --name web", "sleep", "infinity")...); name != "web\n" {
		t.Errorf("a detached run says %q, want its name", name)
	}
	before := h.mustGet("web")
	for _, flags := range []string{"--name web", "--rm --name web"} {
		if _, errOut, code := h.vzctl(runArgs(flags, "true")...); code != 1 || !strings.Contains(errOut, "already") {
			t.Errorf("%s: code %d, %s", flags, code, errOut)
		}
	}
	if now := h.mustGet("web"); bootID(now) != bootID(before) || now.Generation != before.Generation {
		t.Error("a second run of the same name changed the first")
	}
	if _, errOut, code := h.vzctl("run", "--rm", "docker-archive:/nonexistent.tar"); code != 3 || !strings.Contains(errOut, "/nonexistent.tar") {
		t.Errorf("unknown image: code %d, %s", code, errOut)
	}
	h.vzctlOK("delete", "sandbox", "web")
	h.nothingLeft()
}

func TestInterruptedRunLeavesNothing(t *testing.T) {
	t.Parallel()
	h := startHost(t)
	for name, until := range map[string]func(name string){
		"while it boots": func(name string) {
			h.eventually(bootTimeout, name+" is booting", func() error { _, err := h.get(name); return err })
		},
		"while it runs": func(name string) { h.waitReady(name); h.waitLog(name, "up\n") },
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			cmd := h.command(ctx, runArgs("--rm --name job", "sh", "-c", `trap "echo bye; exit 3" TERM; echo up; while :; do sleep 0.1; done`)...)
			var out, errOut bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &errOut
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			until("job")
			if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			if code := cmd.ProcessState.ExitCode(); code != 130 {
				t.Errorf("code %d, want 130: %s", code, errOut.String())
			}
			if name == "while it runs" && out.String() != "up\nbye\n" {
				t.Errorf("it printed %q, last words among it", out.String())
			}
			h := *h
			h.t = t
			h.nothingLeft()
		})
	}
}

func TestInterruptedRunWithoutRmIsStopped(t *testing.T) {
	t.Parallel()
	h := startHost(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := h.command(ctx, runArgs("--name job", "sh", "-c", `trap "exit 0" TERM; echo up; while :; do sleep 0.1; done`)...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	h.waitReady("job")
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if s := h.mustGet("job"); s.Status.Phase != "Stopped" {
		t.Errorf("it is %s, want Stopped", s.Status.Phase)
	}
	h.vzctlOK("start", "job")
	h.waitLog("job", "up\nup\n")
}

func TestRunPassesInputOn(t *testing.T) {
	t.Parallel()
	h := startHost(t)
	for name, in := range map[string]string{
		"some": "hi\n", "none": "", "much": strings.Repeat("0123456789abcdef", 64<<10),
	} {
		out, errOut, code := h.vzctlIn(strings.NewReader(in), runArgs("--rm -i", "wc", "-c")...)
		if code != 0 || strings.TrimSpace(out) != fmt.Sprint(len(in)) {
			t.Errorf("%s: code %d, counted %q, want %d: %s", name, code, out, len(in), errOut)
		}
	}
	h.nothingLeft()
}
