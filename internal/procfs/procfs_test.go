package procfs

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"testing"
)

func TestAliveOnlyForTheSameProcess(t *testing.T) {
	id, err := Lookup(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if !id.Alive() {
		t.Error("this process is said to be gone")
	}
	id.StartTime++
	if id.Alive() {
		t.Error("another start time is taken for the same process")
	}
}

func TestKilledProcessIsGone(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	id, err := Lookup(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := id.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the process ended by itself")
	}
	if id.Alive() {
		t.Error("a killed process is said to be alive")
	}
	if err := id.Kill(); err != nil {
		t.Errorf("killing it again: %v", err)
	}
	if _, err := Lookup(id.PID); !errors.Is(err, ErrGone) {
		t.Errorf("lookup: got %v, want ErrGone", err)
	}
}

func TestKillSparesAnotherProcessOfTheSameNumber(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	id, err := Lookup(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	before := ID{PID: id.PID, StartTime: id.StartTime - 1}
	if err := before.Kill(); err != nil {
		t.Fatal(err)
	}
	if !id.Alive() {
		t.Error("a process was killed for one that had its number before")
	}
}

func TestProcessesAreFoundByWhatTheyWereStartedWith(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("this system does not tell what a process was started with")
	}
	mark := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "sleep", "60")
	cmd.Env = []string{"MARK=" + mark, "OTHER=" + mark + "/more"}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for name, want := range map[string]int{"MARK": 1, "OTHER": 0} {
		found, err := WithEnv(name, mark)
		if err != nil || len(found) != want || (want == 1 && found[0].PID != cmd.Process.Pid) {
			t.Errorf("%s=%s: %v, %v, want %d", name, mark, found, err, want)
		}
	}
}
