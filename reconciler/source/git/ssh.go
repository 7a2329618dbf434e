package git

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing/format/pktline"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/transport"
	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"

	"github.com/vzreconciler/vzreconciler/internal/state"
)

// sshServer speaks Git's protocol with "git-upload-pack" over SSH. The library's
// own client cannot be told to give up during the handshake.
type sshServer struct {
	conn   net.Conn
	client *ssh.Client
	stdin  io.WriteCloser
	stdout io.Reader
	stop   func() bool
}

func dialSSH(ctx context.Context, u *url.URL, a Access) (*sshServer, error) {
	address := u.Host
	if u.Port() == "" {
		address = net.JoinHostPort(u.Hostname(), "22")
	}
	config, err := sshConfig(u.User.Username(), address, a)
	if err != nil {
		return nil, err
	}
	dialer := net.Dialer{Timeout: askTime}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	s := &sshServer{conn: conn, stop: context.AfterFunc(ctx, func() { _ = conn.Close() })}
	if err := s.begin(u, address, config); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func sshConfig(user, address string, a Access) (*ssh.ClientConfig, error) {
	pem, err := state.ReadSecret(a.SSHKeyFile)
	if err != nil {
		return nil, err
	}
	key, err := ssh.ParsePrivateKey(pem)
	if _, locked := errors.AsType[*ssh.PassphraseMissingError](err); locked {
		return nil, fmt.Errorf("%s has a passphrase: the daemon needs a key without", a.SSHKeyFile)
	}
	if err != nil {
		return nil, fmt.Errorf("%s is not a private key of OpenSSH", a.SSHKeyFile)
	}
	if _, err := state.ReadTrusted(a.KnownHostsFile); err != nil {
		return nil, err
	}
	hosts, err := knownhosts.NewDB(a.KnownHostsFile)
	if err != nil {
		return nil, fmt.Errorf("known hosts: %w", err)
	}
	if user == "" {
		user = "git"
	}
	return &ssh.ClientConfig{
		User:              user,
		Auth:              []ssh.AuthMethod{ssh.PublicKeys(key)},
		HostKeyCallback:   checkHost(hosts.HostKeyCallback(), a.KnownHostsFile),
		HostKeyAlgorithms: hosts.HostKeyAlgorithms(address),
	}, nil
}

// checkHost says what to do about a server that is not the one that is known.
func checkHost(check ssh.HostKeyCallback, file string) ssh.HostKeyCallback {
	return func(host string, addr net.Addr, key ssh.PublicKey) error {
		err := check(host, addr, key)
		switch {
		case knownhosts.IsHostKeyChanged(err):
			return fmt.Errorf("the server shows another key (%s) than the one in %s: find out why before you change the file", ssh.FingerprintSHA256(key), file)
		case knownhosts.IsHostUnknown(err):
			return fmt.Errorf("%s is not in %s: add its key (ssh-keyscan), once you know that it is the right one: %s", host, file, ssh.FingerprintSHA256(key))
		}
		return err
	}
}

// begin starts the program on the server.
func (s *sshServer) begin(u *url.URL, address string, config *ssh.ClientConfig) error {
	s.within(askTime)
	conn, channels, requests, err := ssh.NewClientConn(s.conn, address, config)
	if err != nil {
		return err
	}
	s.client = ssh.NewClient(conn, channels, requests)
	session, err := s.client.NewSession()
	if err != nil {
		return err
	}
	if s.stdin, err = session.StdinPipe(); err != nil {
		return err
	}
	if s.stdout, err = session.StdoutPipe(); err != nil {
		return err
	}
	quoted := strings.NewReplacer("'", `'\''`, "!", `'\!'`).Replace(u.Path)
	return session.Start("git-upload-pack '" + quoted + "'")
}

// within bounds how long what follows may take.
func (s *sshServer) within(d time.Duration) { _ = s.conn.SetDeadline(time.Now().Add(d)) }

func (s *sshServer) refs(context.Context) (*packp.AdvRefs, error) {
	refs := packp.NewAdvRefs()
	err := refs.Decode(io.LimitReader(s.stdout, maxRefs))
	switch {
	case errors.Is(err, packp.ErrEmptyAdvRefs), err == nil && refs.IsEmpty():
		return nil, transport.ErrEmptyRemoteRepository
	case errors.Is(err, packp.ErrEmptyInput):
		return nil, transport.ErrRepositoryNotFound
	case err != nil:
		return nil, err
	}
	transport.FilterUnsupportedCapabilities(refs.Capabilities)
	return refs, nil
}

func (s *sshServer) pack(_ context.Context, req *packp.UploadPackRequest) (*packp.UploadPackResponse, error) {
	s.within(packTime)
	if err := req.Validate(); err != nil {
		return nil, err
	}
	if err := req.UploadRequest.Encode(s.stdin); err != nil {
		return nil, fmt.Errorf("ask for the commit: %w", err)
	}
	if err := pktline.NewEncoder(s.stdin).Encodef("done\n"); err != nil {
		return nil, fmt.Errorf("ask for the commit: %w", err)
	}
	if err := s.stdin.Close(); err != nil {
		return nil, fmt.Errorf("ask for the commit: %w", err)
	}
	resp := packp.NewUploadPackResponse(req)
	return resp, resp.Decode(io.NopCloser(s.stdout))
}

func (s *sshServer) Close() error {
	s.stop()
	if s.client != nil {
		return s.client.Close()
	}
	return s.conn.Close()
}
