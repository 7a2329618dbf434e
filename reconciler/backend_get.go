package reconciler

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

// query is a GetRequest, understood.
type query struct {
	kind      kindSelector
	namespace string
	names     []string
	labels    labels.Selector
	fields    fields.Selector
}

func parseQuery(req *api.GetRequest) (query, error) {
	kind, err := parseKind(req.GetKind())
	if err != nil {
		return query{}, err
	}
	sel, err := labels.Parse(req.GetLabelSelector())
	if err != nil {
		return query{}, fmt.Errorf("%w: label selector %q: %w", drivers.ErrInvalidArgument, req.GetLabelSelector(), err)
	}
	fieldSel, err := parseFields(req.GetFieldSelector())
	if err != nil {
		return query{}, err
	}
	return query{kind: kind, namespace: req.GetNamespace(), names: req.GetNames(), labels: sel, fields: fieldSel}, nil
}

func (q *query) fits(v *view) bool {
	return q.kind.fits(v) &&
		(q.namespace == "" || q.namespace == v.key.Namespace) &&
		(len(q.names) == 0 || slices.Contains(q.names, v.key.Name)) &&
		q.labels.Matches(labels.Set(v.labels)) &&
		(q.fields.Empty() || q.fields.Matches(v.fields()))
}

// lookup returns what the API shows of an object, nil if there is none.
func (m *Manager) lookup(key manifests.Key) *view {
	m.mu.Lock()
	defer m.mu.Unlock()
	if key.Kind == kindRevision {
		return m.lookupRevision(key)
	}
	if key.IsConfig() {
		if c := m.configs[key]; c != nil {
			return c.view()
		}
		return nil
	}
	if e := m.managedLocked(key); e != nil {
		return e.view.Load()
	}
	return nil
}

// lookupRevision is lookup for a revision of a StatefulSet. m.mu is held.
func (m *Manager) lookupRevision(key manifests.Key) *view {
	for _, w := range m.workloads {
		for _, v := range w.view.Load().revisionViews() {
			if v.key == key {
				return v
			}
		}
	}
	return nil
}

// views returns the objects that fit, sorted by kind, namespace and name.
func (m *Manager) views(q query) []*view {
	var all []*view
	m.mu.Lock()
	for _, o := range m.objects {
		if v := o.view.Load(); v != nil && q.fits(v) {
			all = append(all, v)
		}
	}
	for _, w := range m.workloads {
		v := w.view.Load()
		if v == nil {
			continue
		}
		for _, v := range append(v.revisionViews(), v) {
			if q.fits(v) {
				all = append(all, v)
			}
		}
	}
	for _, c := range m.configs {
		if v := c.view(); q.fits(v) {
			all = append(all, v)
		}
	}
	m.mu.Unlock()
	slices.SortFunc(all, func(a, b *view) int { return compareKeys(a.key, b.key) })
	return all
}

// Get implements api.Backend.
func (m *Manager) Get(_ context.Context, req *api.GetRequest) ([]json.RawMessage, error) {
	q, err := parseQuery(req)
	if err != nil {
		return nil, err
	}
	views := m.views(q)
	for _, name := range q.names {
		if !slices.ContainsFunc(views, func(v *view) bool { return v.key.Name == name }) {
			return nil, m.notFound(manifests.Key{Kind: q.kind.keys[0], Namespace: req.GetNamespace(), Name: name})
		}
	}
	objects := make([]json.RawMessage, 0, len(views))
	for _, v := range views {
		data, err := v.json()
		if err != nil {
			return nil, err
		}
		objects = append(objects, data)
	}
	return objects, nil
}

// Watch implements api.Backend.
func (m *Manager) Watch(ctx context.Context, req *api.GetRequest, send func(*api.WatchResponse) error) error {
	q, err := parseQuery(req)
	if err != nil {
		return err
	}
	w := m.hub.watch()
	defer m.hub.unwatch(w)
	shown := map[manifests.Key]struct{}{}
	tell := func(typ api.WatchResponse_Type, v *view) error {
		data, err := v.json()
		if err != nil {
			return err
		}
		return send(&api.WatchResponse{Type: typ, Object: data})
	}
	for _, v := range m.views(q) {
		shown[v.key] = struct{}{}
		if err := tell(api.WatchResponse_ADDED, v); err != nil {
			return err
		}
	}
	if err := send(&api.WatchResponse{Type: api.WatchResponse_SYNCED}); err != nil {
		return err
	}
	for {
		key, last, ok := w.take()
		if !ok {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-w.wake:
				continue
			}
		}
		v := m.lookup(key)
		_, was := shown[key]
		switch {
		case v != nil && q.fits(v):
			shown[key] = struct{}{}
			typ := api.WatchResponse_ADDED
			if was {
				typ = api.WatchResponse_MODIFIED
			}
			err = tell(typ, v)
		case was: // It is gone, or fits no longer.
			delete(shown, key)
			if v == nil {
				v = last
			}
			if v != nil {
				err = tell(api.WatchResponse_DELETED, v)
			}
		}
		if err != nil {
			return err
		}
	}
}
