package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
	"github.com/vzreconciler/vzreconciler/reconciler/api/apitest"
)

// echoServer listens on this host in place of a sandbox and sends back in upper
// case what it gets, once it has all.
func echoServer(t *testing.T) (port int) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				data, _ := io.ReadAll(conn)
				_, _ = conn.Write(bytes.ToUpper(data))
			}()
		}
	}()
	return l.Addr().(*net.TCPAddr).Port
}

// dials makes a backend's connections to ports of this host.
func dials(b *apitest.Backend) *apitest.Backend {
	b.DialFunc = func(ctx context.Context, _ *api.Ref, to drivers.Address) (drivers.Conn, error) {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", fmt.Sprint("127.0.0.1:", to.Port))
		if err != nil {
			return nil, fmt.Errorf("%w: nothing listens on %s", drivers.ErrRefused, to)
		}
		return conn.(*net.TCPConn), nil
	}
	return b
}

func TestDialConnectsItsStreamsAndPassesTheEndOn(t *testing.T) {
	data := strings.Repeat("0123456789abcde\n", 100_000)
	out := vzctl(t, dials(holds()), data, "dial", "web", fmt.Sprint(echoServer(t)))
	if out.code != exitDone || out.stdout != strings.ToUpper(data) || out.stderr != "" {
		t.Errorf("code %d, %d bytes, stderr %q", out.code, len(out.stdout), out.stderr)
	}
}

func TestDialOfAClosedPortSaysSo(t *testing.T) {
	out := vzctl(t, dials(holds()), "", "dial", "web", "1")
	if out.code != exitFailed || !strings.Contains(out.stderr, "nothing listens on port 1") {
		t.Errorf("%+v", out)
	}
	for _, port := range []string{"0", "65536", "-1", "http"} {
		if out := vzctl(t, dials(holds()), "", "dial", "web", "--", port); out.code != exitUsage {
			t.Errorf("port %s: %+v", port, out)
		}
	}
}

func TestParseForward(t *testing.T) {
	objects, errs := manifests.Parse("web.yaml", []byte(`apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  containers:
  - name: main
    image: example.com/app:1
    ports: [{name: http, containerPort: 8081}]
`))
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	for arg, want := range map[string]forward{
		"80": {80, 80}, "8080:80": {8080, 80}, ":80": {0, 80}, "0:80": {0, 80}, "http": {8081, 8081}, "80:http": {80, 8081},
	} {
		if got, err := parseForward(arg, objects[0].Sandbox); err != nil || got != want {
			t.Errorf("%s: %v, %v; want %v", arg, got, err, want)
		}
	}
	for _, arg := range []string{"", ":", "80:", "a:80", "80:0", "65536", "-1:80", "1:2:3", "ftp"} {
		if got, err := parseForward(arg, objects[0].Sandbox); err == nil {
			t.Errorf("%s: %v, want an error", arg, got)
		}
	}
}

// forwarding runs port-forward as a process and returns what it prints.
func forwarding(t *testing.T, b *apitest.Backend, args ...string) (stdout, stderr *bufio.Reader, cmd *exec.Cmd) {
	t.Helper()
	_, socket := apitest.Serve(t, b)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd = exec.CommandContext(t.Context(), exe, append([]string{"--socket", socket, "port-forward"}, args...)...)
	cmd.Env = append(os.Environ(), mainEnv+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	errs, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stuck := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() })
	t.Cleanup(func() { stuck.Stop() })
	return bufio.NewReader(out), bufio.NewReader(errs), cmd
}

var forwardingLine = regexp.MustCompile(`^Forwarding from (127\.0\.0\.1:\d+) -> (\d+)\n$`)

func ask(t *testing.T, address, text string) string {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// A connection that is refused is reset, at any of these: it brings no answer.
	if _, err := io.WriteString(conn, text); err != nil {
		return ""
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		return ""
	}
	answer, _ := io.ReadAll(conn)
	return string(answer)
}

func TestPortForwardServesManyConnectionsOnSeveralPortsUntilCtrlC(t *testing.T) {
	one, two := echoServer(t), echoServer(t)
	b := dials(holds(webJSON(t, time.Hour, nil)))
	stdout, stderr, cmd := forwarding(t, b, "web", "--address", "127.0.0.1", fmt.Sprint(":", one), fmt.Sprint(":", two), ":1")
	var addresses []string
	for _, want := range []int{one, two, 1} {
		line, err := stdout.ReadString('\n')
		m := forwardingLine.FindStringSubmatch(line)
		if err != nil || m == nil || m[2] != fmt.Sprint(want) {
			t.Fatalf("printed %q, %v", line, err)
		}
		addresses = append(addresses, m[1])
	}
	// More than may be carried at once.
	var asking sync.WaitGroup
	for i := range maxForwarded + 50 {
		asking.Go(func() {
			text := fmt.Sprint("question ", i)
			if got := ask(t, addresses[i%2], text); got != strings.ToUpper(text) {
				t.Errorf("got %q", got)
			}
		})
	}
	asking.Wait()
	if got := ask(t, addresses[2], "hello"); got != "" {
		t.Errorf("a port that is closed answered %q", got)
	}
	if line, err := stderr.ReadString('\n'); err != nil || !strings.Contains(line, "nothing listens on port 1") {
		t.Errorf("stderr %q, %v", line, err)
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	rest, _ := io.ReadAll(stderr)
	if got := code(cmd.Wait()); got != exitDone || len(rest) > 0 {
		t.Errorf("exit code %d, stderr %q", got, rest)
	}
}

func TestPortForwardWaitsWhileTheSandboxRestarts(t *testing.T) {
	port := echoServer(t)
	phases := make(chan string)
	b := holds(webJSON(t, time.Hour, nil))
	var mu sync.Mutex
	running := true
	b.WatchFunc = func(ctx context.Context, _ *api.GetRequest, send func(*api.WatchResponse) error) error {
		for {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case phase := <-phases:
				mu.Lock()
				running = phase == "Running"
				mu.Unlock()
				o := webJSON(t, time.Hour, func(m map[string]any) { status(m)["phase"] = phase })
				if err := send(&api.WatchResponse{Type: api.WatchResponse_MODIFIED, Object: o}); err != nil {
					return err
				}
			}
		}
	}
	connect := dials(b).DialFunc
	refused := make(chan struct{}, 100)
	b.DialFunc = func(ctx context.Context, ref *api.Ref, to drivers.Address) (drivers.Conn, error) {
		mu.Lock()
		defer mu.Unlock()
		if !running {
			refused <- struct{}{}
			return nil, fmt.Errorf("%w: it is Stopping", drivers.ErrInvalidState)
		}
		return connect(ctx, ref, to)
	}
	stdout, stderr, cmd := forwarding(t, b, "web", "--address=127.0.0.1", fmt.Sprint(":", port))
	line, err := stdout.ReadString('\n')
	m := forwardingLine.FindStringSubmatch(line)
	if err != nil || m == nil {
		t.Fatalf("printed %q, %v", line, err)
	}
	phases <- "Stopping"
	if line, err := stderr.ReadString('\n'); err != nil || !strings.Contains(line, "sandbox/web is Stopping") {
		t.Fatalf("stderr %q, %v", line, err)
	}
	answer := make(chan string, 1)
	go func() { answer <- ask(t, m[1], "still there") }()
	<-refused
	phases <- "Running"
	if line, err := stderr.ReadString('\n'); err != nil || !strings.Contains(line, "sandbox/web runs again") {
		t.Fatalf("stderr %q, %v", line, err)
	}
	if got := <-answer; got != "STILL THERE" {
		t.Errorf("got %q", got)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if got := code(cmd.Wait()); got != exitDone {
		t.Errorf("exit code %d", got)
	}
}

func TestPortForwardOfAPortInUseFails(t *testing.T) {
	port := echoServer(t)
	out := vzctl(t, dials(holds(webJSON(t, time.Hour, nil))), "", "port-forward", "web", fmt.Sprint(port, ":80"))
	if out.code != exitFailed || !strings.Contains(out.stderr, fmt.Sprint("listen on port ", port)) {
		t.Errorf("%+v", out)
	}
	if out := vzctl(t, dials(holds()), "", "port-forward", "web", "80"); out.code != exitNotFound {
		t.Errorf("%+v", out)
	}
}
