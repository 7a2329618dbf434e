package main

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vzreconciler/vzreconciler/reconciler/source/git"
)

const gitConfig = `git:
- https://git.example.com/a.git#main:hosts/lab
- url: ssh://git@git.example.com/b.git
  branch: stable
  interval: 90s
  ssh-key-file: /k/key
  known-hosts-file: /k/known_hosts
  verify: {allowed-signers-file: /k/signers, gpg-keyring-file: /k/ring}
git-interval: 5s
git-webhook-secret-file: /k/hook
`

func TestGitSourcesFromTheConfigurationFile(t *testing.T) {
	t.Setenv("VZ_STATE_DIR", "/s")
	got, err := parse(t, "--config", writeConfig(t, gitConfig))
	if err != nil {
		t.Fatal(err)
	}
	want := defaultConfig()
	want.stateDir, want.gitInterval, want.hookSecret = "/s", 5*time.Second, "/k/hook"
	want.git = []gitSource{
		{location: git.Location{URL: "https://git.example.com/a.git", Branch: "main", Path: "hosts/lab"}},
		{
			location: git.Location{URL: "ssh://git@git.example.com/b.git", Branch: "stable"}, interval: 90 * time.Second,
			access: git.Access{SSHKeyFile: "/k/key", KnownHostsFile: "/k/known_hosts"},
			verify: git.Verify{AllowedSigners: "/k/signers", GPGKeyring: "/k/ring"},
		},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(config{}, gitSource{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestGitSourcesOfTheCommandLineComeFirst(t *testing.T) {
	t.Setenv("VZ_STATE_DIR", "/s")
	got, err := parse(t, "--git=file:///r/a.git#x", "--config", writeConfig(t, gitConfig), "--git", "http://localhost:8080/b.git#y:/z/")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range got.git {
		names = append(names, s.location.String())
	}
	if want := "file:///r/a.git#x http://localhost:8080/b.git#y:z"; strings.Join(names, " ") != want {
		t.Errorf("got %q, want %q", names, want)
	}
	if len(got.manifests) != 0 {
		t.Errorf("directories %q are read beside Git although none were named", got.manifests)
	}
}

func TestPrintedConfigurationIsTheSameConfiguration(t *testing.T) {
	t.Setenv("VZ_STATE_DIR", "/s")
	first := writeConfig(t, gitConfig+"manifests: [/a, \"/b\"]\nmax-prune: 3\n")
	var out bytes.Buffer
	cmd := newCommand(io.Discard, func(context.Context, config, io.Writer) error {
		t.Error("the daemon was started")
		return nil
	})
	cmd.SetOut(&out)
	cmd.SetArgs([]string{"--config", first, "--print-config"})
	if err := cmd.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	want, err := parse(t, "--config", first)
	if err != nil {
		t.Fatal(err)
	}
	got, err := parse(t, "--config", writeConfig(t, out.String()))
	if err != nil {
		t.Fatalf("%v in\n%s", err, &out)
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(config{}, gitSource{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestBadGitConfigurationIsRefusedWithItsPlace(t *testing.T) {
	for text, want := range map[string]string{
		"git: https://h/r.git#main":                                           `:1:6: git: must be a list`,
		"git:\n- https://h/r.git":                                             `:2:3: git: which branch? write URL#BRANCH`,
		"git:\n- {url: https://h/r.git, branch: a b}":                         `:2:3: git: "a b" is no name of a branch`,
		"git:\n- {url: https://h/r.git, branch: m, brunch: x}":                `:2:37: unknown key "brunch": the keys are branch, ca-file, `,
		"git:\n- {url: https://h/r.git, branch: m, branch: x}":                `"branch" is there twice`,
		"git:\n- url: https://h/r.git\n  branch: m\n  interval: soon":         `:4:13: "soon" is not a duration such as 60s`,
		"git:\n- url: https://h/r.git\n  branch: m\n  interval: 1ms":          `:4:13: must be at least 1s`,
		"git:\n- url: https://h/r.git\n  branch: m\n  verify: {}":             `:4:11: names nobody`,
		"git:\n- {url: ssh://git@h/r.git, branch: m}":                         `ssh needs ssh-key-file and known-hosts-file`,
		"git:\n- {url: https://h/r.git, branch: m, ssh-key-file: /k}":         `are for ssh`,
		"git:\n- {url: 'ssh://h/r', branch: m, credentials-file: /k}":         `credentials-file is for https`,
		"git: [https://h/r.git#m, https://h/r.git#m]":                         `https://h/r.git#m is named twice`,
		"git-webhook-secret-file: /k":                                         `there is no --git to look at`,
		"git: [https://h/r#m]\nmetrics-addr: ''\ngit-webhook-secret-file: /k": `needs --metrics-addr`,
		"git-interval: 1ms":                                                   `--git-interval 1ms: must be at least 1s`,
	} {
		_, err := parse(t, "--config", writeConfig(t, text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
		if exitCode(err) != exitUsage {
			t.Errorf("%q: exit code %d", text, exitCode(err))
		}
	}
}

func TestAPasswordInAURLIsRefusedAndNotRepeated(t *testing.T) {
	for _, url := range []string{"https://u:hunter2@h/r.git#m", "https://hunter2@h/r.git#m", "https://u:hunter2@h:port/r.git#m", "hunter2://%zz#m"} {
		for _, args := range [][]string{{"--git", url}, {"--config", writeConfig(t, "git: ['"+url+"']")}} {
			_, err := parse(t, args...)
			if err == nil || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%q: got %v", args, err)
			}
		}
	}
}

func TestTheExampleIsAGoodConfiguration(t *testing.T) {
	cfg, err := parse(t, "--config", "../../examples/gitops/config.yaml.example")
	if err != nil {
		t.Fatal(err)
	}
	if len(cfg.git) != 3 || !cfg.git[1].verify.Required() || cfg.hookSecret == "" {
		t.Errorf("got %+v", cfg)
	}
}
