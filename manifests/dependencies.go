package manifests

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

const maxDependencies = 64

// Key of the sandbox that is depended on, by one of the given namespace.
func (d Dependency) Key(namespace string) Key {
	return Key{Kind: KindSandbox, Namespace: namespace, Name: d.Name}
}

func (r *report) validateDependencies(path *field.Path, s *Sandbox) {
	atMost(r, path, len(s.Spec.DependsOn), maxDependencies)
	for i, d := range s.Spec.DependsOn {
		at := path.Index(i)
		oneOf(r, at.Child("kind"), d.Kind, KindSandbox, "Pod")
		oneOf(r, at.Child("condition"), d.Condition, DependencyStarted, DependencyReady, DependencyCompleted)
		if messages := validation.IsDNS1123Subdomain(d.Name); len(messages) > 0 {
			r.errorf(at.Child("name"), "%s", join(messages))
		}
		same := func(e Dependency) bool { return e.Name == d.Name }
		if slices.ContainsFunc(s.Spec.DependsOn[:i], same) {
			r.errorf(at.Child("name"), "%s is named twice", clip(d.Name))
		}
	}
}

// DependencyCycles returns an error for each of the objects that, by way of
// spec.dependsOn, wait for themselves: none of them could ever start. Each error
// stands where its object names the next one of the cycle. Of objects of one name
// the first counts.
func DependencyCycles(objects []*Object) []*Error {
	g := dependencyGraph{nodes: map[Key]*dependencyNode{}}
	for _, obj := range objects {
		if obj.Sandbox == nil || len(obj.DependsOn) == 0 || g.nodes[obj.Key] != nil {
			continue
		}
		g.nodes[obj.Key] = &dependencyNode{object: obj}
		g.keys = append(g.keys, obj.Key)
	}
	g.prune()
	var errs []*Error
	for _, key := range g.keys {
		if n := g.nodes[key]; n == nil || n.reported {
			continue
		}
		cycle := g.cycleOf(key)
		for range cycle {
			if n := g.nodes[cycle[0]]; !n.reported {
				n.reported = true
				errs = append(errs, g.error(cycle))
			}
			cycle = append(cycle[1:], cycle[0])
		}
	}
	sortErrors(errs)
	return errs
}

type dependencyGraph struct {
	nodes map[Key]*dependencyNode
	keys  []Key
}

type dependencyNode struct {
	object *Object
	// seenFrom is where the search began that came here last.
	seenFrom Key
	// before is the object that led here in that search.
	before   Key
	reported bool
}

// prune removes, one after the other, the objects that wait for none that is
// left: what then remains, of most sets nothing, leads into a cycle.
func (g *dependencyGraph) prune() {
	waiting := map[Key]int{}
	users := map[Key][]Key{}
	var free []Key
	for key, n := range g.nodes {
		for _, d := range n.object.Sandbox.Spec.DependsOn {
			if on := d.Key(key.Namespace); g.nodes[on] != nil {
				waiting[key]++
				users[on] = append(users[on], key)
			}
		}
		if waiting[key] == 0 {
			free = append(free, key)
		}
	}
	for len(free) > 0 {
		key := free[len(free)-1]
		free = free[:len(free)-1]
		delete(g.nodes, key)
		for _, user := range users[key] {
			if waiting[user]--; waiting[user] == 0 {
				free = append(free, user)
			}
		}
	}
}

// cycleOf returns the shortest way from an object back to itself, its own key
// first and not repeated; nil if there is none.
func (g *dependencyGraph) cycleOf(start Key) []Key {
	queue := []Key{start}
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		for _, d := range g.nodes[at].object.Sandbox.Spec.DependsOn {
			next := d.Key(at.Namespace)
			if next == start {
				way := []Key{at}
				for at != start {
					at = g.nodes[at].before
					way = append(way, at)
				}
				slices.Reverse(way)
				return way
			}
			n := g.nodes[next]
			if n == nil || n.seenFrom == start {
				continue
			}
			n.seenFrom, n.before = start, at
			queue = append(queue, next)
		}
	}
	return nil
}

// error is that of the first object of a cycle.
func (g *dependencyGraph) error(cycle []Key) *Error {
	obj := g.nodes[cycle[0]].object
	next := cycle[1%len(cycle)]
	edge := slices.IndexFunc(obj.Sandbox.Spec.DependsOn, func(d Dependency) bool {
		return d.Key(obj.Key.Namespace) == next
	})
	const most = 10
	var names []string
	for _, key := range cycle[:min(len(cycle), most)] {
		names = append(names, key.Name)
	}
	if len(cycle) > most {
		names = append(names, "…")
	}
	names = append(names, cycle[0].Name)
	return &Error{
		Position: obj.DependsOn[edge], Key: &obj.Key, Field: "spec.dependsOn",
		Message: "the sandboxes wait for each other, and none could start: " + strings.Join(names, " → "),
	}
}
