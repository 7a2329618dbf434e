package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/vzreconciler/vzreconciler/manifests"
)

// TestHealthAndOrder: what depends on another sandbox waits until that is Ready,
// which its probes decide on, and goes on when it is not any more.
func TestHealthAndOrder(t *testing.T) {
	h := startHost(t)
	h.write("app.yaml", strings.Replace(sandboxYAML("app", "sleep infinity"), "spec:\n", "spec:\n  dependsOn: [{name: db}]\n", 1))
	h.write("db.yaml", strings.Replace(sandboxYAML("db", "mkdir -p /www; touch /tmp/alive; exec httpd -f -p 8080 -h /www"),
		"        command:", `        livenessProbe: {exec: {command: [cat, /tmp/alive]}, periodSeconds: 1, timeoutSeconds: 10}
        readinessProbe: {httpGet: {path: /ready, port: www}, periodSeconds: 1, timeoutSeconds: 10}
        ports: [{name: www, containerPort: 8080}]
        command:`, 1))
	want := func(s *manifests.Sandbox, typ, reason, text string) error {
		if status, r, message := condition(s, typ); status != "False" || r != reason || !strings.Contains(message, text) {
			return fmt.Errorf("%s is %s, %s, %q", typ, status, r, message)
		}
		return nil
	}
	h.waitFor("db", "its readiness probe is answered", func(s *manifests.Sandbox) error {
		return want(s, manifests.ConditionReady, "ContainersNotReady", "readiness probe failed: HTTP status 404")
	})
	app := h.mustGet("app")
	if err := want(app, manifests.ConditionReady, "WaitingForDependencies", "Sandbox default/db to be Ready (it is Running)"); err != nil || app.Status.Phase != manifests.PhasePending {
		t.Errorf("app is %s: %v", app.Status.Phase, err)
	}
	h.vzctlOK("exec", "db", "--", "touch", "/www/ready")
	db, app := h.waitReady("db"), h.waitReady("app")
	if db.Status.ContainerStatuses[0].RestartCount != 0 {
		t.Error("db was restarted")
	}

	h.vzctlOK("exec", "db", "--", "rm", "/tmp/alive")
	db = h.waitFor("db", "it is started again", func(s *manifests.Sandbox) error {
		if cs := s.Status.ContainerStatuses[0]; cs.RestartCount != 1 || !cs.Ready {
			return fmt.Errorf("%d restarts, ready: %v", cs.RestartCount, cs.Ready)
		}
		return nil
	})
	if last := db.Status.ContainerStatuses[0].LastTerminationState.Terminated; last == nil || last.Message != "liveness probe failed: exit code 1" {
		t.Errorf("it ended with %+v", last)
	}
	for _, text := range []string{"liveness probe failed: exit code 1: cat: ", "container main failed its liveness probe and is ended"} {
		if out := h.vzctlOK("events", "sandbox/db"); !strings.Contains(out, text) {
			t.Errorf("no event %q in\n%s", text, out)
		}
	}
	if got := h.mustGet("app"); bootID(got) != bootID(app) || got.Status.ContainerStatuses[0].RestartCount != 0 {
		t.Error("app was disturbed")
	}
	// A probe is changed without the sandbox noticing.
	before := bootID(db)
	h.write("db.yaml", strings.Replace(sandboxYAML("db", "mkdir -p /www; touch /tmp/alive; exec httpd -f -p 8080 -h /www"),
		"        command:", "        readinessProbe: {tcpSocket: {port: 1}, periodSeconds: 1, timeoutSeconds: 10}\n        command:", 1))
	h.waitFor("db", "the new probe is followed", func(s *manifests.Sandbox) error {
		return want(s, manifests.ConditionReady, "ContainersNotReady", "port 1: connection refused")
	})
	if got := h.mustGet("db"); bootID(got) != before || got.Status.ContainerStatuses[0].RestartCount != 1 {
		t.Error("db was disturbed")
	}
	// So are its limits, its resolver and its host names.
	h.write("db.yaml", strings.NewReplacer(
		"        command:", "        resources: {limits: {memory: 48Mi, cpu: 500m}}\n        command:",
		"      containers:", "      dnsConfig: {nameservers: [192.0.2.1]}\n      hostAliases: [{ip: 192.0.2.2, hostnames: [other]}]\n      containers:",
	).Replace(sandboxYAML("db", "mkdir -p /www; touch /tmp/alive; exec httpd -f -p 8080 -h /www")))
	db = h.waitFor("db", "its new limits are applied", func(s *manifests.Sandbox) error {
		const edited = 3 // it was made, and its probes were changed
		if a := s.Status.LastApplied; a == nil || a.Generation != edited || s.Status.ObservedGeneration != edited {
			return fmt.Errorf("generation %d, applied %+v", s.Generation, a)
		}
		return nil
	})
	if db.Status.LastApplied.Class != "live" || bootID(db) != before || db.Status.ContainerStatuses[0].RestartCount != 1 {
		t.Errorf("db was disturbed: %+v", db.Status.LastApplied)
	}
	out := h.vzctlOK("exec", "db", "--", "sh", "-c", "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/cpu.max /etc/resolv.conf; grep other /etc/hosts")
	if out != "50331648\n50000 100000\nnameserver 192.0.2.1\n192.0.2.2\tother\n" {
		t.Errorf("db has %q", out)
	}
	h.remove("app.yaml")
	h.remove("db.yaml")
	h.waitGone("db")
	h.eventually(soon, "both are gone", func() error {
		if out := h.vzctlOK("get", "sandboxes", "-o", "name"); out != "" {
			return fmt.Errorf("there is %s", out)
		}
		return nil
	})
}
