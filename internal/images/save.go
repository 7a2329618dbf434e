package images

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// nameAnnotation is the whole name of an image in an archive, as containerd and
// docker write it; refNameAnnotation has its tag.
const nameAnnotation = "io.containerd.image.name"

// dockerImage is an image in the manifest.json of what "docker save" writes.
type dockerImage struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// Save writes images to w as one archive, which is an OCI layout and what "docker
// save" writes at once: docker, podman, skopeo and Load read it. platform "" means
// DefaultPlatform. The same images give the same bytes.
func (s *Store) Save(ctx context.Context, refs []string, platform string, w io.Writer) error {
	release, err := s.lock.acquire(ctx)
	if err != nil {
		return fmt.Errorf("save images: %w", err)
	}
	defer release()
	a := archive{store: s, tar: tar.NewWriter(w), seen: map[v1.Hash]bool{}}
	for _, ref := range refs {
		c, canonical, err := s.stored(ref, platform)
		if err != nil {
			return err
		}
		// Until all is written: what is named is checked before the first byte goes out.
		defer s.use(c)()
		a.add(c, canonical)
	}
	if err := a.write(ctx); err != nil {
		return fmt.Errorf("save images: %w", err)
	}
	return nil
}

// stored returns an image that the store has, with all its blobs.
func (s *Store) stored(ref, platform string) (c *candidate, canonical string, err error) {
	r, p, err := parse(ref, platform)
	if err != nil {
		return nil, "", err
	}
	entry, err := s.find(r.canonical, p)
	if err != nil {
		return nil, "", err
	}
	m, _, err := s.read(entry)
	if err != nil {
		return nil, "", fmt.Errorf("image %s: its files are damaged (%w): pull it again", r.canonical, err)
	}
	for _, d := range m.Layers {
		if !s.hasBlob(d) {
			return nil, "", fmt.Errorf("image %s: %w: its layer %s is gone from the store: remove the image and pull it again", r.canonical, ErrNotFound, d.Digest)
		}
	}
	entry.Annotations = nil
	return &candidate{desc: entry, manifest: m, platform: *entry.Platform}, r.canonical, nil
}

// archive is one that is being written.
type archive struct {
	store  *Store
	tar    *tar.Writer
	index  v1.IndexManifest
	docker []dockerImage
	blobs  []v1.Descriptor
	seen   map[v1.Hash]bool
}

// add notes an image and its blobs.
func (a *archive) add(c *candidate, canonical string) {
	d := c.desc
	d.Annotations = map[string]string{}
	image := dockerImage{Config: blobName(c.manifest.Config.Digest)}
	// An archive has no names for images that were known by a path or a digest.
	if r, err := parseName(canonical); err == nil {
		d.Annotations[nameAnnotation] = canonical
		d.Annotations[refNameAnnotation] = r.remote.Identifier()
		image.RepoTags = []string{strings.TrimPrefix(strings.TrimPrefix(canonical, "docker.io/"), "library/")}
	}
	for _, l := range c.manifest.Layers {
		image.Layers = append(image.Layers, blobName(l.Digest))
	}
	a.index.Manifests = append(a.index.Manifests, d)
	a.docker = append(a.docker, image)
	for _, b := range append(blobsOf(c.manifest), c.desc) {
		if !a.seen[b.Digest] {
			a.seen[b.Digest] = true
			a.blobs = append(a.blobs, b)
		}
	}
}

func (a *archive) write(ctx context.Context) error {
	a.index.SchemaVersion, a.index.MediaType = 2, types.OCIImageIndex
	for _, part := range []struct {
		name    string
		content any
	}{
		{"oci-layout", map[string]string{"imageLayoutVersion": "1.0.0"}},
		{"index.json", a.index},
		{"manifest.json", a.docker},
	} {
		raw, err := json.Marshal(part.content)
		if err != nil {
			return err
		}
		if err := a.file(part.name, int64(len(raw)), bytes.NewReader(raw)); err != nil {
			return err
		}
	}
	for _, d := range a.blobs {
		f, err := os.Open(a.store.blobPath(d.Digest))
		if err != nil {
			return err
		}
		err = a.file(blobName(d.Digest), d.Size, &ctxReader{ctx, f})
		f.Close()
		if err != nil {
			return fmt.Errorf("blob %s: %w", d.Digest, err)
		}
	}
	return a.tar.Close()
}

func (a *archive) file(name string, size int64, r io.Reader) error {
	err := a.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644, ModTime: time.Unix(0, 0), Format: tar.FormatPAX})
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(a.tar, r, make([]byte, 128<<10))
	return err
}

// blobName is a blob's place in an OCI layout.
func blobName(d v1.Hash) string {
	return "blobs/" + d.Algorithm + "/" + d.Hex
}
