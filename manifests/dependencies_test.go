package manifests

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// chain returns manifests, one for each "name: dependencies" line.
func chain(lines ...string) string {
	var b strings.Builder
	for _, l := range lines {
		name, on, _ := strings.Cut(l, ":")
		fmt.Fprintf(&b, "---\napiVersion: vzreconciler.dev/v1alpha1\nkind: Sandbox\nmetadata: {name: %s}\nspec:\n  dependsOn:\n", name)
		for on := range strings.FieldsSeq(on) {
			fmt.Fprintf(&b, "  - {name: %s}\n", on)
		}
		b.WriteString("  podTemplate: {spec: {containers: [{name: a, image: b}]}}\n")
	}
	return b.String()
}

func TestDependencyCyclesAreNamed(t *testing.T) {
	for _, c := range []struct {
		name  string
		lines []string
		want  []string
	}{
		{"none", []string{"a: b c", "b: c", "c: d"}, nil},
		{"itself", []string{"a: a"}, []string{"x.yaml:7:5: Sandbox default/a: spec.dependsOn: the sandboxes wait for each other, and none could start: a → a"}},
		{
			"two, and one that leads there", []string{"a: c b", "b: a", "z: a"},
			[]string{"x.yaml:8:5: Sandbox default/a: spec.dependsOn: the sandboxes wait for each other, and none could start: a → b → a",
				"x.yaml:16:5: Sandbox default/b: spec.dependsOn: the sandboxes wait for each other, and none could start: b → a → b"},
		},
		{
			"a diamond is none, a triangle is one", []string{"a: b c", "b: d", "c: d", "d:", "u: v", "v: w", "w: u"},
			[]string{": u → v → w → u", ": v → w → u → v", ": w → u → v → w"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			objects, errs := Parse("x.yaml", []byte(chain(c.lines...)))
			if len(errs) > 0 {
				t.Fatal(errs[0])
			}
			got := texts(DependencyCycles(Pointers(objects)))
			if !slices.EqualFunc(got, c.want, strings.HasSuffix) {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

func TestLongDependencyChainsCostLittle(t *testing.T) {
	for _, last := range []string{"none", "s0"} { // a chain, and a cycle
		const n = 10000
		objects := make([]Object, n)
		for i := range objects {
			next := fmt.Sprintf("s%d", i+1)
			if i == n-1 {
				next = last
			}
			key := Key{Kind: KindSandbox, Namespace: "default", Name: fmt.Sprintf("s%d", i)}
			objects[i] = Object{
				Key: key, Sandbox: &Sandbox{Spec: SandboxSpec{DependsOn: []Dependency{{Name: next}}}},
				DependsOn: []Position{{File: "x.yaml", Line: i + 1, Column: 1}},
			}
		}
		begun := time.Now()
		errs := DependencyCycles(Pointers(objects))
		if want := map[string]int{"none": 0, "s0": n}[last]; len(errs) != want {
			t.Errorf("%d errors, want %d", len(errs), want)
		}
		if took := time.Since(begun); took > 20*time.Second {
			t.Errorf("that took %s", took)
		}
	}
}

func TestDependenciesAreValidated(t *testing.T) {
	const ok = ""
	for _, c := range []struct{ lines, want string }{
		{"dependsOn: [{name: db}]", ok},
		{"dependsOn: [{kind: Pod, name: db, condition: Started}, {kind: Sandbox, name: other, condition: Completed}]", ok},
		{"dependsOn: [{kind: Secret, name: db}]", "spec.dependsOn[0].kind: must be Sandbox or Pod"},
		{"dependsOn: [{name: db, condition: ready}]", `spec.dependsOn[0].condition: must be Started, Ready or Completed (did you mean "Ready"?)`},
		{"dependsOn: [{name: DB}]", "spec.dependsOn[0].name: a lowercase RFC 1123"},
		{"dependsOn: [{kind: Sandbox}]", "spec.dependsOn[0].name: a lowercase RFC 1123"},
		{"dependsOn: [{name: a}, {kind: Pod, name: a}]", "spec.dependsOn[1].name: a is named twice"},
		{"progressDeadlineSeconds: 1", ok},
		{"progressDeadlineSeconds: 0", "spec.progressDeadlineSeconds: 0 is not between 1 and"},
	} {
		t.Run(c.lines, func(t *testing.T) {
			text := sandboxWith(map[string]string{"spec": c.lines})
			if c.want == ok {
				if o := one(t, text); len(o.DependsOn) != len(o.Sandbox.Spec.DependsOn) {
					t.Errorf("the places are %v", o.DependsOn)
				}
				return
			}
			if got := messages(t, text); len(got) != 1 || !strings.Contains(got[0], c.want) {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

func TestPodHasNoDependsOn(t *testing.T) {
	got := messages(t, "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {dependsOn: [{name: b}], containers: [{name: a, image: b}]}\n")
	if len(got) != 1 || !strings.Contains(got[0], "spec.dependsOn: unknown field") {
		t.Errorf("got %q", got)
	}
}
