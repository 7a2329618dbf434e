package reconciler

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/vzreconciler/vzreconciler/manifests"
)

// prunable decides on the objects that the manifests no longer have: which are
// removed, and which are held until a user confirms. What counts is sandboxes,
// for nothing is lost with a ConfigMap or Secret; when they are too many, all
// that went with them is held. sandboxes is how many there are, limit how many
// may go unconfirmed; a negative one means half of them, or all when they are
// fewer than four. weigh says how many sandboxes go with an object.
func prunable(gone []manifests.Key, sandboxes, limit int, confirmed map[manifests.Key]time.Time, weigh func(manifests.Key) int) (remove, held []manifests.Key) {
	if limit < 0 {
		if limit = sandboxes / 2; sandboxes < 4 {
			limit = sandboxes
		}
	}
	lost := 0
	for _, key := range gone {
		if _, ok := confirmed[key]; ok {
			remove = append(remove, key)
		} else {
			held = append(held, key)
			lost += weigh(key)
		}
	}
	if lost <= limit {
		return gone, nil
	}
	slices.SortFunc(held, compareKeys)
	return remove, held
}

// describeHeld counts objects for people: "3 sandboxes and 1 other object".
func describeHeld(held []manifests.Key) string {
	n := 0
	for _, key := range held {
		if key.Kind == manifests.KindSandbox {
			n++
		}
	}
	text := plural(n, "sandbox", "sandboxes")
	if others := len(held) - n; others > 0 {
		text += " and " + plural(others, "other object", "other objects")
	}
	return text
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func compareKeys(a, b manifests.Key) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
}

// compact sorts a list and drops what is in it twice.
func compact(list []string) []string {
	slices.Sort(list)
	return slices.Compact(list)
}
