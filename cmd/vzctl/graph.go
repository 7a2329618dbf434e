package main

import (
	"cmp"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vzreconciler/vzreconciler/internal/printer"
	"github.com/vzreconciler/vzreconciler/manifests"
)

// nodeKey names an object by the kind of its key.
type nodeKey struct{ kind, namespace, name string }

func (k nodeKey) compare(other nodeKey) int {
	return cmp.Or(cmp.Compare(k.kind, other.kind), cmp.Compare(k.namespace, other.namespace), cmp.Compare(k.name, other.name))
}

// edge is a relation of one object to another.
type edge struct {
	to nodeKey
	// relation says which it is, for people: "owns", "uses", "waits for Ready".
	relation string
	// optional says that the other need not be there.
	optional bool
}

// graph is which object depends on which.
type graph struct {
	nodes map[nodeKey]*object
	edges map[nodeKey][]edge
	order []nodeKey
	// grown are the objects whose branches were shown already.
	grown map[nodeKey]bool
}

func newGraph(objects []object) *graph {
	g := &graph{nodes: map[nodeKey]*object{}, edges: map[nodeKey][]edge{}, grown: map[nodeKey]bool{}}
	for i := range objects {
		o := &objects[i]
		ref := o.key()
		key := nodeKey{ref.GetKind(), ref.GetNamespace(), ref.GetName()}
		g.nodes[key] = o
		g.order = append(g.order, key)
	}
	for _, key := range g.order {
		g.relate(key, g.nodes[key])
	}
	return g
}

// relate adds the edges that an object tells of.
func (g *graph) relate(key nodeKey, o *object) {
	for _, owner := range o.OwnerReferences {
		from := nodeKey{keyKind(owner), key.namespace, owner.Name}
		g.edges[from] = append(g.edges[from], edge{to: key, relation: "owns"})
		if g.nodes[from] == nil && !slices.Contains(g.order, from) {
			g.order = append(g.order, from)
		}
	}
	switch o.Kind {
	case manifests.KindSandboxWarmPool:
		to := decodeAs[warmPool](o).Spec.TemplateRef.Name
		g.edges[key] = append(g.edges[key], edge{to: nodeKey{manifests.KindSandboxTemplate, key.namespace, to}, relation: "uses"})
	case manifests.KindSandboxClaim:
		c := decodeAs[sandboxClaim](o)
		to := nodeKey{manifests.KindSandboxWarmPool, key.namespace, c.Spec.WarmPoolRef.Name}
		g.edges[key] = append(g.edges[key], edge{to: to, relation: "uses", optional: c.Status.Sandbox.Name != ""})
	}
	if !o.isSandbox() {
		return
	}
	s := o.sandbox()
	if s == nil {
		return
	}
	for _, ref := range s.References() {
		if ref.Key.Kind == manifests.KindRuntimeClass {
			continue // Without one of that name it is a runtime's.
		}
		e := edge{to: nodeKey{ref.Key.Kind, key.namespace, ref.Key.Name}, relation: "uses", optional: ref.Optional}
		if len(ref.Keys) > 0 {
			e.relation += " " + strings.Join(ref.Keys, ", ")
		}
		g.edges[key] = append(g.edges[key], e)
	}
	for _, d := range s.Spec.DependsOn {
		to := nodeKey{keyKind(metav1.OwnerReference{Kind: d.Kind}), key.namespace, d.Name}
		g.edges[key] = append(g.edges[key], edge{to: to, relation: strings.TrimSpace("waits for " + string(d.Condition))})
	}
}

// keyKind is the kind that the key of a named object has.
func keyKind(ref metav1.OwnerReference) string {
	if k, ok := findKind(ref.Kind); ok {
		return k.key
	}
	return ref.Kind
}

// reverse turns every edge round.
func (g *graph) reverse() {
	reversed := map[nodeKey][]edge{}
	for _, from := range g.order {
		for _, e := range g.edges[from] {
			back := e
			back.to = from
			reversed[e.to] = append(reversed[e.to], back)
			if g.nodes[e.to] == nil && !slices.Contains(g.order, e.to) {
				g.order = append(g.order, e.to)
			}
		}
	}
	g.edges = reversed
}

// roots are the objects to begin with: those that no edge leads to, and one of
// each ring that nothing leads into.
func (g *graph) roots() []nodeKey {
	led := map[nodeKey]bool{}
	for from, edges := range g.edges {
		for _, e := range edges {
			led[e.to] = led[e.to] || e.to != from
		}
	}
	reached := map[nodeKey]bool{}
	var reach func(nodeKey)
	reach = func(key nodeKey) {
		if reached[key] {
			return
		}
		reached[key] = true
		for _, e := range g.edges[key] {
			reach(e.to)
		}
	}
	order := slices.SortedFunc(slices.Values(g.order), func(a, b nodeKey) int {
		// What depends on others comes before what only stands by itself.
		return cmp.Or(cmp.Compare(min(len(g.edges[b]), 1), min(len(g.edges[a]), 1)), a.compare(b))
	})
	var roots []nodeKey
	for _, ring := range []bool{false, true} {
		for _, key := range order {
			if led[key] == ring && !reached[key] {
				roots = append(roots, key)
				reach(key)
			}
		}
	}
	return roots
}

// branch is an object with what is below it.
type branch struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Relation  string `json:"relation,omitempty"`
	// Missing says that there is no such object.
	Missing  bool      `json:"missing,omitempty"`
	Optional bool      `json:"optional,omitempty"`
	Above    bool      `json:"above,omitempty"` // what is below it was shown above
	Children []*branch `json:"children,omitempty"`

	object *object
}

// grow returns what is below an object. What was grown once is not grown again.
func (g *graph) grow(key nodeKey) *branch {
	b := &branch{Kind: key.kind, Namespace: key.namespace, Name: key.name, object: g.nodes[key]}
	if b.object == nil {
		b.Missing = true
	} else {
		b.Kind = b.object.Kind
	}
	if g.grown[key] {
		b.Above = len(g.edges[key]) > 0
		return b
	}
	g.grown[key] = true
	for _, e := range g.edges[key] {
		child := g.grow(e.to)
		child.Relation, child.Optional = e.relation, e.optional
		b.Children = append(b.Children, child)
	}
	return b
}

// rows appends a row for the branch and each below it.
func (b *branch) rows(table [][]printer.Cell, namespaces bool, lead, below string) [][]printer.Cell {
	row := []printer.Cell{{Text: lead + strings.ToLower(b.Kind) + "/" + b.Name}, {}, {}, {Text: b.Relation}}
	switch o := b.object; {
	case b.Missing && b.Optional:
		row[2] = printer.Cell{Text: "Missing", Color: printer.Faint}
	case b.Missing:
		row[2] = printer.Cell{Text: "Missing", Color: printer.Red}
	case o.isSandbox():
		row[1].Text = o.readyOf()
		row[2] = printer.Cell{Text: o.state(), Color: stateColor(o)}
	}
	if b.Optional {
		row[3].Text += " (optional)"
	}
	if b.Above {
		row[3].Text = strings.TrimSpace(row[3].Text + " (see above)")
	}
	if namespaces {
		row = append([]printer.Cell{{Text: b.Namespace}}, row...)
	}
	table = append(table, row)
	for i, child := range b.Children {
		if i < len(b.Children)-1 {
			table = child.rows(table, namespaces, below+"├─ ", below+"│  ")
		} else {
			table = child.rows(table, namespaces, below+"└─ ", below+"   ")
		}
	}
	return table
}
