package bundle

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

func TestStateDirIsFoundByTheEnvironment(t *testing.T) {
	if runtime.GOOS == "darwin" {
		t.Setenv("HOME", "/Users/u")
		t.Setenv(StateDirEnv, "")
		if got, err := DefaultStateDir(); err != nil || got != "/Users/u/Library/Application Support/vzreconciler" {
			t.Errorf("got %q, %v", got, err)
		}
		return
	}
	tests := []struct {
		name, env, data, config string
		state, manifests        string
	}{
		{"home", "", "", "", "/home/u/.local/share/vzreconciler", "/home/u/.config/vzreconciler/manifests"},
		{"XDG", "", "/data", "/conf", "/data/vzreconciler", "/conf/vzreconciler/manifests"},
		{"relative XDG is ignored", "", "data", "conf", "/home/u/.local/share/vzreconciler", "/home/u/.config/vzreconciler/manifests"},
		{"VZ_STATE_DIR", "/srv/vz/", "/data", "/conf", "/srv/vz", "/conf/vzreconciler/manifests"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("HOME", "/home/u")
			t.Setenv(StateDirEnv, tt.env)
			t.Setenv("XDG_DATA_HOME", tt.data)
			t.Setenv("XDG_CONFIG_HOME", tt.config)
			if got, err := DefaultStateDir(); err != nil || string(got) != tt.state {
				t.Errorf("state directory %q, %v, want %q", got, err, tt.state)
			}
			if got, err := DefaultManifestsDir(); err != nil || got != tt.manifests {
				t.Errorf("manifests directory %q, %v, want %q", got, err, tt.manifests)
			}
		})
	}
}

func TestWithoutAHomeTheErrorSaysWhatToSet(t *testing.T) {
	t.Setenv("HOME", "")
	t.Setenv(StateDirEnv, "")
	t.Setenv("XDG_DATA_HOME", "")
	if dir, err := DefaultStateDir(); err == nil || dir != "" || !strings.Contains(err.Error(), StateDirEnv) {
		t.Errorf("got %q, %v", dir, err)
	}
}

func TestPathsLieInTheStateDirectory(t *testing.T) {
	s := StateDir("/s")
	b := s.Bundle("default", "web")
	for got, want := range map[string]string{
		s.ControlSocket():         "/s/run/vzreconciler.sock",
		string(b):                 "/s/sandboxes/default/web",
		b.ConfigurationFile():     "/s/sandboxes/default/web/runtime-configuration.json",
		b.ReattachFile():          "/s/sandboxes/default/web/reattach.json",
		b.ProcessLog("nginx"):     "/s/sandboxes/default/web/logs/nginx.log",
		b.ConsoleLog():            "/s/sandboxes/default/web/logs/_console.log",
		s.Bundle("a", "b").Disk(): "/s/sandboxes/a/b/disk.img",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestSocketDirIsShortPrivateAndStable(t *testing.T) {
	runtimeDir, err := os.MkdirTemp("/tmp", "x") //nolint:usetesting // it must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(runtimeDir) })
	state := StateDir(filepath.Join(t.TempDir(), strings.Repeat("long", 30)))
	if err := os.MkdirAll(string(state), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, env := range map[string]string{"set": runtimeDir, "unset": "", "gone": "/nowhere", "too long": "/tmp/" + strings.Repeat("x", 90)} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("XDG_RUNTIME_DIR", env)
			dir, err := SocketDir(state)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = os.RemoveAll(dir) })
			if len(dir) > 70 {
				t.Errorf("%s is too long", dir)
			}
			if fi, err := os.Lstat(dir); err != nil || fi.Mode() != os.ModeDir|0o700 {
				t.Errorf("mode %v, %v", fi.Mode(), err)
			}
			if again, err := SocketDir(state); again != dir || err != nil {
				t.Errorf("then %s, %v", again, err)
			}
			if inside := filepath.Dir(dir) == runtimeDir; inside != (name == "set") {
				t.Errorf("made %s with XDG_RUNTIME_DIR=%s", dir, env)
			}
			link := filepath.Join(t.TempDir(), "link")
			if err := os.Symlink(string(state), link); err != nil {
				t.Fatal(err)
			}
			if other, err := SocketDir(StateDir(link)); other != dir || err != nil {
				t.Errorf("by another name it is %s, %v", other, err)
			}
		})
	}
}

func TestSocketDirThatAStrangerMadeIsRefused(t *testing.T) {
	tests := []struct {
		name string
		make func(t *testing.T, dir string)
	}{
		{"a link", func(t *testing.T, dir string) {
			if err := os.Symlink(t.TempDir(), dir); err != nil {
				t.Fatal(err)
			}
		}},
		{"a file", func(t *testing.T, dir string) {
			if err := os.WriteFile(dir, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}},
		{"open to others", func(t *testing.T, dir string) {
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(dir, 0o777); err != nil {
				t.Fatal(err)
			}
		}},
		{"of another user", func(t *testing.T, dir string) {
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			if os.Getuid() != 0 {
				// Only root can give a directory away; / belongs to another user.
				if err := checkPrivate("/"); err == nil {
					t.Error("/ was accepted")
				}
				if err := os.Chmod(dir, 0o722); err != nil {
					t.Fatal(err)
				}
				return
			}
			if err := syscall.Chown(dir, 12345, 12345); err != nil {
				t.Fatal(err)
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "vzr")
			tt.make(t, dir)
			if err := makePrivate(dir); err == nil {
				t.Error("it was accepted")
			}
		})
	}
}
