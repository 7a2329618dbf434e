package git

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
)

// serveHTTP serves a repository with git's own program for that. check is asked
// before each request, if there is one.
func serveHTTP(t *testing.T, r *repo, check func(w http.ResponseWriter, req *http.Request) bool) *httptest.Server {
	t.Helper()
	path, err := exec.CommandContext(t.Context(), "git", "--exec-path").Output()
	if err != nil {
		t.Fatal(err)
	}
	backend := &cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(path)), "git-http-backend"),
		Env:  []string{"GIT_PROJECT_ROOT=" + filepath.Dir(r.dir), "GIT_HTTP_EXPORT_ALL=1", "HOME=" + r.home},
	}
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if check == nil || check(w, req) {
			backend.ServeHTTP(w, req)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

// trust returns a file with a server's certificate.
func trust(t *testing.T, s *httptest.Server) string {
	t.Helper()
	return write(t, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})), 0o644)
}

// sshHost is a server that runs git-upload-pack for whoever has the one key.
type sshHost struct {
	addr    string
	hostKey ssh.PublicKey
	keyFile string
}

func newKey(t *testing.T) (signer ssh.Signer, file string) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if signer, err = ssh.NewSignerFromKey(private); err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	return signer, write(t, string(pem.EncodeToMemory(block)), 0o600)
}

func serveSSH(t *testing.T) *sshHost {
	t.Helper()
	host, _ := newKey(t)
	user, keyFile := newKey(t)
	config := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if ssh.FingerprintSHA256(key) != ssh.FingerprintSHA256(user.PublicKey()) {
			return nil, io.EOF
		}
		return &ssh.Permissions{}, nil
	}}
	config.AddHostKey(host)
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serveConn(t, c, config)
		}
	}()
	return &sshHost{l.Addr().String(), host.PublicKey(), keyFile}
}

func serveConn(t *testing.T, c net.Conn, config *ssh.ServerConfig) {
	defer c.Close()
	_, channels, requests, err := ssh.NewServerConn(c, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for nc := range channels {
		ch, reqs, err := nc.Accept()
		if err != nil {
			return
		}
		for req := range reqs {
			var run struct{ Command string }
			if req.Type != "exec" || ssh.Unmarshal(req.Payload, &run) != nil {
				_ = req.Reply(false, nil)
				continue
			}
			_ = req.Reply(true, nil)
			cmd := exec.CommandContext(t.Context(), "sh", "-c", run.Command)
			cmd.Stdout = ch
			stdin, err := cmd.StdinPipe() // The program's end does not wait for it.
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(stdin, ch)
				stdin.Close()
			}()
			code := 0
			if cmd.Run() != nil {
				code = 1
			}
			_, _ = ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Code uint32 }{uint32(code)})) //nolint:gosec // 0 or 1
			ch.Close()
		}
	}
}

func (h *sshHost) knownHosts(t *testing.T, key ssh.PublicKey) string {
	t.Helper()
	return write(t, knownhosts.Line([]string{h.addr}, key)+"\n", 0o644)
}
