package images

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/vzreconciler/vzreconciler/internal/rootfs"
)

// LoadOptions of one Load.
type LoadOptions struct {
	// Name is what the archive's only image is to be called, in place of the name
	// that the archive has for it.
	Name string
	// Platform is DefaultPlatform if empty.
	Platform string
}

// Load brings in the images of an archive, an OCI layout or what "docker save"
// writes, under the names that the archive has for them, and returns them. If one
// of them cannot be brought in, those before it stay.
func (s *Store) Load(ctx context.Context, r io.Reader, opts LoadOptions) ([]*Image, error) {
	if opts.Name != "" {
		if _, err := parseName(opts.Name); err != nil {
			return nil, err
		}
	}
	platform, err := parsePlatform(cmp.Or(opts.Platform, DefaultPlatform()))
	if err != nil {
		return nil, err
	}
	release, err := s.lock.acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("load images: %w", err)
	}
	defer release()
	archive, err := s.spool(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("load images: %w", classify(err, "the archive"))
	}
	defer archive.Close()
	offers, err := offersOf(archive, opts.Name)
	if err != nil {
		return nil, fmt.Errorf("load images: %w", err)
	}
	var loaded []*Image
	for _, o := range offers {
		c, err := choose(ctx, o.source, platform)
		for i := 0; err == nil && i < len(o.names); i++ {
			var img *Image
			if img, err = s.keep(ctx, c, o.names[i], "the archive", func(Progress) {}); err == nil {
				loaded = append(loaded, img)
			}
		}
		if err != nil {
			return loaded, fmt.Errorf("load image %s: %w", o.names[0], classify(err, "the archive"))
		}
	}
	return loaded, nil
}

// spool copies an archive to the disk, where it can be read in any order. The file
// has no name, so that it goes with the process.
func (s *Store) spool(ctx context.Context, r io.Reader) (*tarFiles, error) {
	f, err := os.CreateTemp(s.tempDir(), "load-")
	if err != nil {
		return nil, err
	}
	path := f.Name()
	defer os.Remove(path)
	defer f.Close()
	const step = 64 << 20
	for total := int64(0); ; {
		// The disk is looked at again and again: nobody says how long the archive is.
		free, err := rootfs.Free(s.dir)
		if err == nil && free-max(s.opts.MinFreeBytes, 0) < step {
			return nil, fmt.Errorf("%w: the archive does not fit: %d MiB are free, of which %d MiB stay in reserve", ErrNoSpace, free>>20, s.opts.MinFreeBytes>>20)
		}
		n, err := io.CopyN(f, &ctxReader{ctx, r}, step)
		if total += n; total > maxBlobBytes {
			return nil, fmt.Errorf("%w: the archive is longer than %d GiB", ErrInvalid, int64(maxBlobBytes)>>30)
		}
		if errors.Is(err, io.EOF) {
			return openTar(path)
		}
		if err != nil {
			return nil, err
		}
	}
}

// offer is an image in an archive, and the names that it has there.
type offer struct {
	source source
	names  []string // canonical
}

// offersOf lists the images of an archive. name, if not empty, is for the only one.
func offersOf(archive *tarFiles, name string) (offers []offer, err error) {
	if _, ok := archive.entries["index.json"]; ok {
		offers, err = ociOffers(archive)
	} else {
		offers, err = dockerOffers(archive)
	}
	switch {
	case err != nil:
		return nil, err
	case len(offers) == 0:
		return nil, fmt.Errorf("%w: the archive holds no image", ErrInvalid)
	case name != "" && len(offers) > 1:
		return nil, fmt.Errorf("%w: the archive holds %d images, and one name cannot be for all of them", ErrInvalid, len(offers))
	case name != "":
		offers[0].names = []string{name}
	}
	for i := range offers {
		if len(offers[i].names) == 0 {
			return nil, fmt.Errorf("%w: the archive has no name for its image %d: give it one", ErrInvalid, i+1)
		}
		for j, n := range offers[i].names {
			r, err := parseName(n)
			if err != nil {
				return nil, fmt.Errorf("the archive's image %d: %w", i+1, err)
			}
			offers[i].names[j] = r.canonical
		}
	}
	return offers, nil
}

// ociOffers reads the names that containerd, docker and podman give. A tag alone is
// no name.
func ociOffers(archive *tarFiles) ([]offer, error) {
	layout := ociSource{files: archive}
	index, _, err := layout.readIndex()
	if err != nil {
		return nil, err
	}
	var offers []offer
	for _, d := range index.Manifests {
		if !d.MediaType.IsImage() && !d.MediaType.IsIndex() {
			continue
		}
		o := offer{source: &ociImage{layout, d}}
		if name := d.Annotations[nameAnnotation]; name != "" {
			o.names = []string{name}
		} else if name := d.Annotations[refNameAnnotation]; strings.ContainsAny(name, "/:") {
			o.names = []string{name}
		}
		offers = append(offers, o)
	}
	return offers, nil
}

// ociImage is one image of a layout, whatever it is called.
type ociImage struct {
	ociSource
	desc v1.Descriptor
}

func (o *ociImage) resolve(ctx context.Context) (v1.Descriptor, []byte, error) {
	d := o.desc
	d.Size = min(d.Size, maxManifestBytes)
	if err := checkDescriptor(d); err != nil {
		return v1.Descriptor{}, nil, err
	}
	raw, err := o.manifest(ctx, d)
	return d, raw, err
}

func dockerOffers(archive *tarFiles) ([]offer, error) {
	saved, err := readDockerImages(archive)
	if err != nil {
		return nil, err
	}
	offers := make([]offer, len(saved))
	for i, image := range saved {
		offers[i] = offer{source: &dockerSource{files: archive, image: &image}, names: image.RepoTags}
	}
	return offers, nil
}

// readDockerImages reads the list of what "docker save" has written.
func readDockerImages(archive files) ([]dockerImage, error) {
	list, err := readSmall(archive, "manifest.json", maxManifestBytes)
	if err != nil {
		return nil, err
	}
	var saved []dockerImage
	if err := json.Unmarshal(list, &saved); err != nil {
		return nil, fmt.Errorf("%w: its manifest.json: %w", ErrInvalid, err)
	}
	return saved, nil
}
