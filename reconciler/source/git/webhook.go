package git

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"

	"github.com/vzreconciler/vzreconciler/internal/state"
)

// maxHook is as much as GitHub sends.
const maxHook = 25 << 20

// Webhook returns what answers when a host of repositories says that something
// was pushed: it calls pushed, if the request proves that its sender knows the
// secret. GitHub, Gitea and Forgejo sign the body, GitLab sends the secret. What
// the body says does not matter: it only means that it is time to look.
//
// The secret is in a file, which is read each time.
func Webhook(secretFile string, pushed func(), log *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		secret, err := state.ReadSecret(secretFile)
		if err != nil {
			log.Error("a webhook cannot be answered", "error", err)
			http.Error(w, "not configured", http.StatusServiceUnavailable)
			return
		}
		mac := hmac.New(sha256.New, secret)
		_, err = io.Copy(mac, http.MaxBytesReader(w, r.Body, maxHook))
		if _, big := errors.AsType[*http.MaxBytesError](err); big {
			http.Error(w, "too big", http.StatusRequestEntityTooLarge)
			return
		}
		if err != nil {
			http.Error(w, "the body could not be read", http.StatusBadRequest)
			return
		}
		if !proves(r.Header, mac.Sum(nil), secret) {
			log.Warn("a webhook was refused: its signature or token is wrong", "from", r.RemoteAddr)
			http.Error(w, "the signature or token is wrong", http.StatusForbidden)
			return
		}
		pushed()
		w.WriteHeader(http.StatusAccepted)
	})
}

// proves reports whether a request's headers show knowledge of the secret.
func proves(h http.Header, sum, secret []byte) bool {
	signature := h.Get("X-Gitea-Signature")
	if hub := h.Get("X-Hub-Signature-256"); hub != "" {
		var ok bool
		if signature, ok = strings.CutPrefix(hub, "sha256="); !ok {
			return false
		}
	}
	if signature != "" {
		got, err := hex.DecodeString(signature)
		return err == nil && hmac.Equal(got, sum)
	}
	// The digests have one length: the comparison tells nothing of the secret's.
	token, want := sha256.Sum256([]byte(h.Get("X-Gitlab-Token"))), sha256.Sum256(secret)
	return hmac.Equal(token[:], want[:])
}
