package kernels

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
)

func TestKernelIsInstalledFromAURL(t *testing.T) {
	kernel := pvhELF()
	sum := sha256.Sum256(kernel)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/vmlinux" {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(kernel)
	}))
	defer server.Close()
	secret := strings.Replace(server.URL, "http://", "http://me:secret@", 1)
	good := hex.EncodeToString(sum[:])

	tests := map[string]struct{ url, sum, wantError string }{
		"as it is said to be": {secret + "/vmlinux", good, ""},
		"another checksum":    {server.URL + "/vmlinux", strings.Repeat("0", 64), "its checksum is " + good},
		"no checksum":         {server.URL + "/vmlinux", "", "checksum of what is at " + server.URL + "/vmlinux is missing"},
		"not there":           {server.URL + "/other", good, "/other: 404 Not Found"},
		"no URL":              {"vmlinux", good, `"vmlinux" is no http or https URL`},
		"a checksum alone":    {"", good, "a checksum goes with a URL"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			k, err := Open(dir).Install(t.Context(), InstallOptions{URL: tt.url, SHA256: tt.sum})
			if tt.wantError != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wantError) {
					t.Errorf("error %v, want one with %q", err, tt.wantError)
				}
				if _, err := Open(dir).Get(""); !errors.Is(err, ErrNotInstalled) {
					t.Errorf("something is installed: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(k.Source, "secret") || !strings.HasSuffix(k.Source, "/vmlinux") {
				t.Errorf("source %q", k.Source)
			}
			if got, err := os.ReadFile(k.Image); err != nil || string(got) != string(kernel) {
				t.Errorf("the kernel is another: %v", err)
			}
		})
	}
}
