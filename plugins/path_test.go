package plugins_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vzreconciler/vzreconciler/plugins"
)

func TestUsersDirectoriesComeBeforeTheInstalledOnes(t *testing.T) {
	t.Setenv(plugins.PathEnv, "/env1:/env2::/named")
	got := plugins.SearchPath([]string{"/named"}, []string{"/state", "/home/me/.local/share/vzreconciler"}, "/usr/local/bin")
	want := []string{
		"/named", "/env1", "/env2", "/state/plugins", "/home/me/.local/share/vzreconciler/plugins",
		"/usr/local/libexec/vzreconciler/plugins", "/usr/local/bin/plugins",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestPluginInAPlaceThatOthersCanReplaceIsRefused(t *testing.T) {
	for _, tt := range []struct {
		name string
		mode os.FileMode
		want string
	}{
		{"private", 0o700, ""},
		{"readable", 0o755, ""},
		{"writable by all and sticky, as /tmp", 0o777 | os.ModeSticky, ""},
		{"writable by all", 0o777, "chmod go-w"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			above := filepath.Join(t.TempDir(), "above")
			root := filepath.Join(above, "share", "plugins")
			install(t, root, "runtime-x", manifestOf("x", "1"))
			if err := os.Chmod(above, tt.mode); err != nil {
				t.Fatal(err)
			}
			found, problems := plugins.NewLoader([]string{root}).Load()
			if tt.want == "" {
				if len(found) != 1 || len(problems) != 0 {
					t.Errorf("problems %v", problems)
				}
				return
			}
			if len(found) != 0 || len(problems) != 1 || !strings.Contains(problems[0].Error(), tt.want) {
				t.Errorf("found %v, problems %v", found, problems)
			}
		})
	}
	t.Run("folder between the plugin's and its program's", func(t *testing.T) {
		root := t.TempDir()
		exe := install(t, root, "runtime-x", strings.Replace(manifestOf("x", "1"), "command: run", "command: a/b/run", 1))
		deep := filepath.Join(root, "runtime-x", "a", "b")
		if err := os.MkdirAll(deep, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(exe, filepath.Join(deep, "run")); err != nil {
			t.Fatal(err)
		}
		l := plugins.NewLoader([]string{root})
		if _, err := l.Find(plugins.KindRuntime, "x"); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Dir(deep), 0o777|os.ModeSticky); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Find(plugins.KindRuntime, "x"); err == nil || !strings.Contains(err.Error(), "chmod go-w") {
			t.Errorf("got %v", err)
		}
	})
}

func TestCLIPluginComesBeforePATH(t *testing.T) {
	root, bin := t.TempDir(), t.TempDir()
	t.Setenv("PATH", "relative:"+bin)
	for _, name := range []string{"vzctl-top", "vzctl-graph"} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(bin, "vzctl-text"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	installed := install(t, root, "cli-top", "kind: cli\nname: top\nversion: '1'\ncommand: run\nargs: [--all]\n")
	l := plugins.NewLoader([]string{root})
	for name, want := range map[string]string{"top": installed, "graph": filepath.Join(bin, "vzctl-graph"), "text": "", "none": ""} {
		program, _, err := l.FindCLI(name)
		if program != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v, want %q", name, program, err, want)
		}
	}
	if _, args, _ := l.FindCLI("top"); len(args) != 1 || args[0] != "--all" {
		t.Errorf("args %v", args)
	}
}
