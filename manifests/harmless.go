package manifests

import "reflect"

// dropHarmless clears the fields that have no effect, so that they are no part
// of what is compared and hashed.
func (c typeCache) dropHarmless(object any) {
	c.clearHarmless(reflect.ValueOf(object).Elem())
}

func (c typeCache) clearHarmless(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			c.clearHarmless(v.Elem())
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Struct {
			for i := range v.Len() {
				c.clearHarmless(v.Index(i))
			}
		}
	case reflect.Struct:
		if uses(v.Type()) == nil && v.Type() != reflect.TypeFor[Sandbox]() {
			return
		}
		for _, f := range c.fieldsOf(v.Type()) {
			if f.use.class != supported {
				v.FieldByIndex(f.index).SetZero()
				continue
			}
			c.clearHarmless(v.FieldByIndex(f.index))
		}
	}
}
