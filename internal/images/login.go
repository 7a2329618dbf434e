package images

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// CheckLogin asks a registry whether it takes these credentials. The error wraps
// ErrUnauthorized if it does not, ErrUnreachable if it does not answer.
func CheckLogin(ctx context.Context, host string, auth authn.AuthConfig, registries Registries) error {
	reach, err := newReach(registries)
	if err != nil {
		return err
	}
	if err := checkHost(host); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	var options []name.Option
	if len(reach.insecure) > 0 {
		options = append(options, name.Insecure)
	}
	registry, err := name.NewRegistry(registryHost(host), options...)
	if err != nil {
		return fmt.Errorf("%w: registry %q: %w", ErrInvalid, host, err)
	}
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	rt, err := transport.NewWithContext(ctx, registry, authn.FromConfig(auth), reach, nil)
	if err != nil {
		return refusal(host, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s://%s/v2/", registry.Scheme(), registry.RegistryStr()), nil)
	if err != nil {
		return err
	}
	resp, err := rt.RoundTrip(req)
	if err != nil {
		return refusal(host, err)
	}
	defer resp.Body.Close()
	return refusal(host, transport.CheckError(resp, http.StatusOK))
}

// refusal words what a registry says to a log-in.
func refusal(host string, err error) error {
	if err == nil {
		return nil
	}
	var status *transport.Error
	if errors.As(err, &status) && (status.StatusCode == http.StatusUnauthorized || status.StatusCode == http.StatusForbidden) {
		return fmt.Errorf("%w: %s does not take this user name and password: %w", ErrUnauthorized, host, err)
	}
	return classify(err, host)
}
