package images

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

// scheme is where a reference points.
type scheme string

const (
	registryRef   scheme = "registry"
	ociLayout     scheme = "oci-layout"
	ociArchive    scheme = "oci-archive"
	dockerArchive scheme = "docker-archive"
)

// reference is a parsed image reference.
type reference struct {
	// canonical is the one spelling under which the store keeps it.
	canonical string
	scheme    scheme
	remote    name.Reference // of registryRef
	path, tag string         // of the others
}

func (r reference) local() bool { return r.scheme != registryRef }

// pinned reports whether the reference always means the same image.
func (r reference) pinned() bool {
	_, ok := r.remote.(name.Digest)
	return ok
}

// where names the source in messages.
func (r reference) where() string {
	if r.local() {
		return r.path
	}
	return displayRegistry(r.remote.Context().RegistryStr())
}

// displayRegistry is the name by which people know a registry.
func displayRegistry(host string) string {
	if host == name.DefaultRegistry {
		return "docker.io"
	}
	return host
}

// CheckReference reports whether ref is well formed.
func CheckReference(ref string) error {
	_, err := parseReference(ref)
	return err
}

func parseReference(ref string) (reference, error) {
	if ref == "" || len(ref) > 4096 || strings.ContainsAny(ref, "\x00\n") {
		return reference{}, fmt.Errorf("%w: reference %.80q", ErrInvalid, ref)
	}
	for _, s := range []scheme{ociLayout, ociArchive, dockerArchive} {
		rest, ok := strings.CutPrefix(ref, string(s)+":")
		if !ok {
			continue
		}
		return localReference(s, rest)
	}
	r, err := name.ParseReference(ref)
	if err != nil {
		return reference{}, fmt.Errorf("%w: reference %q: %w (want REGISTRY/NAME:TAG, NAME@sha256:…, oci-layout:PATH[:TAG], oci-archive:PATH[:TAG] or docker-archive:PATH)", ErrInvalid, ref, err)
	}
	canonical := r.Name()
	if rest, ok := strings.CutPrefix(canonical, name.DefaultRegistry+"/"); ok {
		canonical = "docker.io/" + rest
	}
	return reference{canonical: canonical, scheme: registryRef, remote: r}, nil
}

// localReference splits PATH[:TAG]: a colon after the last slash begins the tag.
func localReference(s scheme, rest string) (reference, error) {
	r := reference{scheme: s, path: rest}
	if i := strings.LastIndexByte(rest, ':'); s != dockerArchive && i > strings.LastIndexByte(rest, '/') {
		r.path, r.tag = rest[:i], rest[i+1:]
		if r.tag == "" {
			return reference{}, fmt.Errorf("%w: reference %q ends in a colon without a tag", ErrInvalid, string(s)+":"+rest)
		}
	}
	if r.path == "" {
		return reference{}, fmt.Errorf("%w: reference %q has no path", ErrInvalid, string(s)+":"+rest)
	}
	abs, err := filepath.Abs(r.path)
	if err != nil {
		return reference{}, fmt.Errorf("%w: reference %q: %w", ErrInvalid, string(s)+":"+rest, err)
	}
	r.path = abs
	r.canonical = string(s) + ":" + abs
	if r.tag != "" {
		r.canonical += ":" + r.tag
	}
	return r, nil
}
