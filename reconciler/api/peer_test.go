package api

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/vzreconciler/vzreconciler/drivers/wire"
)

// strangerEnv makes the test binary a client: it holds the socket to call.
const strangerEnv = "VZRECONCILER_TEST_STRANGER"

func TestMain(m *testing.M) {
	if socket := os.Getenv(strangerEnv); socket != "" {
		os.Exit(beStranger(socket, os.Stdout))
	}
	os.Exit(m.Run())
}

// beStranger calls the daemon and writes the errors.
func beStranger(socket string, w io.Writer) int {
	client, err := Dial(context.Background(), socket)
	if err != nil {
		fmt.Fprintln(w, "dial:", err)
		return 1
	}
	defer client.Close()
	_, err = client.Get(context.Background(), &GetRequest{})
	fmt.Fprintln(w, "get:", err)
	stream, err := client.Watch(context.Background(), &GetRequest{})
	if err == nil {
		_, err = stream.Recv()
	}
	fmt.Fprintln(w, "watch:", err)
	return 0
}

// guarded is a backend that no stranger may reach.
type guarded struct {
	Backend
	reached bool
}

func (g *guarded) Get(context.Context, *GetRequest) ([]json.RawMessage, error) {
	g.reached = true
	return nil, nil
}

func (g *guarded) Watch(context.Context, *GetRequest, func(*WatchResponse) error) error {
	g.reached = true
	return nil
}

func TestAForeignUserIsRefused(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can become another user; TestOnlyTheOwnerAndRootAreLetIn has the rule")
	}
	const nobody = 65534
	dir, err := os.MkdirTemp("", "vzr") //nolint:usetesting // a socket needs a short path
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "run", "vzreconciler.sock")
	l, err := Listen(t.Context(), socket, dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	backend := &guarded{}
	served := make(chan error, 1)
	go func() { served <- Serve(ctx, l, backend, slog.New(slog.DiscardHandler)) }()
	defer func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()

	// The modes keep strangers out already. Open them, to see the second lock.
	for path, mode := range map[string]os.FileMode{dir: 0o755, filepath.Dir(socket): 0o755, socket: 0o666} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	out, err := asUser(t, nobody, filepath.Join(dir, "stranger"), socket)
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, call := range []string{"get", "watch"} {
		want := call + ": this daemon belongs to the user with uid 0: only they and root may control it, not uid 65534"
		if !strings.Contains(out, want) {
			t.Errorf("the stranger read %q, want %q", out, want)
		}
	}
	if backend.reached {
		t.Error("the stranger's call reached the daemon")
	}
}

// asUser runs this test binary, copied to path, as another user.
func asUser(t *testing.T, uid uint32, path, socket string) (string, error) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	in, err := os.Open(exe)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), path)
	cmd.Dir = "/"
	cmd.Env = []string{strangerEnv + "=" + socket}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	text, err := cmd.CombinedOutput()
	return string(text), err
}

func TestOnlyTheOwnerAndRootAreLetIn(t *testing.T) {
	const owner = 1000
	as := func(info credentials.AuthInfo) context.Context {
		return peer.NewContext(t.Context(), &peer.Peer{AuthInfo: info})
	}
	for name, test := range map[string]struct {
		ctx  context.Context
		want codes.Code
	}{
		"the owner":           {as(peerInfo{uid: owner}), codes.OK},
		"root":                {as(peerInfo{uid: 0}), codes.OK},
		"another user":        {as(peerInfo{uid: 1001}), codes.PermissionDenied},
		"nobody knows who":    {t.Context(), codes.PermissionDenied},
		"without credentials": {as(nil), codes.PermissionDenied},
		"with other ones":     {as(credentials.TLSInfo{}), codes.PermissionDenied},
	} {
		if got := status.Code(authorize(test.ctx, owner)); got != test.want {
			t.Errorf("%s: got %v, want %v", name, got, test.want)
		}
	}
}

func TestAConnectionThatIsNoUnixSocketIsRefused(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if _, _, err := newPeerCredentials(&wire.Streams{}).ServerHandshake(a); err == nil {
		t.Error("let in")
	}
}

func TestThePeerIsWhoConnected(t *testing.T) {
	dir, err := os.MkdirTemp("", "vzr") //nolint:usetesting // a socket needs a short path
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var d net.Dialer
	client, err := d.DialContext(t.Context(), "unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := io.WriteString(client, "PRI"); err != nil { // as gRPC begins
		t.Fatal(err)
	}
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, info, err := newPeerCredentials(&wire.Streams{}).ServerHandshake(conn)
	if err != nil {
		t.Fatal(err)
	}
	got, ok := info.(peerInfo)
	if !ok || got.uid != os.Geteuid() {
		t.Errorf("got %+v, want uid %d", info, os.Geteuid())
	}
	if err := authorize(peer.NewContext(t.Context(), &peer.Peer{AuthInfo: info}), os.Geteuid()); err != nil {
		t.Errorf("the owner is refused: %v", err)
	}
}
