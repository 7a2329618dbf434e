package images

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"path"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
)

// PullSecret holds credentials for registries, as the Secrets do that a Pod's
// imagePullSecrets name: see
// https://kubernetes.io/docs/tasks/configure-pod-container/pull-image-private-registry/
type PullSecret struct {
	// Name is for messages.
	Name string
	// DockerConfig is a docker config.json, of which "auths" count.
	DockerConfig []byte
}

// keychain looks in secrets, then in what comes after them.
type keychain struct {
	entries []credential
	next    authn.Keychain
	hash    [sha256.Size]byte // tells credentials apart without showing them
}

// credential is one for registries and repositories that match.
type credential struct {
	host, path string
	auth       authn.AuthConfig
}

func newKeychain(secrets []PullSecret, next authn.Keychain) (*keychain, error) {
	k := &keychain{next: next}
	if len(secrets) == 0 {
		return k, nil
	}
	sum := sha256.New()
	for _, s := range secrets {
		var config struct {
			Auths map[string]authn.AuthConfig `json:"auths"`
		}
		// The error of package json may quote the text.
		if err := json.NewDecoder(bytes.NewReader(s.DockerConfig)).Decode(&config); err != nil {
			return nil, fmt.Errorf("%w: the secret %s is no docker configuration in JSON, as kubectl create secret docker-registry writes it", ErrInvalid, s.Name)
		}
		for key, auth := range config.Auths {
			host, repository := splitKey(key)
			k.entries = append(k.entries, credential{host, repository, auth})
		}
		_, _ = fmt.Fprintf(sum, "%d ", len(s.DockerConfig))
		_, _ = sum.Write(s.DockerConfig)
	}
	sum.Sum(k.hash[:0])
	return k, nil
}

// splitKey takes apart what names registries in a docker configuration: a host, a
// URL, with the beginning of a repository's path or not. Docker's own is known by
// more than one.
func splitKey(key string) (host, repository string) {
	key = strings.TrimPrefix(strings.TrimPrefix(key, "https://"), "http://")
	host, repository, _ = strings.Cut(key, "/")
	repository = strings.Trim(repository, "/")
	if repository == "v1" || repository == "v2" {
		repository = ""
	}
	if host == "docker.io" || host == "registry-1.docker.io" {
		host = "index.docker.io"
	}
	return host, repository
}

// Resolve implements authn.Keychain. Of those that match, the one with the longest
// path counts, as in Kubernetes.
func (k *keychain) Resolve(target authn.Resource) (authn.Authenticator, error) {
	return k.ResolveContext(context.Background(), target)
}

// ResolveContext implements authn.ContextKeychain.
func (k *keychain) ResolveContext(ctx context.Context, target authn.Resource) (authn.Authenticator, error) {
	var best *credential
	repository := strings.TrimPrefix(target.String(), target.RegistryStr())
	repository = strings.Trim(repository, "/")
	for i := range k.entries {
		e := &k.entries[i]
		if !matchHost(e.host, target.RegistryStr()) || e.path != "" && e.path != repository && !strings.HasPrefix(repository, e.path+"/") {
			continue
		}
		if best == nil || len(e.path) > len(best.path) {
			best = e
		}
	}
	if best != nil {
		return authn.FromConfig(best.auth), nil
	}
	if k.next == nil {
		return authn.Anonymous, nil
	}
	return authn.Resolve(ctx, k.next, target)
}

// matchHost reports whether a host is one that a pattern means, part by part:
// "*.example.org" does not mean "a.b.example.org", as in Kubernetes.
func matchHost(pattern, host string) bool {
	patterns, parts := strings.Split(pattern, "."), strings.Split(host, ".")
	if len(patterns) != len(parts) {
		return false
	}
	for i := range parts {
		if ok, err := path.Match(patterns[i], parts[i]); err != nil || !ok {
			return false
		}
	}
	return true
}
