package git

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"

	"github.com/vzreconciler/vzreconciler/internal/state"
)

// httpServer speaks Git's smart protocol over HTTP.
type httpServer struct {
	session transport.UploadPackSession
	conns   *http.Transport
}

func newHTTP(u *url.URL, a Access) (*httpServer, error) {
	endpoint, err := transport.NewEndpoint(u.String())
	if err != nil {
		return nil, err
	}
	user, password, err := a.credentials()
	if err != nil {
		return nil, err
	}
	var auth transport.AuthMethod
	if password != "" {
		auth = &githttp.BasicAuth{Username: user, Password: password}
	}
	conns := http.DefaultTransport.(*http.Transport).Clone()
	conns.ResponseHeaderTimeout = askTime
	conns.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	if a.CAFile != "" {
		pem, err := state.ReadTrusted(a.CAFile)
		if err != nil {
			return nil, err
		}
		conns.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !conns.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", a.CAFile)
		}
	}
	// The client follows redirects of the first request only, and takes credentials
	// to no other host.
	client := githttp.NewClientWithOptions(&http.Client{Transport: boundedTransport{conns}}, nil)
	session, err := client.NewUploadPackSession(endpoint, auth)
	if err != nil {
		return nil, err
	}
	return &httpServer{session, conns}, nil
}

func (s *httpServer) refs(ctx context.Context) (*packp.AdvRefs, error) {
	return s.session.AdvertisedReferencesContext(ctx)
}

func (s *httpServer) pack(ctx context.Context, req *packp.UploadPackRequest) (*packp.UploadPackResponse, error) {
	return s.session.UploadPack(ctx, req)
}

func (s *httpServer) Close() error {
	s.conns.CloseIdleConnections()
	return s.session.Close()
}

// boundedTransport bounds the bodies of responses.
type boundedTransport struct{ http.RoundTripper }

func (t boundedTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.RoundTripper.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	limit := int64(maxPack)
	switch {
	case resp.StatusCode != http.StatusOK:
		limit = maxError
	case req.Method == http.MethodGet:
		limit = maxRefs
	}
	resp.Body = boundedBody{io.LimitReader(resp.Body, limit), resp.Body}
	return resp, nil
}

type boundedBody struct {
	io.Reader
	io.Closer
}
