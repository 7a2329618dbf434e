package reconciler

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/manifests"
)

// notFound says that there is no such object, and what there is instead.
func (m *Manager) notFound(key manifests.Key) error {
	var names []string
	elsewhere, written := "", ""
	for _, v := range m.views(query{kind: kindSelector{keys: []string{key.Kind}}, labels: labels.Everything(), fields: fields.Everything()}) {
		switch {
		case v.key == key:
			written = v.kind
		case v.key.Namespace == key.Namespace:
			names = append(names, v.key.Name)
		case v.key.Name == key.Name && elsewhere == "":
			elsewhere = v.key.Namespace
		}
	}
	kinds := strings.ToLower(key.Kind) + "s"
	if key.Kind == manifests.KindSandbox {
		kinds = "sandboxes"
	}
	hint := fmt.Sprintf(`"vzctl get %s -A" shows what there is`, kinds)
	switch meant := manifests.Closest(key.Name, names); {
	case written != "":
		hint = fmt.Sprintf("what has that name is a %s", written)
	case meant != "":
		hint = fmt.Sprintf("did you mean %q?", meant)
	case elsewhere != "":
		hint = "there is one in another namespace: -n " + elsewhere
	}
	return fmt.Errorf("%s: %w; %s", key, drivers.ErrNotFound, hint)
}
