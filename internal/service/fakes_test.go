package service

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fakeTool puts a shell script first into the PATH under the name of a host's
// tool. $LOG gets a line for each call, $DIR is a directory to keep state in.
func fakeTool(t *testing.T, name, script string) (calls func() []string, dir string) {
	t.Helper()
	bin, dir := t.TempDir(), t.TempDir()
	log := filepath.Join(dir, "calls")
	text := "#!/bin/sh\nDIR='" + dir + "'\necho \"$*\" >>'" + log + "'\n" + script
	if err := os.WriteFile(filepath.Join(bin, name), []byte(text), 0o700); err != nil { //nolint:gosec // it is a program
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	return func() []string {
		data, err := os.ReadFile(log)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		return strings.FieldsFunc(string(data), func(r rune) bool { return r == '\n' })
	}, dir
}

func noTools(t *testing.T) { t.Setenv("PATH", t.TempDir()) }

func testService() Service {
	return Service{Description: "Sandboxes", Program: "/usr/bin/vzreconciler", Args: []string{"--resync", "10s"}}
}
