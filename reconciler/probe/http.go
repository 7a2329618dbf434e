package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/vzreconciler/vzreconciler/internal/version"
)

const (
	maxRedirects      = 10
	maxResponseHeader = 64 << 10
)

// get asks for a page. As with the kubelet, 200 to 399 is a success, redirects to
// the same host are followed, and certificates are not checked.
func get(ctx context.Context, target Target, action *corev1.HTTPGetAction) Result {
	u := address(action)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return failed("HTTP", err)
	}
	req.Header = headers(action)
	if host := req.Header.Get("Host"); host != "" {
		req.Host = host
	}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) { return dial(ctx, target, addr) },
		TLSClientConfig: &tls.Config{
			InsecureSkipVerify: true, //nolint:gosec // it is asked whether it answers, over a channel of our own
		},
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxResponseHeader,
	}
	client := &http.Client{Transport: transport, CheckRedirect: sameHost}
	resp, err := client.Do(req)
	if err != nil {
		return failed("HTTP", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxRead))
	if err != nil {
		return failed("HTTP", err)
	}
	if resp.StatusCode < http.StatusOK || resp.StatusCode >= http.StatusBadRequest {
		r := failure("HTTP status %d", resp.StatusCode)
		r.Output = oneLine(string(body))
		return r
	}
	return Result{Outcome: Success}
}

func address(action *corev1.HTTPGetAction) *url.URL {
	u, err := url.Parse(action.Path)
	if err != nil { // It may hold what must be escaped.
		u = &url.URL{Path: action.Path}
	}
	host := action.Host
	if host == "" {
		host = "127.0.0.1"
	}
	u.Scheme = strings.ToLower(string(action.Scheme))
	u.Host = net.JoinHostPort(host, strconv.Itoa(action.Port.IntValue()))
	u.User, u.Opaque = nil, ""
	return u
}

func headers(action *corev1.HTTPGetAction) http.Header {
	h := http.Header{}
	for _, header := range action.HTTPHeaders {
		h.Add(header.Name, header.Value)
	}
	if _, given := h["User-Agent"]; !given {
		h.Set("User-Agent", "vzreconciler-probe/"+version.String())
	}
	if _, given := h["Accept"]; !given {
		h.Set("Accept", "*/*")
	}
	return h
}

// sameHost follows redirects as long as they stay on the host that was asked. One
// that leaves it is an answer.
func sameHost(req *http.Request, via []*http.Request) error {
	switch {
	case req.URL.Hostname() != via[0].URL.Hostname():
		return http.ErrUseLastResponse
	case len(via) >= maxRedirects:
		return fmt.Errorf("stopped after %d redirects", maxRedirects)
	case req.URL.Scheme != "http" && req.URL.Scheme != "https":
		return errors.New("redirected to another scheme")
	}
	return nil
}
