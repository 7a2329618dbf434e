package images

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"syscall"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/vzreconciler/vzreconciler/internal/rootfs"
)

// Errors that callers tell apart.
var (
	// ErrNotFound means that there is no such image, or none for the platform.
	ErrNotFound = errors.New("image not found")
	// ErrUnauthorized means that the registry wants other credentials.
	ErrUnauthorized = errors.New("not authorized")
	// ErrUnreachable means that the registry does not answer, or not as it
	// should. It may pass.
	ErrUnreachable = errors.New("registry unreachable")
	// ErrInvalid means that a reference, archive, manifest or layer is not what
	// it should be. It does not pass.
	ErrInvalid = errors.New("invalid image")
	// ErrNoSpace means that the disk is full.
	ErrNoSpace = errors.New("no space left on the disk")
)

// errStalled ends a download on which nothing arrives any more.
var errStalled = errors.New("the registry stopped sending")

// known reports whether err already says which kind it is.
func known(err error) bool {
	for _, e := range []error{ErrNotFound, ErrUnauthorized, ErrUnreachable, ErrInvalid, ErrNoSpace, context.Canceled} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// classify gives an error of a registry or of the disk its kind. where is the
// registry's host, or the path of a local source.
func classify(err error, where string) error {
	var (
		status *transport.Error
		netErr net.Error
	)
	switch {
	case err == nil || known(err):
		return err
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	case errors.Is(err, rootfs.ErrInvalid):
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	case errors.As(err, &status):
		return classifyStatus(status, where)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w: %s does not answer in time", ErrUnreachable, where)
	case errors.Is(err, errStalled), errors.As(err, &netErr), transient(err):
		return fmt.Errorf("%w: %s: %w", ErrUnreachable, where, err)
	}
	return err
}

func classifyStatus(err *transport.Error, where string) error {
	switch err.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Errorf("%w: %s refuses: the image does not exist or needs credentials; log in with \"vzctl registry login %s\" (or docker, podman) as the user that runs the daemon: %w",
			ErrUnauthorized, where, where, err)
	case http.StatusNotFound:
		return fmt.Errorf("%w: %s has no such image: check its name and tag: %w", ErrNotFound, where, err)
	case http.StatusTooManyRequests:
		return fmt.Errorf("%w: %s limits how often it may be asked: try again later or log in: %w", ErrUnreachable, where, err)
	default:
		return fmt.Errorf("%w: %s: %w", ErrUnreachable, where, err)
	}
}
