package manifests

import (
	"fmt"
	"strings"
	"testing"
)

func BenchmarkParse(b *testing.B) {
	one := sandboxWith(map[string]string{
		"spec":      "vm: {cpus: 2, memory: 1Gi}",
		"pod":       "volumes: [{name: d, emptyDir: {}}, {name: c, configMap: {name: c}}]",
		"container": "env: [{name: A, value: a}, {name: B, value: b}]\nresources: {limits: {memory: 512Mi}}\nvolumeMounts: [{name: d, mountPath: /d}]",
	})
	for _, n := range []int{1, 100} {
		data := []byte(strings.Repeat("---\n"+one, n))
		b.Run(fmt.Sprintf("%d sandboxes", n), func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if objects, errs := Parse("x.yaml", data); len(objects) != n || len(errs) > 0 {
					b.Fatal(errs)
				}
			}
		})
	}
}

func BenchmarkClassify(b *testing.B) {
	a, _ := Parse("x.yaml", []byte(sandboxWith(nil)))
	c, _ := Parse("x.yaml", []byte(strings.Replace(sandboxWith(nil), "1.36", "1.37", 1)))
	for b.Loop() {
		if Classify(a[0].Sandbox, c[0].Sandbox).Class != ChangeRecreate {
			b.Fatal("not classed")
		}
	}
}
