package images

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
)

// Registries says how registries are reached that are not reached by their name
// over verified TLS. Hosts are as in references: "docker.io", "registry.lan:5000".
type Registries struct {
	// Mirrors are asked before a registry itself, in this order.
	Mirrors []Mirror
	// Insecure registries need have no certificate that can be verified, nor TLS.
	Insecure []string
	// CAFiles hold certificates in PEM, by the host that they are for, which are
	// trusted besides the system's.
	CAFiles map[string]string
}

// Mirror of a registry.
type Mirror struct {
	// Host is the registry's.
	Host string
	// URL is the mirror's: "https://mirror.lan", with "http:" for one without TLS,
	// with a path for one that has the registry's repositories below it.
	URL string
}

// reach is Registries, ready for use.
type reach struct {
	mirrors  map[string][]*url.URL
	insecure []string
	usual    http.RoundTripper
	special  map[string]http.RoundTripper
}

func newReach(r Registries) (*reach, error) {
	c := &reach{mirrors: map[string][]*url.URL{}, usual: newTransport(nil), special: map[string]http.RoundTripper{}}
	for _, host := range r.Insecure {
		if err := checkHost(host); err != nil {
			return nil, err
		}
		host = registryHost(host)
		c.insecure = append(c.insecure, host)
		c.special[host] = newTransport(&tls.Config{InsecureSkipVerify: true}) //nolint:gosec // the user named it as insecure
	}
	for host, file := range r.CAFiles {
		if err := checkHost(host); err != nil {
			return nil, err
		}
		pool, err := certificates(file)
		if err != nil {
			return nil, fmt.Errorf("registry %s: %w", host, err)
		}
		c.special[registryHost(host)] = newTransport(&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12})
	}
	for _, m := range r.Mirrors {
		if err := checkHost(m.Host); err != nil {
			return nil, err
		}
		u, err := url.Parse(m.URL)
		if err != nil {
			return nil, fmt.Errorf("mirror of %s: %w", m.Host, err)
		}
		if u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			return nil, fmt.Errorf("mirror of %s: %q: want a URL like https://mirror.example.org", m.Host, u.Redacted())
		}
		host := registryHost(m.Host)
		c.mirrors[host] = append(c.mirrors[host], u)
	}
	return c, nil
}

// checkHost makes sure that a host is one that a reference can begin with.
func checkHost(host string) error {
	if _, err := name.NewRegistry(host, name.StrictValidation); err != nil || strings.Contains(host, "/") {
		return fmt.Errorf("registry %q: want a host like registry.example.org:5000", host)
	}
	return nil
}

// registryHost is the host that requests go to.
func registryHost(host string) string {
	if host == "docker.io" {
		return name.DefaultRegistry
	}
	return host
}

func certificates(file string) (*x509.CertPool, error) {
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	pem, err := os.ReadFile(file) //nolint:gosec // named by who runs the daemon
	if err != nil {
		return nil, err
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate in PEM", file)
	}
	return pool, nil
}

// RoundTrip implements http.RoundTripper.
func (c *reach) RoundTrip(req *http.Request) (*http.Response, error) {
	if t := c.special[req.URL.Host]; t != nil {
		return t.RoundTrip(req)
	}
	return c.usual.RoundTrip(req)
}

// where returns the references under which an image is looked for, its own last.
func (c *reach) where(ref name.Reference) ([]name.Reference, error) {
	var (
		all  []name.Reference
		repo = ref.Context()
	)
	add := func(text string, insecure bool) error {
		var options []name.Option
		if insecure {
			options = append(options, name.Insecure)
		}
		r, err := name.ParseReference(text, options...)
		if err != nil {
			return fmt.Errorf("%w: reference %q: %w", ErrInvalid, text, err)
		}
		all = append(all, r)
		return nil
	}
	separator := ":"
	if _, ok := ref.(name.Digest); ok {
		separator = "@"
	}
	for _, u := range c.mirrors[repo.RegistryStr()] {
		path := strings.Trim(u.Path, "/")
		if path != "" {
			path += "/"
		}
		insecure := u.Scheme == "http" || slices.Contains(c.insecure, u.Host)
		if err := add(u.Host+"/"+path+repo.RepositoryStr()+separator+ref.Identifier(), insecure); err != nil {
			return nil, err
		}
	}
	err := add(ref.Name(), slices.Contains(c.insecure, repo.RegistryStr()))
	return all, err
}

func newTransport(tlsConfig *tls.Config) *http.Transport {
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:        tlsConfig,
		TLSHandshakeTimeout:    2 * dialTimeout,
		ResponseHeaderTimeout:  headerTimeout,
		MaxResponseHeaderBytes: 1 << 20,
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    8,
		IdleConnTimeout:        30 * time.Second,
	}
}

// ParseRegistries reads what the daemon's flags say: mirrors as HOST=URL, CA files
// as HOST=FILE.
func ParseRegistries(mirrors, insecure, caFiles []string) (Registries, error) {
	r := Registries{Insecure: insecure}
	for _, text := range mirrors {
		host, location, ok := strings.Cut(text, "=")
		if !ok {
			return r, fmt.Errorf("mirror %q: want HOST=URL, as docker.io=https://mirror.example.org", text)
		}
		r.Mirrors = append(r.Mirrors, Mirror{host, location})
	}
	for _, text := range caFiles {
		host, file, ok := strings.Cut(text, "=")
		if !ok {
			return r, fmt.Errorf("certificates %q: want HOST=FILE", text)
		}
		if r.CAFiles == nil {
			r.CAFiles = map[string]string{}
		}
		r.CAFiles[host] = file
	}
	_, err := newReach(r)
	return r, err
}
