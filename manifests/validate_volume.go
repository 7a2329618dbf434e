package manifests

import (
	"path"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

const (
	maxFileMode    = 0o777
	maxVolumeItems = 1024
)

// validateVolumes returns the names of the volumes there are, for the mounts.
func (r *report) validateVolumes(path *field.Path, volumes []corev1.Volume) sets.Set[string] {
	atMost(r, path, len(volumes), maxVolumes)
	names := sets.New[string]()
	for i := range volumes {
		v, at := &volumes[i], path.Index(i)
		switch messages := validation.IsDNS1123Label(v.Name); {
		case v.Name == "":
			r.errorf(at.Child("name"), "required: every volume has a name")
		case len(messages) > 0:
			r.errorf(at.Child("name"), "%s", join(messages))
		case names.Has(v.Name):
			r.errorf(at.Child("name"), "another volume is named %s too", v.Name)
		}
		names.Insert(v.Name)
		r.validateVolume(at, v)
	}
	return names
}

func (r *report) validateVolume(at *field.Path, v *corev1.Volume) {
	count := 0
	if e := v.EmptyDir; e != nil {
		count++
		oneOf(r, at.Child("emptyDir", "medium"), e.Medium, corev1.StorageMediumDefault, corev1.StorageMediumMemory)
		if e.SizeLimit != nil && !e.SizeLimit.IsZero() {
			limit := at.Child("emptyDir", "sizeLimit")
			if e.Medium == corev1.StorageMediumMemory {
				r.bytesInRange(limit, e.SizeLimit, 4<<10, maxDiskBytes)
			} else {
				r.bytesInRange(limit, e.SizeLimit, minDiskBytes, maxDiskBytes)
			}
		}
	}
	if c := v.ConfigMap; c != nil {
		count++
		r.validateRefName(at.Child("configMap", "name"), c.Name)
		r.validateFiles(at.Child("configMap"), c.Items, c.DefaultMode)
	}
	if s := v.Secret; s != nil {
		count++
		r.validateRefName(at.Child("secret", "secretName"), s.SecretName)
		r.validateFiles(at.Child("secret"), s.Items, s.DefaultMode)
	}
	if c := v.PersistentVolumeClaim; c != nil {
		count++
		r.validateRefName(at.Child("persistentVolumeClaim", "claimName"), c.ClaimName)
	}
	if e := v.Ephemeral; e != nil {
		count++
		r.validateEphemeral(at.Child("ephemeral", "volumeClaimTemplate"), e.VolumeClaimTemplate)
	}
	if h := v.HostPath; h != nil {
		count++
		r.validateHostPath(at.Child("hostPath"), h)
	}
	if p := v.Projected; p != nil {
		count++
		r.validateProjected(at.Child("projected"), p)
	}
	if i := v.Image; i != nil {
		count++
		r.validateImage(at.Child("image", "reference"), i.Reference, at.Child("image", "pullPolicy"), i.PullPolicy)
	}
	if count != 1 {
		r.errorf(at, "must have exactly one of emptyDir, configMap, secret, projected, persistentVolumeClaim, ephemeral, hostPath and image")
	}
}

func (r *report) validateProjected(at *field.Path, p *corev1.ProjectedVolumeSource) {
	r.validateMode(at.Child("defaultMode"), p.DefaultMode)
	atMost(r, at.Child("sources"), len(p.Sources), maxVolumes)
	for i, s := range p.Sources {
		source := at.Child("sources").Index(i)
		switch {
		case (s.ConfigMap != nil) == (s.Secret != nil):
			r.errorf(source, "must have exactly one of configMap and secret")
		case s.ConfigMap != nil:
			r.validateRefName(source.Child("configMap", "name"), s.ConfigMap.Name)
			r.validateFiles(source.Child("configMap"), s.ConfigMap.Items, nil)
		default:
			r.validateRefName(source.Child("secret", "name"), s.Secret.Name)
			r.validateFiles(source.Child("secret"), s.Secret.Items, nil)
		}
	}
}

func (r *report) validateHostPath(at *field.Path, h *corev1.HostPathVolumeSource) {
	switch {
	case h.Path == "":
		r.errorf(at.Child("path"), "required: a directory or file of this host, relative to the manifest's file or absolute")
	case len(h.Path) > maxPathBytes || hasControl(h.Path):
		r.errorf(at.Child("path"), "must be a path of at most %d bytes", maxPathBytes)
	}
	switch *h.Type {
	case corev1.HostPathSocket, corev1.HostPathCharDev, corev1.HostPathBlockDev:
		r.errorf(at.Child("type"), "%s has no meaning here: a VM shares no sockets and devices with its host by a path", *h.Type)
	default:
		oneOf(r, at.Child("type"), *h.Type, corev1.HostPathUnset, corev1.HostPathDirectory, corev1.HostPathDirectoryOrCreate,
			corev1.HostPathFile, corev1.HostPathFileOrCreate)
	}
}

func (r *report) validateFiles(at *field.Path, items []corev1.KeyToPath, mode *int32) {
	r.validateMode(at.Child("defaultMode"), mode)
	atMost(r, at.Child("items"), len(items), maxVolumeItems)
	paths := sets.New[string]()
	for i, item := range items {
		p := at.Child("items").Index(i)
		if messages := validation.IsConfigMapKey(item.Key); len(messages) > 0 {
			r.errorf(p.Child("key"), "%s", join(messages))
		}
		clean := path.Clean(item.Path)
		switch {
		case item.Path == "":
			r.errorf(p.Child("path"), "required: the file's path in the volume")
		case path.IsAbs(item.Path) || clean == "." || hasDotDot(item.Path) || len(item.Path) > maxPathBytes || hasControl(item.Path):
			r.errorf(p.Child("path"), `must be a relative path without ".."`)
		case strings.HasPrefix(clean, ".."):
			r.errorf(p.Child("path"), `must not begin with ".."`)
		case paths.Has(clean):
			r.errorf(p.Child("path"), "another item has the path %s too", clean)
		}
		paths.Insert(clean)
		r.validateMode(p.Child("mode"), item.Mode)
	}
}

func (r *report) validateMode(path *field.Path, mode *int32) {
	if mode != nil && (*mode < 0 || *mode > maxFileMode) {
		r.errorf(path, "must be a file mode between 0 and 0777 (in JSON, which has no octal numbers, 511)")
	}
}
