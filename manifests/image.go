package manifests

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"

	corev1 "k8s.io/api/core/v1"
)

// ImageTransport says where an image comes from.
type ImageTransport string

// The transports of image references.
const (
	// ImageRegistry is a registry: "docker.io/library/nginx:alpine".
	ImageRegistry ImageTransport = "registry"
	// ImageOCILayout is a directory: "oci-layout:PATH[:TAG]".
	ImageOCILayout ImageTransport = "oci-layout"
	// ImageOCIArchive is a tar file of an OCI layout: "oci-archive:PATH".
	ImageOCIArchive ImageTransport = "oci-archive"
	// ImageDockerArchive is what docker save writes: "docker-archive:PATH".
	ImageDockerArchive ImageTransport = "docker-archive"
)

// An ImageReference is a container's image taken apart.
type ImageReference struct {
	Transport ImageTransport
	// Name is a registry's reference; empty for a local image.
	Name string
	// Path of a local image; empty for one in a registry.
	Path string
	// Tag of an image in an OCI layout, which may hold many; empty for its only one.
	Tag string
}

var imageTag = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)

// ParseImage takes an image reference apart. The error says what is wrong with it.
func ParseImage(image string) (ImageReference, error) {
	const longest = 4096 // of a path
	if image == "" {
		return ImageReference{}, errors.New("required: the image to run")
	}
	if len(image) > longest {
		return ImageReference{}, fmt.Errorf("an image reference of %d characters", len(image))
	}
	scheme, path, _ := strings.Cut(image, ":")
	switch t := ImageTransport(scheme); t {
	case ImageOCILayout, ImageOCIArchive, ImageDockerArchive:
		ref := ImageReference{Transport: t, Path: path}
		if t == ImageOCILayout {
			ref.Path, ref.Tag = cutTag(path)
		}
		if ref.Path == "" {
			return ImageReference{}, fmt.Errorf("%s: needs a path", scheme)
		}
		if strings.ContainsFunc(path, isControl) {
			return ImageReference{}, errors.New("a path with control characters")
		}
		return ref, nil
	}
	if strings.Contains(image, "://") {
		return ImageReference{}, errors.New("an image reference has no scheme such as docker:// or https://")
	}
	if _, err := name.ParseReference(image); err != nil {
		return ImageReference{}, fmt.Errorf("not an image reference: %s", strings.TrimPrefix(err.Error(), "could not parse reference: "))
	}
	return ImageReference{Transport: ImageRegistry, Name: image}, nil
}

// cutTag separates "path:tag"; a colon inside the path's directories is the path's.
func cutTag(path string) (dir, tag string) {
	i := strings.LastIndexByte(path, ':')
	if i < 0 || strings.Contains(path[i:], "/") || !imageTag.MatchString(path[i+1:]) {
		return path, ""
	}
	return path[:i], path[i+1:]
}

// String is the reference as a manifest has it.
func (r ImageReference) String() string {
	switch {
	case r.Transport == ImageRegistry:
		return r.Name
	case r.Tag != "":
		return fmt.Sprintf("%s:%s:%s", r.Transport, r.Path, r.Tag)
	default:
		return fmt.Sprintf("%s:%s", r.Transport, r.Path)
	}
}

// mayChange reports whether the reference may mean another image tomorrow, as
// Kubernetes sees it: the tag latest, or none.
func (r ImageReference) mayChange() bool {
	if r.Transport != ImageRegistry {
		return false
	}
	tag, err := name.NewTag(r.Name)
	return err == nil && tag.TagStr() == name.DefaultTag
}

// resolveImages makes the paths of local images absolute.
func resolveImages(s *Sandbox, dir string) {
	pod := &s.Spec.PodTemplate.Spec
	resolvePathsOf(pod, dir)
}

// resolvePathsOf completes the paths of a Pod that are relative to its file's
// directory.
func resolvePathsOf(pod *corev1.PodSpec, dir string) {
	resolveImagesOf(pod.InitContainers, dir)
	resolveImagesOf(pod.Containers, dir)
	for i := range pod.Volumes {
		if v := pod.Volumes[i].Image; v != nil {
			v.Reference = resolveImage(v.Reference, dir)
		}
		if h := pod.Volumes[i].HostPath; h != nil && h.Path != "" && !filepath.IsAbs(h.Path) {
			h.Path = filepath.Join(dir, h.Path)
		}
	}
}

func resolveImagesOf(containers []corev1.Container, dir string) {
	for i := range containers {
		containers[i].Image = resolveImage(containers[i].Image, dir)
	}
}

func resolveImage(image, dir string) string {
	ref, err := ParseImage(image)
	if err != nil || ref.Path == "" || filepath.IsAbs(ref.Path) {
		return image
	}
	ref.Path = filepath.Join(dir, ref.Path)
	return ref.String()
}

func isControl(r rune) bool { return r < 0x20 || r == 0x7f }
