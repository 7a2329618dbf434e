package source

import (
	"fmt"
	"path/filepath"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/source/git"
)

// parse turns a commit's files into objects. If there are errors, nothing of it
// may be taken.
func (g *Git) parse(c *git.Commit, signer string, files []git.File) (*taken, []*manifests.Error) {
	t := &taken{revision: &manifests.Revision{
		Repository: g.opts.Location.URL, Branch: g.opts.Location.Branch,
		Commit: c.Hash, Author: c.Author, Time: metav1.NewTime(c.Time), Signer: signer,
	}}
	var errs []*manifests.Error
	places := map[manifests.Key]manifests.Position{}
	for _, f := range files {
		if len(f.Data) == 0 {
			errs = append(errs, g.errorAt(f.Path, "the file is empty: remove it if what it described is to be removed"))
			continue
		}
		objects, bad := manifests.ParseWithKeys(g.opts.Location.File(f.Path), f.Data, g.opts.Keys)
		for _, o := range manifests.Pointers(objects) {
			o.Revision = t.revision
			if first, ok := places[o.Key]; ok {
				bad = append(bad, &manifests.Error{Position: o.Position, Key: &o.Key, Message: "it is in " + first.String() + " already"})
			}
			places[o.Key] = o.Position
			bad = append(bad, relative(o)...)
		}
		errs = append(errs, bad...)
		t.objects = append(t.objects, manifests.Pointers(objects)...)
	}
	return t, errs
}

// relative finds paths that are relative to the manifest's directory: in a
// repository that is nowhere on this host.
func relative(o *manifests.Object) []*manifests.Error {
	if o.Sandbox == nil {
		return nil
	}
	var errs []*manifests.Error
	check := func(field, path string) {
		if path != "" && !filepath.IsAbs(path) {
			errs = append(errs, &manifests.Error{Position: o.Position, Key: &o.Key, Field: field,
				Message: fmt.Sprintf("%q must be absolute: a commit's files are not on this host", path)})
		}
	}
	for _, c := range o.Sandbox.AllContainers() {
		if ref, err := manifests.ParseImage(c.Image); err == nil {
			check("image of container "+c.Name, ref.Path)
		}
	}
	for _, v := range o.Sandbox.Spec.PodTemplate.Spec.Volumes {
		if v.HostPath != nil {
			check("hostPath of volume "+v.Name, v.HostPath.Path)
		}
	}
	for _, s := range o.Sandbox.Spec.Sockets {
		check("hostPath of a socket", s.HostPath)
	}
	return errs
}
