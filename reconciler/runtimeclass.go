package reconciler

import (
	"errors"
	"fmt"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/manifests"
)

// runtimeOf names the runtime that the next VM of a sandbox is built with: the
// handler of its RuntimeClass, or, where there is none of that name, the runtime
// that is called so itself.
func (m *Manager) runtimeOf(s *manifests.Sandbox) string {
	name := s.Spec.PodTemplate.Spec.RuntimeClassName
	if name == nil || *name == "" {
		return m.opts.DefaultRuntime
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if c := m.configs[manifests.RuntimeClassKey(*name)]; c != nil && c.object != nil {
		return c.object.RuntimeClass.Handler
	}
	return *name
}

// explainRuntime says more of a runtime that is not there: what names it, and what
// may have been meant.
func (m *Manager) explainRuntime(s *manifests.Sandbox, err error) error {
	name := s.Spec.PodTemplate.Spec.RuntimeClassName
	if !errors.Is(err, drivers.ErrNotFound) || name == nil || *name == "" {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.configs[manifests.RuntimeClassKey(*name)] != nil {
		return fmt.Errorf("RuntimeClass %s: %w", *name, err)
	}
	var classes []string
	for key := range m.configs {
		if key.Kind == manifests.KindRuntimeClass {
			classes = append(classes, key.Name)
		}
	}
	meant := ""
	if class := manifests.Closest(*name, classes); class != "" {
		meant = fmt.Sprintf(" (did you mean %q?)", class)
	}
	return fmt.Errorf("runtimeClassName: there is no RuntimeClass %s%s, nor a runtime of that name: %w", *name, meant, err)
}
