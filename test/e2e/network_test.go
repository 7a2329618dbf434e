package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/plugins"
)

// onNetwork puts a sandbox of sandboxYAML on the default network, and publishes its
// port 80 if port is not 0.
func onNetwork(yaml string, port int) string {
	ports := ""
	if port != 0 {
		ports = fmt.Sprintf("        ports: [{containerPort: 80, hostPort: %d}]\n", port)
	}
	return strings.NewReplacer(
		"spec:\n  podTemplate:", "spec:\n  networks: [{name: default}]\n  podTemplate:",
		"        command:", ports+"        command:",
	).Replace(yaml)
}

// TestSandboxesOnANetwork has two reach each other by name, keep their addresses
// when one is made anew, and outlive the process of the network.
func TestSandboxesOnANetwork(t *testing.T) {
	t.Parallel()
	h := startHost(t)
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	const serve = "mkdir /w; echo hello from web >/w/index.html; exec httpd -f -p 80 -h /w"
	h.write("web.yaml", onNetwork(sandboxYAML("web", serve), port))
	h.write("app.yaml", onNetwork(sandboxYAML("app", "sleep infinity"), 0))
	app := h.waitReady("app")
	web := h.waitReady("web")

	// The port is taken: that is told, and no more than that comes of it.
	attached := func(want, reason string) func(*manifests.Sandbox) error {
		return func(s *manifests.Sandbox) error {
			if status, got, message := condition(s, manifests.ConditionNetworkAttached); status != want || got != reason {
				return fmt.Errorf("NetworkAttached: %s %s %s", status, got, message)
			}
			return nil
		}
	}
	h.waitFor("web", "is told of the taken port", attached("False", "HostPortUnavailable"))
	l.Close()
	h.waitFor("web", "has its port", attached("True", "Attached"))
	h.reaches("app", "web")
	h.reaches("app", "web.default")
	h.hostReaches(port)

	// Neither this host, nor its loopback, is reached.
	gateway := web.Status.Networks[0].Gateway
	_, metrics, _ := strings.Cut(h.metrics, ":")
	if out, _, code := h.vzctl("exec", "app", "--", "nc", "-w", "20", gateway, metrics); code == 0 {
		t.Errorf("the sandbox reached this host: %s", out)
	}

	// The network's process is killed; another takes its place.
	running, err := plugins.RunningIn(h.state + "/networks/default")
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(running.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	h.eventually(soon, "the network is back", func() error {
		now, err := plugins.RunningIn(h.state + "/networks/default")
		if err == nil && now.PID == running.PID {
			err = errNotYet
		}
		return err
	})
	h.waitFor("app", "is attached again", attached("True", "Attached"))
	h.reaches("app", "web")
	h.hostReaches(port)

	// One that is made anew has its address again; another daemon disturbs nothing.
	h.write("web.yaml", onNetwork(sandboxYAML("web", "echo anew; "+serve), port))
	anew := h.waitFor("web", "was made anew", func(s *manifests.Sandbox) error {
		if bootID(s) == bootID(web) {
			return errNotYet
		}
		return errors.Join(readyAt(2)(s), attached("True", "Attached")(s))
	})
	if len(anew.Status.PodIPs) != 1 || anew.Status.PodIPs[0] != web.Status.PodIPs[0] {
		t.Errorf("made anew its addresses are %v, they were %v", anew.Status.PodIPs, web.Status.PodIPs)
	}
	h.kill()
	h.hostReaches(port)
	h.start()
	h.reaches("app", "web")
	if s := h.waitReady("app"); bootID(s) != bootID(app) {
		t.Error("the other sandbox was started anew")
	}
	if got := h.vzctlOK("network", "inspect", "default"); !strings.Contains(got, anew.Status.PodIPs[0]) || !strings.Contains(got, "Running") {
		t.Errorf("network inspect:\n%s", got)
	}
}

// reaches has one sandbox read a page of another's.
func (h *host) reaches(from, name string) {
	h.t.Helper()
	h.eventually(soon, from+" reaches "+name, func() error {
		out, errOut, _ := h.vzctl("exec", from, "--", "sh", "-c", `printf 'GET / HTTP/1.0\r\n\r\n' | nc -w 20 "$0" 80 | tail -n 1`, name)
		if out != "hello from web\n" {
			return fmt.Errorf("got %q, %s", out, errOut)
		}
		return nil
	})
}

// hostReaches reads the page through the host's port.
func (h *host) hostReaches(port int) {
	h.t.Helper()
	h.eventually(soon, "the host's port leads to the sandbox", func() error {
		c, err := new(net.Dialer).DialContext(h.t.Context(), "tcp4", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			return err
		}
		defer c.Close()
		if _, err := fmt.Fprint(c, "GET / HTTP/1.0\r\n\r\n"); err != nil {
			return err
		}
		page, err := io.ReadAll(c)
		if err == nil && !strings.Contains(string(page), "hello from web") {
			err = fmt.Errorf("got %q", page)
		}
		return err
	})
}
