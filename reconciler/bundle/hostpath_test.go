package bundle

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vzreconciler/vzreconciler/drivers"
)

func TestAllowedRoot(t *testing.T) {
	for _, c := range []struct {
		roots []string
		path  string
		want  string
	}{
		{nil, "/srv", ""},
		{[]string{"/srv"}, "/srv", "/srv"},
		{[]string{"/srv"}, "/srv/a/b", "/srv"},
		{[]string{"/srv"}, "/srvx", ""},
		{[]string{"/srv/a"}, "/srv", ""},
		{[]string{"/srv", "/srv/a"}, "/srv/a/b", "/srv/a"},
		{[]string{"/"}, "/etc/passwd", "/"},
	} {
		got, ok := allowedRoot(c.roots, c.path)
		if got != c.want || ok != (c.want != "") {
			t.Errorf("%s of %q: got %q, %t, want %q", c.path, c.roots, got, ok, c.want)
		}
	}
}

func TestHostPathIsWithinWhatIsAllowed(t *testing.T) {
	in := input(t, shellImage(), pod("volumes: [{name: a, hostPath: {path: ./src}}, {name: b, hostPath: {path: /m/ro, type: Directory}}]",
		"volumeMounts: [{name: a, mountPath: /a}, {name: b, mountPath: /b, readOnly: true}]"))
	in.HostPaths = []string{"/m"}
	cfg, _, err := Configuration(in)
	if err != nil {
		t.Fatal(err)
	}
	want := []drivers.Volume{
		{Name: "a", HostPath: &drivers.HostPathVolume{Root: "/m", Path: "src"}},
		{Name: "b", HostPath: &drivers.HostPathVolume{Root: "/m", Path: "ro", Type: "Directory", ReadOnly: true}},
	}
	if diff := cmp.Diff(want, cfg.Volumes); diff != "" {
		t.Error(diff)
	}
	if m := cfg.Containers[0].Mounts; m[0].ReadOnly || !m[1].ReadOnly {
		t.Errorf("mounts: %+v", m)
	}
	for _, roots := range [][]string{nil, {"/n"}} {
		in.HostPaths = roots
		if _, _, err := Configuration(in); err == nil || !strings.Contains(err.Error(), "volumes[a].hostPath.path: /m/src may not be given to sandboxes") ||
			!strings.Contains(err.Error(), "--allow-host-paths") {
			t.Errorf("with %q allowed: %v", roots, err)
		}
	}
}

func TestProjectedAndImageVolumes(t *testing.T) {
	const maps = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: one, b: two}\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {a: hush}\n"
	in := input(t, shellImage(), pod("volumes: [{name: p, projected: {defaultMode: 0400, sources: [{configMap: {name: c}}, {secret: {name: s, items: [{key: a, path: x/y}]}}]}}, {name: i, image: {reference: \"docker.io/library/data:1\"}}]",
		"volumeMounts: [{name: p, mountPath: /p}, {name: i, mountPath: /i}]")+maps)
	in.VolumeImages = map[string]*Image{"i": {Rootfs: "/i/data.ext4"}}
	cfg, secrets, err := Configuration(in)
	if err != nil {
		t.Fatal(err)
	}
	want := []drivers.Volume{
		{Name: "p", Files: &drivers.FilesVolume{Files: []drivers.File{
			{Path: "a", Mode: 0o400, Data: []byte("one")}, {Path: "b", Mode: 0o400, Data: []byte("two")}, {Path: "x/y", Mode: 0o400, Secret: "file/s/a"},
		}}},
		{Name: "i", Image: &drivers.ImageVolume{Rootfs: "/i/data.ext4"}},
	}
	if diff := cmp.Diff(want, cfg.Volumes); diff != "" || string(secrets["file/s/a"]) != "hush" {
		t.Error(diff, secrets)
	}
	if m := cfg.Containers[0].Mounts; !m[0].ReadOnly || !m[1].ReadOnly {
		t.Errorf("mounts: %+v", m)
	}

	clash := input(t, shellImage(), pod("volumes: [{name: p, projected: {sources: [{configMap: {name: c}}, {secret: {name: s}}]}}]", "")+maps)
	if _, _, err := Configuration(clash); err == nil || !strings.Contains(err.Error(), "sources[1]: has a file a, as volumes[p].projected.sources[0] has") {
		t.Errorf("two files of one path: %v", err)
	}
}
