package manifests

import (
	"bytes"
	"cmp"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// upstreamFile says what becomes of other projects' own examples.
const upstreamFile = "testdata/upstream.txt"

// upstreams are the folders of those examples, and the commit that was read.
func upstreams() []upstream {
	return []upstream{
		{"kubernetes/examples", "279e8e4fe314f6cb7bc55fa3fbc21bbeaa48c0ea", ""},
		{"kubernetes-sigs/agent-sandbox", "2fd412d55ecae90861a101a5424a75473de97c36", "examples"},
	}
}

type upstream struct{ repository, commit, folder string }

// TestUpstreamExamples reads the manifests in them that are of a kind that means
// something here. The manifests are not ours and are not kept here, only what
// becomes of them: with VZ_UPSTREAM naming a directory that has the repositories'
// checkouts, as VZ_UPSTREAM/kubernetes/examples, that is looked at again.
func TestUpstreamExamples(t *testing.T) {
	root := os.Getenv("VZ_UPSTREAM")
	if root == "" {
		t.Skip("VZ_UPSTREAM names no directory with checkouts")
	}
	var b bytes.Buffer
	for _, u := range upstreams() {
		dir := filepath.Join(root, filepath.FromSlash(u.repository))
		fmt.Fprintf(&b, "# %s %s %s\n", u.repository, u.commit, u.folder)
		err := filepath.WalkDir(filepath.Join(dir, u.folder), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !IsManifestFile(d.Name()) {
				return err
			}
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			name, err := filepath.Rel(dir, path)
			if err != nil {
				return err
			}
			b.WriteString(outcomes(filepath.ToSlash(name), data))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	golden(t, upstreamFile, b.Bytes())
}

// outcomes says of each document of a file whose kind means something here what
// becomes of it.
func outcomes(name string, data []byte) string {
	var b strings.Builder
	var roots []*node
	p := &parser{file: name, types: typeCache{}, visit: func(root *node) { roots = append(roots, root) }}
	p.parse(data)
	objects, errs := Parse(name, data)
	for i, root := range roots {
		kind := root.get("kind").text()
		if !slices.Contains(kindNames(), kind) {
			continue
		}
		from, to := root.line, 1<<30
		if i+1 < len(roots) {
			to = roots[i+1].line
		}
		fmt.Fprintf(&b, "%s:%d %s %s", name, root.line, kind, cmp.Or(root.get("metadata").get("name").text(), "?"))
		accepted := false
		for _, o := range objects {
			if o.Position.Line == root.line {
				accepted = true
				b.WriteString(" accepted\n")
				for _, w := range o.Warnings {
					fmt.Fprintf(&b, "  warning %s\n", strings.TrimPrefix(w, name+":"))
				}
			}
		}
		if accepted {
			continue
		}
		b.WriteString(" refused\n")
		for _, e := range errs {
			if e.Line >= from && e.Line < to {
				bare := *e
				bare.Key, bare.File = nil, ""
				fmt.Fprintf(&b, "  error %s\n", strings.TrimPrefix(bare.Error(), ":"))
			}
		}
	}
	return b.String()
}
