package reconciler

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/vzreconciler/vzreconciler/internal/images"
	"github.com/vzreconciler/vzreconciler/manifests"
)

// pullSecrets returns the credentials that a sandbox brings for its images, and what
// of them is not there, for people.
func pullSecrets(s *manifests.Sandbox, secrets map[string]*corev1.Secret) (found []images.PullSecret, missing []string) {
	for _, ref := range s.Spec.PodTemplate.Spec.ImagePullSecrets {
		name := s.Namespace + "/" + ref.Name
		secret := secrets[ref.Name]
		if secret == nil {
			missing = append(missing, fmt.Sprintf("there is no Secret %s", name))
			continue
		}
		switch config, kind := dockerConfigOf(secret); {
		case len(config) > 0:
			found = append(found, images.PullSecret{Name: name, DockerConfig: config})
		default:
			missing = append(missing, fmt.Sprintf("Secret %s is of type %q and has no key %s: want type %s", name, secret.Type, kind, corev1.SecretTypeDockerConfigJson))
		}
	}
	return found, missing
}

// dockerConfigOf returns a Secret's docker configuration, and the key that it has or
// should have it under. The older type holds the inner part only.
func dockerConfigOf(s *corev1.Secret) (config []byte, key string) {
	value := func(key string) []byte {
		if text, ok := s.StringData[key]; ok {
			return []byte(text)
		}
		return s.Data[key]
	}
	if s.Type == corev1.SecretTypeDockercfg {
		if inner := value(corev1.DockerConfigKey); len(inner) > 0 {
			config = []byte(`{"auths":` + string(inner) + `}`)
		}
		return config, corev1.DockerConfigKey
	}
	return value(corev1.DockerConfigJsonKey), corev1.DockerConfigJsonKey
}

// lacking adds to an image's error what may have caused it.
func lacking(err error, missing []string) error {
	if len(missing) == 0 || !errors.Is(err, images.ErrUnauthorized) && !errors.Is(err, images.ErrNotFound) {
		return err
	}
	return &imageError{fmt.Errorf("%w (%s)", err, strings.Join(missing, "; "))}
}

// pullHash stands for the credentials that a sandbox brings for its images: empty if
// it brings none. It does not give them away but could confirm a guess.
func pullHash(s *manifests.Sandbox, secrets map[string]*corev1.Secret) string {
	if len(s.Spec.PodTemplate.Spec.ImagePullSecrets) == 0 {
		return ""
	}
	h := sha256.New()
	found, missing := pullSecrets(s, secrets)
	for _, p := range found {
		fmt.Fprintf(h, "%s %q\n", p.Name, p.DockerConfig)
	}
	fmt.Fprintf(h, "%q", missing)
	return hex.EncodeToString(h.Sum(nil))
}
