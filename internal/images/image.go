package images

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Image is an image that is in the store, unpacked.
type Image struct {
	// Reference is the canonical form of what it was asked for by.
	Reference string
	// Digest is that of the platform's manifest: "sha256:…".
	Digest string
	// Platform is "linux/amd64".
	Platform string
	Config   Config
	// Rootfs is the path of the read-only ext4 base.
	Rootfs string
	// SizeBytes is what the image's blobs take, UnpackedBytes what its base takes
	// on the disk.
	SizeBytes     int64
	UnpackedBytes int64
	PulledAt      time.Time
}

// Config is what an image says about how to run it.
type Config struct {
	Entrypoint []string
	Cmd        []string
	// Env holds "NAME=value".
	Env        []string
	User       string
	WorkingDir string
	StopSignal string
	Labels     map[string]string
	// ExposedPorts ("80/tcp") and Volumes (paths) are sorted.
	ExposedPorts []string
	Volumes      []string
}

// Stages of Progress.
const (
	StageResolving = "Resolving"
	StagePulling   = "Pulling"
	StageUnpacking = "Unpacking"
	StagePushing   = "Pushing"
	StageDone      = "Done"
)

// Progress is how far an Ensure or a Push is: Complete of Total bytes of the stage, 0 and
// 0 where there is nothing to count.
type Progress struct {
	Stage           string
	Complete, Total int64
}

// DefaultPlatform is the platform of guests on this host.
func DefaultPlatform() string {
	return "linux/" + runtime.GOARCH
}

// parsePlatform reads "OS/ARCHITECTURE[/VARIANT]".
func parsePlatform(s string) (v1.Platform, error) {
	parts := strings.Split(s, "/")
	if len(parts) < 2 || len(parts) > 3 || slices.Contains(parts, "") {
		return v1.Platform{}, fmt.Errorf("%w: platform %q, want one like linux/amd64", ErrInvalid, s)
	}
	p := v1.Platform{OS: parts[0], Architecture: parts[1]}
	if len(parts) == 3 {
		p.Variant = parts[2]
	}
	return p, nil
}

// satisfies reports whether what an image offers runs on the platform wanted.
func satisfies(have, want v1.Platform) bool {
	return have.OS == want.OS && have.Architecture == want.Architecture &&
		(want.Variant == "" || have.Variant == "" || have.Variant == want.Variant)
}

// Bounds of what describes an image.
const (
	maxManifestBytes = 8 << 20
	maxConfigBytes   = 8 << 20
	maxLayers        = 512
	maxBlobBytes     = 64 << 30
)

// parseManifest reads and checks an image's manifest.
func parseManifest(raw []byte) (*v1.Manifest, error) {
	var m v1.Manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, fmt.Errorf("%w: its manifest: %w", ErrInvalid, err)
	}
	switch {
	case m.SchemaVersion != 2:
		return nil, fmt.Errorf("%w: its manifest is of schema version %d, which is no longer supported", ErrInvalid, m.SchemaVersion)
	case !m.Config.MediaType.IsConfig():
		return nil, fmt.Errorf("%w: it is no container image, but an artifact of type %q", ErrInvalid, m.Config.MediaType)
	case len(m.Layers) > maxLayers:
		return nil, fmt.Errorf("%w: it has %d layers, the limit is %d", ErrInvalid, len(m.Layers), maxLayers)
	case m.Config.Size > maxConfigBytes:
		return nil, fmt.Errorf("%w: its config has %d bytes, the limit is %d", ErrInvalid, m.Config.Size, maxConfigBytes)
	}
	for _, d := range blobsOf(&m) {
		if err := checkDescriptor(d); err != nil {
			return nil, err
		}
	}
	for _, d := range m.Layers {
		if !d.MediaType.IsLayer() || !d.MediaType.IsDistributable() && d.MediaType != types.OCIUncompressedRestrictedLayer && d.MediaType != types.OCIRestrictedLayer {
			return nil, fmt.Errorf("%w: it has a layer of type %q, which is not supported", ErrInvalid, d.MediaType)
		}
	}
	return &m, nil
}

// checkDescriptor makes sure that a digest can name a file.
func checkDescriptor(d v1.Descriptor) error {
	if d.Digest.Algorithm != "sha256" || len(d.Digest.Hex) != 64 || strings.Trim(d.Digest.Hex, "0123456789abcdef") != "" {
		return fmt.Errorf("%w: digest %q, only sha256 is supported", ErrInvalid, d.Digest.String())
	}
	if d.Size < 0 || d.Size > maxBlobBytes {
		return fmt.Errorf("%w: blob %s of %d bytes", ErrInvalid, d.Digest, d.Size)
	}
	return nil
}

// blobsOf lists all blobs of an image but the manifest.
func blobsOf(m *v1.Manifest) []v1.Descriptor {
	return append([]v1.Descriptor{m.Config}, m.Layers...)
}

// parseConfig reads an image's config and checks it against its manifest.
func parseConfig(raw []byte, m *v1.Manifest) (*v1.ConfigFile, error) {
	c, err := v1.ParseConfigFile(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("%w: its config: %w", ErrInvalid, err)
	}
	if len(c.RootFS.DiffIDs) != len(m.Layers) {
		return nil, fmt.Errorf("%w: its config names %d layers, its manifest %d", ErrInvalid, len(c.RootFS.DiffIDs), len(m.Layers))
	}
	for _, d := range c.RootFS.DiffIDs {
		if err := checkDescriptor(v1.Descriptor{Digest: d}); err != nil {
			return nil, err
		}
	}
	for _, e := range slices.Concat(c.Config.Env, c.Config.Entrypoint, c.Config.Cmd) {
		if strings.Contains(e, "\x00") {
			return nil, fmt.Errorf("%w: its config has a NUL byte in its environment or command", ErrInvalid)
		}
	}
	return c, nil
}

func newConfig(c *v1.ConfigFile) Config {
	return Config{
		Entrypoint: c.Config.Entrypoint, Cmd: c.Config.Cmd, Env: c.Config.Env, User: c.Config.User,
		WorkingDir: c.Config.WorkingDir, StopSignal: c.Config.StopSignal, Labels: c.Config.Labels,
		ExposedPorts: slices.Sorted(maps.Keys(c.Config.ExposedPorts)),
		Volumes:      slices.Sorted(maps.Keys(c.Config.Volumes)),
	}
}
