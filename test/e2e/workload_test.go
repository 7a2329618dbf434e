package e2e

import (
	"slices"
	"strings"
)

// wantWorkloadExamples fails the test unless the examples of workloads have done
// what they are for.
func (h *host) wantWorkloadExamples() {
	h.t.Helper()
	h.vzctlOK("wait", "--for=condition=Complete", "job/squares", "--timeout=240s")
	var said []string
	for line := range strings.Lines(h.vzctlOK("logs", "job/squares")) {
		_, text, _ := strings.Cut(line, "] ")
		said = append(said, strings.TrimSpace(text))
	}
	slices.Sort(said)
	if want := []string{"0 squared is 0", "1 squared is 1", "2 squared is 4"}; !slices.Equal(said, want) {
		h.t.Errorf("the job says %q, want %q", said, want)
	}
	codes := h.vzctlOK("get", "pods", "-l", "job-name=squares", "-o", "jsonpath={.items[*].status.containerStatuses[0].state.terminated.exitCode}")
	if codes != "0 0 0" {
		h.t.Errorf("exit codes %q", codes)
	}
	if out := h.vzctlOK("get", "jobs"); !strings.Contains(out, "Complete") || !strings.Contains(out, "3/3") {
		h.t.Errorf("the jobs are\n%s", out)
	}
	h.vzctlOK("rollout", "status", "statefulset/site", "--timeout=240s")
	if got := h.vzctlOK("exec", "site-1", "--", "wget", "-qO-", "http://127.0.0.1:8080/"); got != "site-1\n" {
		h.t.Errorf("site-1 serves %q", got)
	}
	if out := h.vzctlOK("describe", "site-0"); !strings.Contains(out, "Controlled By:  StatefulSet/site\n") {
		h.t.Errorf("site-0 is\n%s", out)
	}
	if out := h.vzctlOK("get", "cronjobs"); !strings.Contains(out, "Europe/Berlin") {
		h.t.Errorf("the cron jobs are\n%s", out)
	}
	h.wantWarmPoolExample()
}

func (h *host) wantWarmPoolExample() {
	h.t.Helper()
	h.vzctlOK("wait", "--for=condition=Ready", "sandboxwarmpool/shells", "sandboxclaim/alice", "--timeout=240s")
	if got := h.vzctlOK("exec", "sandboxclaim/alice", "--", "sh", "-c", "echo $USER"); got != "alice\n" {
		h.t.Errorf("alice's sandbox has USER=%q", got)
	}
	pooled := h.vzctlOK("get", "sandboxes", "-l", "agents.x-k8s.io/warm-pool-sandbox", "-o", "jsonpath={.items[*].metadata.name}")
	h.write("bob.yaml", `apiVersion: extensions.agents.x-k8s.io/v1beta1
kind: SandboxClaim
metadata: {name: bob}
spec: {warmPoolRef: {name: shells}}
`)
	h.vzctlOK("wait", "--for=condition=Ready", "sandboxclaim/bob", "--timeout=60s")
	if got := h.vzctlOK("exec", "sandboxclaim/bob", "--", "hostname"); got != pooled+"\n" {
		h.t.Errorf("bob is on %q, want the pool's %q", got, pooled)
	}
	if out := h.vzctlOK("get", "sandboxclaims"); !strings.Contains(out, pooled) {
		h.t.Errorf("the claims are\n%s", out)
	}
}
