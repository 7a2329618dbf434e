package linuxvm

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestConsoleIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "console.log")
	if err := os.WriteFile(path, []byte("of the boot before\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := openConsole(path)
	if err != nil {
		t.Fatal(err)
	}
	line := []byte(strings.Repeat("x", 1<<10-1) + "\n")
	for range 3 * consoleMaxBytes / len(line) {
		if n, err := c.Write(line); n != len(line) || err != nil {
			t.Fatal(n, err)
		}
	}
	if _, err := c.Write([]byte("last \x1b[31mwo\u009b31mrds\u202e\r\n\n")); err != nil {
		t.Fatal(err)
	}
	if got := c.lastLines(); !strings.HasSuffix(got, " | last [31mwo31mrds") {
		t.Errorf("last lines %q", got[max(0, len(got)-40):])
	}
	c.Close()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 2 {
		t.Errorf("%d files, want the log and one older", len(entries))
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() > consoleMaxBytes || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %d bytes, mode %s", e.Name(), info.Size(), info.Mode())
		}
	}
	if n, err := c.Write([]byte("late")); n != 4 || err != nil {
		t.Errorf("a write after the end: %d, %v", n, err)
	}
}

func TestConsoleAppendsToTheBootBefore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "console.log")
	for _, text := range []string{"one\n", "two\n"} {
		c, err := openConsole(path)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write([]byte(text))
		c.Close()
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "one\ntwo\n" {
		t.Errorf("log %q, %v", got, err)
	}
}

func TestConsoleSurvivesAFullDisk(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("this system has no /dev/full")
	}
	c := &console{f: full}
	if n, err := c.Write([]byte("text\n")); n != 5 || err != nil {
		t.Errorf("the guest's console was held up: %d, %v", n, err)
	}
	if got := c.lastLines(); got != "text" {
		t.Errorf("last lines %q", got)
	}
	c.Close()
}
