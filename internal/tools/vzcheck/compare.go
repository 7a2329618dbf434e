package main

import (
	"errors"
	"fmt"
	"go/types"
	"slices"
)

// compare returns an error for each thing that a package exports and the real one
// has not, or has otherwise.
func compare(stand, real *types.Package) error {
	var errs []error
	wrong := func(name, have, want string) {
		errs = append(errs, fmt.Errorf("look-alike: %s\n\tis  %s\n\tnot %s", name, have, want))
	}
	for _, name := range stand.Scope().Names() {
		obj := stand.Scope().Lookup(name)
		if !obj.Exported() {
			continue
		}
		twin := real.Scope().Lookup(name)
		if twin == nil {
			wrong(name, describe(obj), "there in the real package")
			continue
		}
		if have, want := describe(obj), describe(twin); have != want {
			wrong(name, have, want)
		}
		if _, ok := obj.(*types.TypeName); !ok {
			continue
		}
		have, want := methods(obj.Type()), methods(twin.Type())
		for method, signature := range have {
			if signature != want[method] {
				wrong(name+"."+method, signature, want[method])
			}
		}
	}
	slices.SortFunc(errs, func(a, b error) int {
		if a.Error() < b.Error() {
			return -1
		}
		return 1
	})
	return errors.Join(errs...)
}

// describe returns what a user of an object depends on, apart from methods.
func describe(obj types.Object) string {
	switch o := obj.(type) {
	case *types.Const:
		return fmt.Sprintf("const %s = %s", typeText(o.Type()), o.Val())
	case *types.TypeName:
		kind := "type"
		switch u := o.Type().Underlying().(type) {
		case *types.Struct:
			kind = "struct"
			for f := range u.Fields() {
				if f.Exported() && !f.Embedded() {
					kind += " " + f.Name() + " " + typeText(f.Type())
				}
			}
		case *types.Interface:
			kind = "interface"
		case *types.Signature:
			kind = typeText(u)
		case *types.Basic:
			kind = u.Name()
		}
		return kind
	default:
		return fmt.Sprintf("%T %s", obj, typeText(obj.Type()))
	}
}

// methods returns the exported methods of a type, or of a pointer to it.
func methods(t types.Type) map[string]string {
	if !types.IsInterface(t) {
		t = types.NewPointer(t)
	}
	m := map[string]string{}
	set := types.NewMethodSet(t)
	for method := range set.Methods() {
		if f := method.Obj(); f.Exported() {
			m[f.Name()] = typeText(f.Type())
		}
	}
	return m
}

func typeText(t types.Type) string {
	return types.TypeString(t, func(p *types.Package) string { return p.Path() })
}
