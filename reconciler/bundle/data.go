package bundle

import (
	"strconv"
)

// source is a kind of object that holds data.
type source string

const (
	configMap source = "ConfigMap"
	secret    source = "Secret"
)

// data returns what an object holds, by key. A ConfigMap's binary data is for
// files only. When there is no such object, which is an error if it is not
// optional, ok is false.
func (t *translation) data(field string, kind source, name string, optional *bool, binary bool) (data map[string]value, ok bool) {
	data = map[string]value{}
	switch kind {
	case configMap:
		if cm := t.ConfigMaps[name]; cm != nil {
			for k, v := range cm.Data {
				data[k] = value{text: v}
			}
			if binary {
				for k, v := range cm.BinaryData {
					data[k] = value{text: string(v)}
				}
			}
			return data, true
		}
	case secret:
		if s := t.Secrets[name]; s != nil {
			for k, v := range s.Data {
				data[k] = value{text: string(v), secret: true}
			}
			for k, v := range s.StringData {
				data[k] = value{text: v, secret: true}
			}
			return data, true
		}
	}
	if optional == nil || !*optional {
		t.errorf(field, "%s %s/%s is %w: add a manifest of it, or mark the reference optional", kind, t.Sandbox.Namespace, name, ErrMissing)
	}
	return nil, false
}

// missingKey notes a key that an object does not have.
func (t *translation) missingKey(field string, kind source, name, key string, optional *bool) {
	if optional == nil || !*optional {
		t.errorf(field, "key %q of %s %s/%s is %w: add it, or mark the reference optional", key, kind, t.Sandbox.Namespace, name, ErrMissing)
	}
}

func indexed(field string, i int) string { return field + "[" + strconv.Itoa(i) + "]" }
