package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// host is a sandbox whose loopback is this host's.
type host struct {
	exec func(ctx context.Context, spec drivers.ProcessSpec, stdio drivers.Stdio) (drivers.ExitStatus, error)
}

func (h host) Exec(ctx context.Context, _ string, spec drivers.ProcessSpec, stdio drivers.Stdio) (drivers.ExitStatus, error) {
	return h.exec(ctx, spec, stdio)
}

func (host) Dial(ctx context.Context, to drivers.Address) (drivers.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(to.Port)))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", drivers.ErrRefused, err)
	}
	return conn.(*net.TCPConn), nil
}

func ask(t *testing.T, h Target, p *corev1.Probe) Result {
	t.Helper()
	if p.TimeoutSeconds == 0 {
		p.TimeoutSeconds = 60
	}
	return Do(t.Context(), h, Request{Probe: p, Container: "main"})
}

func want(t *testing.T, r Result, outcome Outcome, message, output string) {
	t.Helper()
	if r.Outcome != outcome || r.Message != message || !strings.Contains(r.Output, output) {
		t.Errorf("got %s, %q, %q; want %s, %q, %q", r.Outcome, r.Message, r.Output, outcome, message, output)
	}
}

func portOf(t *testing.T, url string) int {
	t.Helper()
	port, err := strconv.Atoi(url[strings.LastIndexByte(url, ':')+1:])
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return portOf(t, l.Addr().String())
}

func TestHTTP(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		code, err := strconv.Atoi(r.URL.Query().Get("code"))
		if err != nil {
			code = http.StatusTeapot
		}
		w.WriteHeader(code)
		_, _ = fmt.Fprintf(w, "line\none\x1b[31m of %s", r.URL.Path)
	})
	mux.HandleFunc("/headers", func(w http.ResponseWriter, r *http.Request) {
		if r.Host != "example.org" || r.Header.Get("X-A") != "b" || !strings.HasPrefix(r.UserAgent(), "vzreconciler-probe/") || r.Header.Get("Accept") != "*/*" {
			w.WriteHeader(http.StatusBadRequest)
		}
	})
	redirect := func(to string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusFound) }
	}
	mux.HandleFunc("/here", redirect("/?code=503"))
	mux.HandleFunc("/away", redirect("http://10.0.0.1/?code=503"))
	mux.HandleFunc("/loop", redirect("/loop"))
	mux.HandleFunc("/large", func(w http.ResponseWriter, _ *http.Request) {
		for range 1000 {
			_, _ = w.Write(make([]byte, 4096))
		}
	})
	mux.HandleFunc("/hangs", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	for _, scheme := range []corev1.URIScheme{corev1.URISchemeHTTP, corev1.URISchemeHTTPS} {
		server := httptest.NewUnstartedServer(mux)
		if scheme == corev1.URISchemeHTTPS {
			server.StartTLS()
		} else {
			server.Start()
		}
		defer server.Close()
		for _, tc := range []struct {
			path, message, output string
			outcome               Outcome
		}{
			{"/?code=200", "", "", Success},
			{"/?code=399", "", "", Success},
			{"/?code=400", "HTTP status 400", "line one[31m of /", Failure},
			{"/?code=503", "HTTP status 503", "", Failure},
			{"/a b%", "HTTP status 418", "of /a b%", Failure},
			{"no slash", "HTTP status 418", "", Failure},
			{"/headers", "", "", Success},
			{"/here", "HTTP status 503", "", Failure},
			{"/away", "", "", Success},
			{"/loop", "HTTP: failed", "stopped after 10 redirects", Failure},
			{"/large", "", "", Success},
			{"/hangs", "no answer within 1s", "", Failure},
		} {
			t.Run(string(scheme)+" "+tc.path, func(t *testing.T) {
				p := &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{
					Path: tc.path, Scheme: scheme, Port: intstr.FromInt(portOf(t, server.URL)),
				}}}
				if tc.path == "/headers" {
					p.HTTPGet.HTTPHeaders = []corev1.HTTPHeader{{Name: "host", Value: "example.org"}, {Name: "x-a", Value: "b"}}
				}
				if tc.path == "/hangs" {
					p.TimeoutSeconds = 1
				}
				want(t, ask(t, host{}, p), tc.outcome, tc.message, tc.output)
			})
		}
	}
	p := &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/", Scheme: "HTTP", Port: intstr.FromInt(freePort(t))}}}
	want(t, ask(t, host{}, p), Failure, "HTTP: connection refused", "")
}

func TestTCP(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	probe := func(port int) *corev1.Probe {
		return &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt(port)}}}
	}
	want(t, ask(t, host{}, probe(portOf(t, server.URL))), Success, "", "")
	port := freePort(t)
	want(t, ask(t, host{}, probe(port)), Failure, fmt.Sprintf("port %d: connection refused", port), "")
}

func TestGRPC(t *testing.T) {
	serve := func(register func(*grpc.Server)) int {
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s := grpc.NewServer()
		register(s)
		go func() { _ = s.Serve(l) }()
		t.Cleanup(s.Stop)
		return portOf(t, l.Addr().String())
	}
	h := health.NewServer()
	h.SetServingStatus("up", grpc_health_v1.HealthCheckResponse_SERVING)
	h.SetServingStatus("down", grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	healthy := serve(func(s *grpc.Server) { grpc_health_v1.RegisterHealthServer(s, h) })
	without := serve(func(*grpc.Server) {})
	free := freePort(t)
	for _, tc := range []struct {
		port             int
		service, message string
		outcome          Outcome
	}{
		{healthy, "", "", Success},
		{healthy, "up", "", Success},
		{healthy, "down", "gRPC health NOT_SERVING", Failure},
		{healthy, "other", "gRPC status NotFound", Failure},
		{without, "", "gRPC: the server has no health service", Failure},
		{free, "", fmt.Sprintf("port %d: connection refused", free), Failure},
	} {
		p := &corev1.Probe{ProbeHandler: corev1.ProbeHandler{GRPC: &corev1.GRPCAction{Port: int32(tc.port), Service: &tc.service}}}
		want(t, ask(t, host{}, p), tc.outcome, tc.message, "")
	}
}

func TestExec(t *testing.T) {
	probe := &corev1.Probe{TimeoutSeconds: 60, ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"check", "-a"}}}}
	req := Request{Probe: probe, Container: "main", Process: drivers.ProcessSpec{
		Args: []string{"serve"}, Env: []drivers.EnvVar{{Name: "A", Value: "b"}}, User: "web", Terminal: true, Capabilities: []string{"CAP_CHOWN"},
	}}
	for _, tc := range []struct {
		name            string
		code            int
		err             error
		print           string
		outcome         Outcome
		message, output string
	}{
		{"success", 0, nil, "fine", Success, "", ""},
		{"failure", 7, nil, "no\tfile\r\n\x00", Failure, "exit code 7", "no file"},
		{"much output", 1, nil, strings.Repeat("x", 1<<20), Failure, "exit code 1", strings.Repeat("x", maxOutput) + "…"},
		{"no such program", 0, drivers.ErrNotFound, "", Unknown, "exec: the program could not be run", "not found"},
		{"container is gone", 0, drivers.ErrInvalidState, "", Unknown, "exec: the program could not be run", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := host{exec: func(_ context.Context, spec drivers.ProcessSpec, stdio drivers.Stdio) (drivers.ExitStatus, error) {
				if strings.Join(spec.Args, " ") != "check -a" || spec.Terminal || len(spec.Env) != 1 || spec.User != "web" || spec.Capabilities != nil {
					t.Errorf("it ran %+v", spec)
				}
				_, _ = stdio.Stderr.Write([]byte(tc.print))
				return drivers.ExitStatus{Code: tc.code}, tc.err
			}}
			r := Do(t.Context(), h, req)
			want(t, r, tc.outcome, tc.message, tc.output)
			if len(r.Output) > maxOutput+len("…") {
				t.Errorf("%d bytes of output", len(r.Output))
			}
		})
	}
	hangs := host{exec: func(ctx context.Context, _ drivers.ProcessSpec, _ drivers.Stdio) (drivers.ExitStatus, error) {
		<-ctx.Done()
		return drivers.ExitStatus{}, ctx.Err()
	}}
	slow := *probe
	slow.TimeoutSeconds = 1
	want(t, Do(t.Context(), hangs, Request{Probe: &slow}), Failure, "no answer within 1s", "")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("the daemon ends"))
	if r := Do(ctx, hangs, req); r.Outcome != Unknown {
		t.Errorf("asked no more: %+v", r)
	}
}
