package bundle

import (
	"cmp"
	"path"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/vzreconciler/vzreconciler/drivers"
)

const defaultFileMode = 0o644

func (t *translation) volumes(volumes []corev1.Volume) []drivers.Volume {
	var out []drivers.Volume
	for i := range volumes {
		out = append(out, t.volume("volumes["+volumes[i].Name+"]", &volumes[i]))
	}
	return out
}

func (t *translation) volume(field string, v *corev1.Volume) drivers.Volume {
	out := drivers.Volume{Name: v.Name}
	switch {
	case v.EmptyDir != nil:
		out.EmptyDir = &drivers.EmptyDirVolume{Memory: v.EmptyDir.Medium == corev1.StorageMediumMemory}
		if q := v.EmptyDir.SizeLimit; q != nil {
			out.EmptyDir.SizeLimitBytes = q.Value()
		}
	case v.ConfigMap != nil:
		c := v.ConfigMap
		out.Files = t.files(field+".configMap", fileSource{configMap, c.Name, c.Items, c.DefaultMode, c.Optional})
	case v.Secret != nil:
		s := v.Secret
		out.Files = t.files(field+".secret", fileSource{secret, s.SecretName, s.Items, s.DefaultMode, s.Optional})
	case v.PersistentVolumeClaim != nil:
		c := v.PersistentVolumeClaim
		out.Disk = t.disk(field, c.ClaimName, c.ReadOnly)
	case v.Ephemeral != nil:
		out.Disk = t.disk(field, t.Sandbox.EphemeralClaim(v.Name), false)
	case v.Projected != nil:
		out.Files = t.projected(field+".projected", v.Projected)
	case v.Image != nil:
		out.Image = &drivers.ImageVolume{}
		if img := t.VolumeImages[v.Name]; img != nil {
			out.Image.Rootfs = img.Rootfs
		} else {
			t.errorf(field+".image", "image %s is not on this host yet", v.Image.Reference)
		}
	case v.HostPath != nil:
		out.HostPath = t.hostPath(field+".hostPath", v)
	default:
		t.errorf(field, "this kind of volume is not supported yet: use persistentVolumeClaim, emptyDir, hostPath, configMap, secret, projected or image")
	}
	return out
}

// disk is the volume of a claim.
func (t *translation) disk(field, claim string, readOnly bool) *drivers.DiskVolume {
	v, ok := t.Volumes[claim]
	if !ok {
		t.errorf(field, "PersistentVolumeClaim %s/%s is %w: add a manifest of it", t.Sandbox.Namespace, claim, ErrMissing)
		return &drivers.DiskVolume{}
	}
	return &drivers.DiskVolume{Path: v.Disk(), SizeBytes: v.SizeBytes, ReadOnly: readOnly}
}

func fsGroup(sc *corev1.PodSecurityContext) *drivers.FSGroup {
	if sc == nil || sc.FSGroup == nil {
		return nil
	}
	p := sc.FSGroupChangePolicy
	return &drivers.FSGroup{
		ID:             uint32(*sc.FSGroup), //nolint:gosec // validated
		OnRootMismatch: p != nil && *p == corev1.FSGroupChangeOnRootMismatch,
	}
}

// fileSource is what configMap and secret volumes have in common.
type fileSource struct {
	kind     source
	name     string
	items    []corev1.KeyToPath
	mode     *int32
	optional *bool
}

// projected puts the files of several ConfigMaps and Secrets into one directory.
func (t *translation) projected(field string, p *corev1.ProjectedVolumeSource) *drivers.FilesVolume {
	vol := &drivers.FilesVolume{Files: []drivers.File{}}
	from := map[string]string{}
	for i, s := range p.Sources {
		at := indexed(field+".sources", i)
		var src fileSource
		switch {
		case s.ConfigMap != nil:
			src = fileSource{configMap, s.ConfigMap.Name, s.ConfigMap.Items, p.DefaultMode, s.ConfigMap.Optional}
		case s.Secret != nil:
			src = fileSource{secret, s.Secret.Name, s.Secret.Items, p.DefaultMode, s.Secret.Optional}
		}
		for _, f := range t.files(at, src).Files {
			if other, ok := from[f.Path]; ok {
				t.errorf(at, "has a file %s, as %s has: give one of them another path in items", f.Path, other)
				continue
			}
			from[f.Path] = at
			vol.Files = append(vol.Files, f)
		}
	}
	slices.SortFunc(vol.Files, func(a, b drivers.File) int { return cmp.Compare(a.Path, b.Path) })
	return vol
}

// files makes a file of each key, or of those that items name.
func (t *translation) files(field string, src fileSource) *drivers.FilesVolume {
	vol := &drivers.FilesVolume{Files: []drivers.File{}}
	data, ok := t.data(field, src.kind, src.name, src.optional, true)
	if !ok {
		return vol
	}
	mode := uint32(defaultFileMode)
	if src.mode != nil {
		mode = uint32(*src.mode) //nolint:gosec // validated
	}
	if len(src.items) == 0 {
		for key, v := range data {
			vol.Files = append(vol.Files, t.file(src, key, v, key, mode))
		}
	}
	for i, item := range src.items {
		v, ok := data[item.Key]
		if !ok {
			t.missingKey(indexed(field+".items", i)+".key", src.kind, src.name, item.Key, src.optional)
			continue
		}
		mode := mode
		if item.Mode != nil {
			mode = uint32(*item.Mode) //nolint:gosec // validated
		}
		vol.Files = append(vol.Files, t.file(src, item.Key, v, path.Clean(item.Path), mode))
	}
	slices.SortFunc(vol.Files, func(a, b drivers.File) int { return cmp.Compare(a.Path, b.Path) })
	return vol
}

func (t *translation) file(src fileSource, key string, v value, path string, mode uint32) drivers.File {
	t.used[use{src.kind, src.name, key}] = v.text
	f := drivers.File{Path: path, Mode: mode}
	if v.secret {
		f.Secret = "file/" + src.name + "/" + key
		t.secrets[f.Secret] = []byte(v.text)
	} else {
		f.Data = []byte(v.text)
	}
	return f
}

func (t *translation) mounts(field string, pod *corev1.PodSpec, c *corev1.Container) []drivers.Mount {
	var out []drivers.Mount
	for i, m := range c.VolumeMounts {
		at := slices.IndexFunc(pod.Volumes, func(v corev1.Volume) bool { return v.Name == m.Name })
		if at < 0 {
			t.errorf(indexed(field+".volumeMounts", i), "there is no volume %q", m.Name)
			continue
		}
		out = append(out, drivers.Mount{
			Volume:   m.Name,
			Path:     m.MountPath,
			SubPath:  m.SubPath,
			ReadOnly: m.ReadOnly || onlyRead(&pod.Volumes[at]),
		})
	}
	return out
}

// onlyRead reports whether nobody may write to a volume. Files of ConfigMaps and
// Secrets are never for writing.
func onlyRead(v *corev1.Volume) bool {
	if c := v.PersistentVolumeClaim; c != nil {
		return c.ReadOnly
	}
	return v.EmptyDir == nil && v.Ephemeral == nil && v.HostPath == nil
}
