package git

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestOnlyWhoKnowsTheSecretIsListenedTo(t *testing.T) {
	const secret, body = "hunter2", `{"ref": "refs/heads/main"}`
	sign := func(secret, body string) string {
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write([]byte(body))
		return hex.EncodeToString(mac.Sum(nil))
	}
	file := write(t, secret+"\n", 0o600)
	for name, test := range map[string]struct {
		file, header, value string
		want                int
	}{
		"GitHub":             {file, "X-Hub-Signature-256", "sha256=" + sign(secret, body), 202},
		"Gitea":              {file, "X-Gitea-Signature", sign(secret, body), 202},
		"GitLab":             {file, "X-Gitlab-Token", secret, 202},
		"no header":          {file, "X-Other", "x", 403},
		"another secret":     {file, "X-Hub-Signature-256", "sha256=" + sign("x", body), 403},
		"another body":       {file, "X-Hub-Signature-256", "sha256=" + sign(secret, body+" "), 403},
		"SHA-1":              {file, "X-Hub-Signature-256", "sha1=" + sign(secret, body), 403},
		"no hex":             {file, "X-Gitea-Signature", "hunter2", 403},
		"another token":      {file, "X-Gitlab-Token", "hunter3", 403},
		"an empty token":     {file, "X-Gitlab-Token", "", 403},
		"an empty signature": {file, "X-Hub-Signature-256", "sha256=", 403},
		"an open file":       {write(t, secret, 0o644), "X-Gitlab-Token", secret, 503},
		"an empty file":      {write(t, "\n", 0o600), "X-Gitlab-Token", "", 503},
	} {
		pushed := 0
		h := Webhook(test.file, func() { pushed++ }, slog.New(slog.DiscardHandler))
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/hooks/git", strings.NewReader(body))
		r.Header.Set(test.header, test.value)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != test.want || (pushed == 1) != (test.want == 202) {
			t.Errorf("%s: answered %d, pushed %d times", name, w.Code, pushed)
		}
		if strings.Contains(w.Body.String(), secret) {
			t.Errorf("%s: the answer holds the secret", name)
		}
	}
}
