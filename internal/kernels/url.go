package kernels

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"time"

	"github.com/vzreconciler/vzreconciler/internal/state"
)

const (
	// downloadTimeout bounds a download as a whole.
	downloadTimeout = 30 * time.Minute
	// debMagic begins a Debian package, which is an ar archive.
	debMagic = "!<arch>\n"
)

var sha256RE = regexp.MustCompile(`^[0-9a-f]{64}$`)

// checkURL says what is wrong with a URL or the checksum of what is there, which
// there must be: a kernel is more trusted than any program in the guest.
func (o *InstallOptions) checkURL() error {
	if o.URL == "" {
		if o.SHA256 != "" {
			return errors.New("a checksum goes with a URL")
		}
		return nil
	}
	u, err := url.Parse(o.URL)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" {
		return fmt.Errorf("%q is no http or https URL", redacted(o.URL))
	}
	if !sha256RE.MatchString(o.SHA256) {
		return fmt.Errorf("the SHA-256 checksum of what is at %s is missing or not 64 digits of 0-9 and a-f", u.Redacted())
	}
	return nil
}

// redacted returns a URL without a password.
func redacted(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "it" // with what in it nobody knows
	}
	return u.Redacted()
}

// download fetches the URL into dir and returns the file, which has the checksum.
func download(ctx context.Context, opts InstallOptions, dir string) (file string, err error) {
	where := redacted(opts.URL)
	opts.Progress("Downloading " + where)
	ctx, cancel := context.WithTimeout(ctx, downloadTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, opts.URL, http.NoBody)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", fmt.Errorf("download: %w", err) // it names the URL, without a password
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("download %s: %s", where, resp.Status)
	}
	if err := state.MkdirAll(dir); err != nil {
		return "", err
	}
	file = filepath.Join(dir, "file")
	hash := sha256.New()
	n, err := writeFile(file, io.TeeReader(io.LimitReader(resp.Body, maxKernelBytes+1), hash))
	if err != nil {
		return "", fmt.Errorf("download %s: %w", where, err)
	}
	if n > maxKernelBytes {
		return "", fmt.Errorf("download %s: %w: it is larger than %d MiB", where, ErrInvalid, maxKernelBytes>>20)
	}
	if got := hex.EncodeToString(hash.Sum(nil)); got != opts.SHA256 {
		return "", fmt.Errorf("download %s: %w: its checksum is %s, not %s", where, ErrInvalid, got, opts.SHA256)
	}
	return file, nil
}

// addDownload adds what was downloaded, a package or a kernel.
func (st *stage) addDownload(opts InstallOptions, file string) error {
	f, err := os.Open(file) //nolint:gosec // in our own directory
	if err != nil {
		return err
	}
	defer f.Close()
	magic := make([]byte, len(debMagic))
	if _, err := io.ReadFull(f, magic); err == nil && string(magic) == debMagic {
		opts.Progress("Unpacking " + path.Base(redacted(opts.URL)))
		return st.addDeb(file)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return st.addImage(f)
}
