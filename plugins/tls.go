package plugins

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"github.com/vzreconciler/vzreconciler/internal/state"
)

// Files in a bundle's tls directory. The launcher's key lets whoever has it
// command the sandbox; the plugin's proves that it is the one launched.
const (
	tlsDir       = "tls"
	authorityPEM = "authority.pem"
	pluginPEM    = "plugin.pem"
	launcherPEM  = "launcher.pem"
)

// tlsName is the plugin's name in its certificate.
const tlsName = "vzreconciler-plugin"

func tlsPath(bundle string) string { return filepath.Join(bundle, tlsDir) }

// writeKeys makes a new key pair for each side and puts them into dir, which is
// made anew. Their authority's key is thrown away: nobody gets another
// certificate. They never expire, for they end with the plugin process, and a
// clock that jumps must not part a daemon from its sandboxes.
func writeKeys(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("write keys: %w", err)
	}
	if err := state.MkdirAll(dir); err != nil {
		return fmt.Errorf("write keys: %w", err)
	}
	ca, caKey, err := newCertificate("vzreconciler sandbox", func(c *x509.Certificate) {
		c.IsCA = true
		c.BasicConstraintsValid = true
		c.KeyUsage = x509.KeyUsageCertSign
	}, nil, nil)
	if err != nil {
		return fmt.Errorf("make keys: %w", err)
	}
	if err := writePEM(filepath.Join(dir, authorityPEM), ca, nil); err != nil {
		return err
	}
	for _, leaf := range []struct {
		file, name string
		use        x509.ExtKeyUsage
	}{
		{pluginPEM, tlsName, x509.ExtKeyUsageServerAuth},
		{launcherPEM, "vzreconciler", x509.ExtKeyUsageClientAuth},
	} {
		cert, key, err := newCertificate(leaf.name, func(c *x509.Certificate) {
			c.DNSNames = []string{leaf.name}
			c.KeyUsage = x509.KeyUsageDigitalSignature
			c.ExtKeyUsage = []x509.ExtKeyUsage{leaf.use}
		}, ca, caKey)
		if err != nil {
			return fmt.Errorf("make keys: %w", err)
		}
		if err := writePEM(filepath.Join(dir, leaf.file), cert, key); err != nil {
			return err
		}
	}
	return nil
}

// newCertificate returns a certificate signed by parent, or by itself.
func newCertificate(name string, with func(*x509.Certificate), parent *x509.Certificate, parentKey ed25519.PrivateKey,
) (*x509.Certificate, ed25519.PrivateKey, error) {
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC),
		// "No well-defined expiration date" of RFC 5280.
		NotAfter: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
	}
	with(template)
	if parent == nil {
		parent, parentKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, pub, parentKey)
	if err != nil {
		return nil, nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return cert, key, err
}

// writePEM does not wait for the disk: the keys are worth no more than the
// process, which would not survive a power failure either.
func writePEM(path string, cert *x509.Certificate, key ed25519.PrivateKey) error {
	var out bytes.Buffer
	_ = pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
	if key != nil {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return err
		}
		_ = pem.Encode(&out, &pem.Block{Type: "PRIVATE KEY", Bytes: der})
	}
	if err := os.WriteFile(path, out.Bytes(), state.FileMode); err != nil {
		return fmt.Errorf("write keys: %w", err)
	}
	return nil
}

// pluginTLS returns the plugin's side: it talks to the launcher alone.
func pluginTLS(dir string) (*tls.Config, error) {
	cfg, pool, err := readKeys(dir, pluginPEM)
	if err != nil {
		return nil, err
	}
	cfg.ClientAuth = tls.RequireAndVerifyClientCert
	cfg.ClientCAs = pool
	return cfg, nil
}

// launcherTLS returns the launcher's side: it talks to the plugin alone.
func launcherTLS(dir string) (*tls.Config, error) {
	cfg, pool, err := readKeys(dir, launcherPEM)
	if err != nil {
		return nil, err
	}
	cfg.RootCAs = pool
	cfg.ServerName = tlsName
	return cfg, nil
}

func readKeys(dir, file string) (*tls.Config, *x509.CertPool, error) {
	pair := filepath.Join(dir, file)
	cert, err := tls.LoadX509KeyPair(pair, pair)
	if err != nil {
		return nil, nil, fmt.Errorf("read keys: %w", err)
	}
	authority, err := os.ReadFile(filepath.Join(dir, authorityPEM)) //nolint:gosec // in the user's own directory
	if err != nil {
		return nil, nil, fmt.Errorf("read keys: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(authority) {
		return nil, nil, fmt.Errorf("read keys: no certificate in %s", filepath.Join(dir, authorityPEM))
	}
	return &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13}, pool, nil
}
