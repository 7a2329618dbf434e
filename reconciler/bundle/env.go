package bundle

import (
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// defaultPath is Docker's, for images that set none.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// value is text that may have come, in part, from a Secret.
type value struct {
	text   string
	secret bool
}

// environment is a container's variables while they are gathered.
type environment struct {
	names  []string // in the order in which they were first set
	values map[string]value
	// own are the variables of the manifest: only they can be expanded.
	own map[string]value
	// conceal gives the value of a secret variable a name.
	conceal func(name string, v value) (ref string)
}

func (e *environment) set(name string, v value) {
	if _, ok := e.values[name]; !ok {
		e.names = append(e.names, name)
	}
	e.values[name] = v
}

func (e *environment) setOwn(name string, v value) {
	e.set(name, v)
	e.own[name] = v
}

// list returns the variables for a process.
func (e *environment) list() []drivers.EnvVar {
	vars := make([]drivers.EnvVar, 0, len(e.names))
	for _, name := range e.names {
		if v := e.values[name]; v.secret {
			vars = append(vars, drivers.EnvVar{Name: name, Secret: e.conceal(name, v)})
		} else {
			vars = append(vars, drivers.EnvVar{Name: name, Value: v.text})
		}
	}
	return vars
}

// environment gathers a container's variables, later ones replacing earlier
// ones: the host name, the image's, envFrom's, env's.
func (t *translation) environment(field, hostname string, c *corev1.Container, image []string) *environment {
	e := &environment{values: map[string]value{}, own: map[string]value{}}
	e.conceal = func(name string, v value) string {
		ref := "env/" + c.Name + "/" + name
		t.secrets[ref] = []byte(v.text)
		return ref
	}
	e.set("PATH", value{text: defaultPath})
	e.set("HOSTNAME", value{text: hostname})
	for _, kv := range image {
		if name, text, ok := strings.Cut(kv, "="); ok && name != "" {
			e.set(name, value{text: text})
		}
	}
	for i := range c.EnvFrom {
		t.envFrom(indexed(field+".envFrom", i), e, &c.EnvFrom[i])
	}
	for i := range c.Env {
		t.envVar(field+".env["+c.Env[i].Name+"]", e, &c.Env[i])
	}
	return e
}

// envFrom sets a variable for each key of a ConfigMap or Secret that can be the
// name of one; like Kubernetes it leaves out the others.
func (t *translation) envFrom(field string, e *environment, from *corev1.EnvFromSource) {
	var data map[string]value
	var kind source
	var object string
	switch {
	case from.ConfigMapRef != nil:
		ref := from.ConfigMapRef
		kind, object = configMap, ref.Name
		data, _ = t.data(field+".configMapRef", kind, object, ref.Optional, false)
	case from.SecretRef != nil:
		ref := from.SecretRef
		kind, object = secret, ref.Name
		data, _ = t.data(field+".secretRef", kind, object, ref.Optional, false)
	}
	for _, key := range slices.Sorted(maps.Keys(data)) {
		name := from.Prefix + key
		if !strings.ContainsAny(name+data[key].text, "\x00") && !strings.Contains(name, "=") {
			t.used[use{kind, object, key}] = data[key].text
			e.setOwn(name, data[key])
		}
	}
}

func (t *translation) envVar(field string, e *environment, v *corev1.EnvVar) {
	if v.ValueFrom == nil {
		e.setOwn(v.Name, e.expand(v.Value))
		return
	}
	switch from := v.ValueFrom; {
	case from.FieldRef != nil:
		e.setOwn(v.Name, value{text: t.Sandbox.FieldValue(from.FieldRef.FieldPath)})
	case from.ConfigMapKeyRef != nil:
		ref := from.ConfigMapKeyRef
		t.envKey(field+".valueFrom.configMapKeyRef", e, v.Name, configMap, ref.Name, ref.Key, ref.Optional)
	case from.SecretKeyRef != nil:
		ref := from.SecretKeyRef
		t.envKey(field+".valueFrom.secretKeyRef", e, v.Name, secret, ref.Name, ref.Key, ref.Optional)
	default:
		t.errorf(field+".valueFrom", "this kind of source is not supported yet")
	}
}

func (t *translation) envKey(field string, e *environment, name string, kind source, object, key string, optional *bool) {
	data, ok := t.data(field, kind, object, optional, false)
	if !ok {
		return
	}
	v, ok := data[key]
	if !ok {
		t.missingKey(field, kind, object, key, optional)
		return
	}
	if strings.ContainsRune(v.text, 0) {
		t.errorf(field, "the value of key %q holds a NUL byte, which no variable can", key)
		return
	}
	t.used[use{kind, object, key}] = v.text
	e.setOwn(name, v)
}

// expand replaces $(NAME) by the value of a variable of the manifest that was
// set before; $$ is a $, and a name that is not set stays as written.
func (e *environment) expand(s string) value {
	var b strings.Builder
	var out value
	for {
		i := strings.IndexByte(s, '$')
		if i < 0 || i+1 == len(s) {
			b.WriteString(s)
			break
		}
		b.WriteString(s[:i])
		s = s[i:]
		switch s[1] {
		case '$':
			b.WriteByte('$')
			s = s[2:]
		case '(':
			end := strings.IndexByte(s, ')')
			if end < 0 {
				b.WriteString("$(")
				s = s[2:]
				continue
			}
			if v, ok := e.own[s[2:end]]; ok {
				b.WriteString(v.text)
				out.secret = out.secret || v.secret
			} else {
				b.WriteString(s[:end+1])
			}
			s = s[end+1:]
		default:
			b.WriteString(s[:2])
			s = s[2:]
		}
	}
	out.text = b.String()
	return out
}
