package e2e

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/vzreconciler/vzreconciler/manifests"
)

const (
	fleetSize  = 10
	gitToken   = "t0ken-of-the-deploy-user"
	hookSecret = "hook-s3cret"
)

// gitops is a host whose manifests come from a bare repository that is served over
// HTTP by git's own program, to whoever has the token. Commits are signed.
type gitops struct {
	*host
	work   string // a clone, from which is pushed
	source string // as it is called
	gone   atomic.Bool
}

func newGitOps(t *testing.T) *gitops {
	t.Helper()
	g := &gitops{host: processHost(t)}
	g.work = filepath.Join(g.dir, "work")
	g.run(g.dir, "git", "init", "-q", "--bare", "-b", "main", "fleet.git")
	g.run(g.dir, "git", "clone", "-q", "fleet.git", g.work)
	g.git("checkout", "-q", "-b", "main")
	g.run(g.dir, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "key")
	g.git("config", "gpg.format", "ssh")
	g.git("config", "user.signingkey", filepath.Join(g.dir, "key"))
	g.git("config", "commit.gpgsign", "true")
	public, err := os.ReadFile(filepath.Join(g.dir, "key.pub"))
	if err != nil {
		t.Fatal(err)
	}
	g.put("signers", "ann@example.com "+string(public))
	g.put("token", "deploy:"+gitToken+"\n")
	g.put("hook", hookSecret+"\n")

	url := g.serve()
	g.source = url + "/fleet.git#main:hosts/lab"
	g.put("config.yaml", fmt.Sprintf(`git:
- url: %s/fleet.git
  branch: main
  path: hosts/lab
  interval: 1h               # only webhooks and SIGHUP tell of news
  credentials-file: %s
  verify: {allowed-signers-file: %s}
git-webhook-secret-file: %s
`, url, filepath.Join(g.dir, "token"), filepath.Join(g.dir, "signers"), filepath.Join(g.dir, "hook")))
	g.flags = []string{"--config", filepath.Join(g.dir, "config.yaml")}
	return g
}

// serve serves the repository, unless it is gone.
func (g *gitops) serve() string {
	g.t.Helper()
	path, err := exec.CommandContext(g.t.Context(), "git", "--exec-path").Output()
	if err != nil {
		g.t.Fatal(err)
	}
	backend := &cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(path)), "git-http-backend"),
		Env:  []string{"GIT_PROJECT_ROOT=" + g.dir, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_GLOBAL=/dev/null"},
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		switch {
		case g.gone.Load():
			panic(http.ErrAbortHandler)
		case user != "deploy" || password != gitToken:
			w.WriteHeader(http.StatusUnauthorized)
		default:
			backend.ServeHTTP(w, r)
		}
	}))
	g.t.Cleanup(s.Close)
	return s.URL
}

func (g *gitops) put(name, data string) {
	g.t.Helper()
	if err := os.WriteFile(filepath.Join(g.dir, name), []byte(data), 0o600); err != nil {
		g.t.Fatal(err)
	}
}

func (g *gitops) run(dir string, args ...string) string {
	g.t.Helper()
	cmd := exec.CommandContext(g.t.Context(), args[0], args[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "GIT_AUTHOR_NAME=Ann",
		"GIT_AUTHOR_EMAIL=ann@example.com", "GIT_COMMITTER_NAME=Ann", "GIT_COMMITTER_EMAIL=ann@example.com")
	out, err := cmd.CombinedOutput()
	if err != nil {
		g.t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

func (g *gitops) git(args ...string) string {
	g.t.Helper()
	return g.run(g.work, append([]string{"git"}, args...)...)
}

// member writes the manifest of a member of the fleet.
func (g *gitops) member(i int, text string) {
	g.t.Helper()
	dir := filepath.Join(g.work, "hosts", "lab")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		g.t.Fatal(err)
	}
	data := processYAML(fmt.Sprintf("m%d", i), "echo "+text+"; sleep infinity", "")
	if err := os.WriteFile(fmt.Sprintf("%s/m%d.yaml", dir, i), []byte(data), 0o600); err != nil {
		g.t.Fatal(err)
	}
}

// push commits everything and tells the daemon. It returns the commit's hash.
func (g *gitops) push(args ...string) string {
	g.t.Helper()
	g.git("add", "-A")
	g.git(append([]string{"commit", "-q", "-m", "change"}, args...)...)
	return g.pushed()
}

// pushed pushes what is committed, by force, and tells the daemon.
func (g *gitops) pushed() string {
	g.t.Helper()
	g.git("push", "-q", "-f", "origin", "HEAD:main")
	g.tell()
	return g.git("rev-parse", "HEAD")
}

// tell does as GitHub does after a push.
func (g *gitops) tell() {
	g.t.Helper()
	const body = `{"ref": "refs/heads/main"}`
	mac := hmac.New(sha256.New, []byte(hookSecret))
	mac.Write([]byte(body))
	if code := g.hook(body, "sha256="+hex.EncodeToString(mac.Sum(nil))); code != http.StatusAccepted {
		g.t.Fatalf("the webhook was answered %d", code)
	}
}

func (g *gitops) hook(body, signature string) int {
	g.t.Helper()
	req, err := http.NewRequestWithContext(g.t.Context(), http.MethodPost, "http://"+g.metrics+"/hooks/git", strings.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	req.Header.Set("X-Hub-Signature-256", signature)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		g.t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// converged waits until the whole fleet is as a commit says, and returns the
// processes it runs in.
func (g *gitops) converged(commit string) []int {
	g.t.Helper()
	pids := make([]int, fleetSize)
	for i := range pids {
		s := g.waitFor(fmt.Sprintf("m%d", i), "is as commit "+commit+" says", func(s *manifests.Sandbox) error {
			src := s.Status.Source
			switch ready, _, message := condition(s, "Ready"); {
			case src == nil || src.Revision == nil || src.Commit != commit:
				return fmt.Errorf("source %+v", src)
			case ready != "True" || s.Generation != s.Status.ObservedGeneration:
				return fmt.Errorf("not ready: %s", message)
			}
			if synced, reason, message := condition(s, "Synced"); synced != "True" {
				return fmt.Errorf("not synced: %s: %s", reason, message)
			}
			return nil
		})
		pids[i] = s.Status.Runtime.PluginPID
	}
	return pids
}

// refused waits until the fleet tells that the branch's commit was not taken, and
// sees that it runs on as another says.
func (g *gitops) refused(inForce string, pids []int, text string) {
	g.t.Helper()
	for i, pid := range pids {
		s := g.waitFor(fmt.Sprintf("m%d", i), "tells of "+text, func(s *manifests.Sandbox) error {
			status, reason, message := condition(s, "Synced")
			if status != "False" || reason != "CommitRefused" || !strings.Contains(message, text) {
				return fmt.Errorf("Synced is %s, %s: %s", status, reason, message)
			}
			return nil
		})
		if ready, _, _ := condition(s, "Ready"); ready != "True" || s.Status.Source.Commit != inForce || s.Status.Runtime.PluginPID != pid {
			g.t.Errorf("m%d is not as it was: %+v", i, s.Status)
		}
	}
}

// says waits until the last line of a member's log is this.
func (g *gitops) says(name, text string) {
	g.t.Helper()
	g.eventually(soon, name+" says "+text, func() error {
		if log := "\n" + g.vzctlOK("logs", name); !strings.HasSuffix(log, "\n"+text+"\n") {
			return fmt.Errorf("%q", log)
		}
		return nil
	})
}

func (g *gitops) wantMetric(line string) {
	g.t.Helper()
	if metrics := g.scrape(); !strings.Contains(metrics, "\n"+line+"\n") {
		var have []string
		for l := range strings.Lines(metrics) {
			if strings.HasPrefix(l, "vzreconciler_source") {
				have = append(have, l)
			}
		}
		g.t.Errorf("no metric %s, but %q", line, have)
	}
}

func TestAFleetIsKeptByGit(t *testing.T) {
	t.Parallel()
	g := newGitOps(t)
	for i := range fleetSize {
		g.member(i, "one")
	}
	g.git("add", "-A")
	g.git("commit", "-q", "-m", "the fleet")
	g.git("push", "-q", "origin", "main")
	first := g.git("rev-parse", "HEAD")
	g.start()
	pids := g.converged(first)
	g.wantMetric(fmt.Sprintf("vzreconciler_source_commit_info{commit=%q,source=%q} 1", first, g.source))
	if out := g.vzctlOK("describe", "sandbox", "m0"); !strings.Contains(out, "Author:") || !strings.Contains(out, "Ann <ann@example.com>") || !strings.Contains(out, first) {
		t.Errorf("describe shows no author and commit:\n%s", out)
	}
	if out := g.vzctlOK("get", "sandboxes", "-o", "wide"); !strings.Contains(out, "hosts/lab/m0.yaml:1:1@"+first[:7]) {
		t.Errorf("the wide table shows no commit:\n%s", out)
	}

	// An edit converges, and nobody else is disturbed; reverted, all is as before.
	g.member(3, "two")
	second := g.push()
	now := g.converged(second)
	if now[3] == pids[3] || !slices.Equal(slices.Delete(slices.Clone(now), 3, 4), slices.Delete(slices.Clone(pids), 3, 4)) {
		t.Errorf("from processes %v to %v; want only the fourth another", pids, now)
	}
	g.says("m3", "two")
	g.git("revert", "--no-edit", second)
	g.converged(g.pushed())
	g.says("m3", "one")

	// The branch is forced back to where it was.
	g.git("reset", "-q", "--hard", second)
	pids = g.converged(g.pushed())
	g.says("m3", "two")

	// One bad file out of ten: nothing of the commit is taken.
	for i := range fleetSize {
		g.member(i, "three")
	}
	bad := filepath.Join(g.work, "hosts", "lab", "m7.yaml")
	g.edit(bad, "containers:", "containerz:")
	third := g.push()
	g.refused(second, pids, "hosts/lab/m7.yaml:9:7: Sandbox default/m7: spec.podTemplate.spec.containerz")
	g.wantMetric(fmt.Sprintf("vzreconciler_source_errors{source=%q} 1", g.source))
	if out := g.vzctlOK("events", "-o", "json"); !strings.Contains(out, "CommitRefused") || !strings.Contains(out, "commit "+third[:7]+" by Ann") {
		t.Errorf("no event tells of the refused commit:\n%s", out)
	}
	if out := g.vzctlOK("system", "status"); !strings.Contains(out, "commit "+second[:7]+" by Ann") || !strings.Contains(out, "is not taken") {
		t.Errorf("the status tells nothing of it:\n%s", out)
	}
	g.edit(bad, "containerz:", "containers:")
	fourth := g.push()
	pids = g.converged(fourth)
	g.says("m7", "three")

	// Whoever has no allowed key changes nothing.
	g.member(0, "intruder")
	unsigned := g.push("--no-gpg-sign")
	g.refused(fourth, pids, "commit "+unsigned[:7]+" by Ann <ann@example.com> is not taken: it is not signed")

	// The branch is deleted, and comes back.
	g.run(filepath.Join(g.dir, "fleet.git"), "git", "symbolic-ref", "HEAD", "refs/heads/other")
	g.git("push", "-q", "origin", "main:other")
	g.git("push", "-q", "origin", ":main")
	g.tell()
	g.eventually(soon, "the branch is missed", func() error {
		if out, errOut, _ := g.vzctl("get", "sandboxes"); !strings.Contains(errOut, "no such branch") {
			return fmt.Errorf("%s%s", out, errOut)
		}
		return nil
	})
	g.git("reset", "-q", "--hard", fourth)
	g.pushed()
	if again := g.converged(fourth); !slices.Equal(again, pids) {
		t.Errorf("the fleet was disturbed: processes %v, now %v", pids, again)
	}

	// The repository is gone for a while, and the daemon restarts meanwhile.
	g.gone.Store(true)
	g.tell()
	unreached := func() error {
		if _, errOut, _ := g.vzctl("get", "sandboxes"); !strings.Contains(errOut, "cannot be fetched") {
			return fmt.Errorf("%s", errOut)
		}
		return nil
	}
	g.eventually(soon, "the repository is missed", unreached)
	g.stop()
	g.start()
	g.eventually(soon, "the repository is missed by the next daemon", unreached)
	if again := g.converged(fourth); !slices.Equal(again, pids) {
		t.Errorf("the fleet was disturbed: processes %v, now %v", pids, again)
	}
	g.wantMetric(fmt.Sprintf("vzreconciler_source_commit_info{commit=%q,source=%q} 1", fourth, g.source))
	g.wantMetric(fmt.Sprintf("vzreconciler_source_errors{source=%q} 1", g.source))
	g.gone.Store(false)
	g.member(9, "five")
	g.git("add", "-A")
	g.git("commit", "-q", "-m", "back")
	g.git("push", "-q", "origin", "HEAD:main")
	if err := g.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	g.converged(g.git("rev-parse", "HEAD"))
	g.wantMetric(fmt.Sprintf("vzreconciler_source_errors{source=%q} 0", g.source))

	// Who does not know the secret is not listened to.
	if code := g.hook("{}", "sha256=00"); code != http.StatusForbidden {
		t.Errorf("a forged webhook was answered %d", code)
	}
	// Nothing tells the secrets.
	for _, secret := range []string{gitToken, hookSecret} {
		g.wantUntold(secret)
	}

	// A removed source removes nothing.
	g.stop()
	g.flags = nil
	g.start()
	g.eventually(soon, "the removal is held", func() error {
		if out := g.vzctlOK("prune"); strings.Count(out, "Sandbox default/m") != fleetSize {
			return fmt.Errorf("%s", out)
		}
		return nil
	})
	g.vzctlOK("prune", "--confirm")
	for i := range fleetSize {
		g.waitGone(fmt.Sprintf("m%d", i))
	}
}

// edit replaces a text in a file.
func (g *gitops) edit(path, from, to string) {
	g.t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		g.t.Fatal(err)
	}
	if err := os.WriteFile(path, bytes.ReplaceAll(data, []byte(from), []byte(to)), 0o600); err != nil {
		g.t.Fatal(err)
	}
}

// wantUntold fails the test if a secret is in the log, the state directory or what
// the API and the metrics tell.
func (g *gitops) wantUntold(secret string) {
	g.t.Helper()
	told := map[string]string{"metrics": g.scrape(), "events": g.vzctlOK("events", "-o", "json"), "status": g.vzctlOK("system", "status", "-o", "json")}
	log, err := os.ReadFile(g.log)
	if err != nil {
		g.t.Fatal(err)
	}
	told["log"] = string(log)
	cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", g.cmd.Process.Pid))
	if err != nil {
		g.t.Fatal(err)
	}
	told["arguments"] = string(cmdline)
	for where, text := range told {
		if strings.Contains(text, secret) {
			g.t.Errorf("the %s tell %s", where, secret)
		}
	}
	if out, err := exec.CommandContext(g.t.Context(), "grep", "-rlF", secret, g.state).Output(); err == nil {
		g.t.Errorf("the state directory holds %s in %s", secret, out)
	}
}
