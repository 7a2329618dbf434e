package plugins_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/plugins"
)

// install puts a plugin that consists of a script into a directory of plugins.
func install(t *testing.T, root, dir, manifest string) string {
	t.Helper()
	home := filepath.Join(root, dir)
	writeManifest(t, home, manifest)
	exe := filepath.Join(home, "run")
	if err := os.WriteFile(exe, []byte("#!/bin/sh\nexit 0\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return exe
}

func manifestOf(name, version string) string {
	return "kind: runtime\nname: " + name + "\nversion: '" + version + "'\nprotocolVersions: [1, 7]\ncommand: run\n"
}

func TestFirstDirectoryWinsAndTheOtherIsReported(t *testing.T) {
	user, system := t.TempDir(), t.TempDir()
	install(t, user, "runtime-a", manifestOf("a", "2"))
	install(t, system, "runtime-a", manifestOf("a", "1"))
	install(t, system, "runtime-b", manifestOf("b", "1"))
	// Neither a plugin nor a problem.
	if err := os.WriteFile(filepath.Join(user, "README"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(user, ".git"), 0o700); err != nil {
		t.Fatal(err)
	}
	found, problems := plugins.NewLoader([]string{user, filepath.Join(user, "none"), system}).Load()
	if len(found) != 2 || found[0].Name != "a" || found[0].Version != "2" || found[1].Name != "b" {
		t.Errorf("found %v", found)
	}
	if len(problems) != 1 || !errors.Is(problems[0], plugins.ErrShadowed) || problems[0].Path != filepath.Join(system, "runtime-a") {
		t.Errorf("problems %v", problems)
	}
}

func TestBrokenPluginIsSkippedWithItsReason(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spoil func(t *testing.T, root string)
		want  string
	}{
		{"unknown field", manifest("kind: runtime\nname: x\ncomand: run\n"), `unknown field "comand"`},
		{"field twice", manifest("kind: runtime\nkind: cli\n"), `already set`},
		{"not YAML", manifest("{{"), "yaml"},
		{"empty", manifest(""), "name:"},
		{"bad kind", manifest(strings.Replace(manifestOf("x", "1"), "runtime", "driver", 1)), `kind: "driver"`},
		{"bad name", manifest(manifestOf("'../x'", "1")), "name:"},
		{"no version", manifest(manifestOf("x", "")), "version: missing"},
		{"bad need", manifest(manifestOf("x", "1") + "needs: [money]\n"), `needs: "money"`},
		{"bad variable", manifest(manifestOf("x", "1") + "env: ['A=b']\n"), `env: "A=b"`},
		{"no protocol", manifest("{kind: runtime, name: x, version: '1', command: run}"), "protocolVersions: missing"},
		{"strange protocol", manifest("{kind: runtime, name: x, version: '1', command: run, protocolVersions: [9]}"), "install a matching version"},
		{"command elsewhere", manifest(strings.Replace(manifestOf("x", "1"), "command: run", "command: ../../bin/sh", 1)), "leads out"},
		{"no command", manifest(strings.Replace(manifestOf("x", "1"), "command: run", "command: gone", 1)), "no such file"},
		{"bad checksum", manifest(manifestOf("x", "1") + "sha256: abc\n"), "64 hexadecimal digits"},
		{"huge", manifest(manifestOf("x", "1") + "abstract: " + strings.Repeat("x", 1<<17)), "larger than"},
		{"no manifest", func(t *testing.T, root string) {
			t.Helper()
			if err := os.MkdirAll(filepath.Join(root, "runtime-x"), 0o700); err != nil {
				t.Fatal(err)
			}
		}, "it has no plugin.yaml"},
		{"not executable", chmod("run", 0o600), "chmod +x"},
		{"program writable by all", chmod("run", 0o777), "chmod go-w"},
		{"program writable by group", chmod("run", 0o770), "chmod go-w"},
		{"manifest writable by all", chmod(plugins.ManifestFile, 0o666), "chmod go-w"},
		{"directory writable by all", chmod("", 0o777), "chmod go-w"},
		{"directory of plugins writable by all", chmod("..", 0o777), "chmod go-w"},
		{"program of another user", func(t *testing.T, root string) {
			t.Helper()
			exe := install(t, root, "runtime-x", manifestOf("x", "1"))
			if err := os.Chown(exe, 12345, -1); err != nil {
				t.Fatalf("needs root: %v", err)
			}
		}, "belongs to user 12345"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			tt.spoil(t, root)
			found, problems := plugins.NewLoader([]string{root}).Load()
			if len(found) != 0 || len(problems) != 1 || !strings.Contains(problems[0].Error(), tt.want) {
				t.Errorf("found %v, problems %v, want one about %q", found, problems, tt.want)
			}
		})
	}
}

func manifest(text string) func(*testing.T, string) {
	return func(t *testing.T, root string) {
		t.Helper()
		install(t, root, "runtime-x", text)
	}
}

func chmod(name string, mode os.FileMode) func(*testing.T, string) {
	return func(t *testing.T, root string) {
		t.Helper()
		install(t, root, "runtime-x", manifestOf("x", "1"))
		if err := os.Chmod(filepath.Join(root, "runtime-x", name), mode); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFindSaysWhatThereIs(t *testing.T) {
	root := t.TempDir()
	install(t, root, "runtime-a", manifestOf("a", "1"))
	install(t, root, "runtime-b", manifestOf("b", "1"))
	install(t, root, "runtime-c", "kind: runtime\nname: c\n")
	l := plugins.NewLoader([]string{root})
	if p, err := l.Find(plugins.KindRuntime, "b"); err != nil || p.Name != "b" {
		t.Errorf("got %v, %v", p, err)
	}
	_, err := l.Find(plugins.KindRuntime, "c")
	if !errors.Is(err, drivers.ErrNotFound) || !strings.Contains(err.Error(), "there is a, b") || !strings.Contains(err.Error(), "version: missing") {
		t.Errorf("got %v", err)
	}
	if _, err := l.Find(plugins.KindNetwork, "a"); !errors.Is(err, drivers.ErrNotFound) {
		t.Errorf("of another kind: %v", err)
	}
}

func TestWrongProgramIsNeverStarted(t *testing.T) {
	root, sockets := t.TempDir(), socketDir(t)
	exe := install(t, root, "runtime-x", manifestOf("x", "1"))
	mark := filepath.Join(t.TempDir(), "started")
	evil := []byte("#!/bin/sh\ntouch " + mark + "\n")
	sum := sha256.Sum256([]byte("#!/bin/sh\nexit 0\n"))
	writeManifest(t, filepath.Dir(exe), manifestOf("x", "1")+"sha256: "+strings.ToUpper(hex.EncodeToString(sum[:]))+"\n")
	p, err := plugins.NewLoader([]string{root}).Find(plugins.KindRuntime, "x")
	if err != nil {
		t.Fatal(err)
	}
	l := plugins.NewLauncher(plugins.LauncherOptions{SocketDir: sockets})
	// The right program gets as far as its own mistakes.
	if _, err := l.Launch(t.Context(), p, newBundle(t)); err == nil || !strings.Contains(err.Error(), "ended before it served") {
		t.Errorf("the right program: %v", err)
	}
	// Its replacement does not, even though it came after the plugin was loaded.
	if err := os.WriteFile(exe, evil, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Launch(t.Context(), p, newBundle(t)); !errors.Is(err, drivers.ErrUnavailable) || !strings.Contains(err.Error(), "checksum") {
		t.Errorf("a program with another checksum: %v", err)
	}
	if err := os.Chmod(exe, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Launch(t.Context(), p, newBundle(t)); err == nil || !strings.Contains(err.Error(), "chmod go-w") {
		t.Errorf("a program that others can write: %v", err)
	}
	if _, err := os.Stat(mark); !errors.Is(err, os.ErrNotExist) {
		t.Error("the wrong program was started")
	}
}

func TestShippedManifestsAreGood(t *testing.T) {
	for _, name := range []string{"runtime-qemu", "runtime-fake"} {
		data, err := os.ReadFile(filepath.Join(name, plugins.ManifestFile))
		if err != nil {
			t.Fatal(err)
		}
		root := t.TempDir()
		dir := filepath.Join(root, name)
		writeManifest(t, dir, string(data))
		if err := os.Mkdir(filepath.Join(dir, "bin"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "bin", name), nil, 0o700); err != nil {
			t.Fatal(err)
		}
		if found, problems := plugins.NewLoader([]string{root}).Load(); len(found) != 1 || len(problems) != 0 {
			t.Errorf("%s: %v", name, problems)
		}
	}
}
