package plugins_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/vzreconciler/vzreconciler/internal/state"
	"github.com/vzreconciler/vzreconciler/plugins"
)

func TestStrangerCannotTalkToPlugin(t *testing.T) {
	l := plugins.NewLauncher(plugins.LauncherOptions{SocketDir: socketDir(t)})
	mine, other := newBundle(t), newBundle(t)
	launch(t, l, fakePlugin(t), mine)
	launch(t, l, fakePlugin(t), other)
	var record struct {
		Socket string `json:"socket"`
	}
	if err := state.ReadJSON(filepath.Join(mine, plugins.ReattachFile), &record); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		creds credentials.TransportCredentials
		want  bool
	}{
		{"without TLS", insecure.NewCredentials(), false},
		{"without a key", keys(t, mine, mine, ""), false},
		{"with another sandbox's key", keys(t, mine, other, "launcher.pem"), false},
		{"with the plugin's own key", keys(t, mine, mine, "plugin.pem"), false},
		{"with its authority unknown to us", keys(t, other, mine, "launcher.pem"), false},
		{"with the launcher's key", keys(t, mine, mine, "launcher.pem"), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			conn, err := grpc.NewClient("passthrough:///x", grpc.WithTransportCredentials(tt.creds),
				grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
					return (&net.Dialer{}).DialContext(ctx, "unix", record.Socket)
				}))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			if _, err = plugins.NewClient(conn).State(ctx); (err == nil) != tt.want {
				t.Errorf("state: %v", err)
			}
		})
	}
}

// keys are those of one bundle, with the authority of another.
func keys(t *testing.T, authority, own, file string) credentials.TransportCredentials {
	t.Helper()
	pem, err := os.ReadFile(filepath.Join(authority, "tls", "authority.pem"))
	if err != nil {
		t.Fatal(err)
	}
	cfg := &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "vzreconciler-plugin", MinVersion: tls.VersionTLS13}
	cfg.RootCAs.AppendCertsFromPEM(pem)
	if file != "" {
		pair := filepath.Join(own, "tls", file)
		cert, err := tls.LoadX509KeyPair(pair, pair)
		if err != nil {
			t.Fatal(err)
		}
		// Even if the server did not ask for one of its authority.
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
	}
	return credentials.NewTLS(cfg)
}

func TestKeysAndSocketsArePrivate(t *testing.T) {
	sockets := socketDir(t)
	l := plugins.NewLauncher(plugins.LauncherOptions{SocketDir: sockets})
	bundle := newBundle(t)
	launch(t, l, fakePlugin(t), bundle)
	for _, root := range []string{filepath.Join(bundle, "tls"), filepath.Join(bundle, "logs"), sockets} {
		err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			fi, err := d.Info()
			if err != nil {
				return err
			}
			want := os.FileMode(0o600)
			if d.IsDir() || d.Type() == os.ModeSocket {
				want = 0o700 // the socket's own mode is the umask's; its directory keeps others out
			}
			if d.Type() != os.ModeSocket && fi.Mode().Perm() != want {
				t.Errorf("%s has mode %04o", path, fi.Mode().Perm())
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}
