package linuxvm

import (
	"fmt"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// secrets are the values that a configuration refers to by name. They live in
// memory only.
type secrets map[string][]byte

// String keeps the values out of anything that prints.
func (secrets) String() string { return "[secrets]" }

// GoString does so for %#v.
func (s secrets) GoString() string { return s.String() }

// check says which of the secrets that the configuration needs is missing.
func (s secrets) check(c drivers.Configuration) error {
	for _, v := range c.Volumes {
		if v.Files == nil {
			continue
		}
		for _, f := range v.Files.Files {
			if _, err := s.file(f); err != nil {
				return fmt.Errorf("volume %q: %w", v.Name, err)
			}
		}
	}
	for _, ct := range c.Containers {
		if _, err := s.spec(ct.Process); err != nil {
			return fmt.Errorf("container %q: %w", ct.Name, err)
		}
	}
	return nil
}

// file returns the content of a file.
func (s secrets) file(f drivers.File) ([]byte, error) {
	if f.Secret == "" {
		return f.Data, nil
	}
	value, ok := s[f.Secret]
	if !ok {
		return nil, fmt.Errorf("file %s: %w: no value was given for the secret %q", f.Path, drivers.ErrInvalidArgument, f.Secret)
	}
	return value, nil
}

// spec returns a copy of the specification with values in place of the names
// of secrets.
func (s secrets) spec(spec drivers.ProcessSpec) (drivers.ProcessSpec, error) {
	env := make([]drivers.EnvVar, len(spec.Env))
	for i, e := range spec.Env {
		if e.Secret != "" {
			value, ok := s[e.Secret]
			if !ok {
				return spec, fmt.Errorf("environment variable %s: %w: no value was given for the secret %q",
					e.Name, drivers.ErrInvalidArgument, e.Secret)
			}
			e = drivers.EnvVar{Name: e.Name, Value: string(value)}
		}
		env[i] = e
	}
	spec.Env = env
	return spec, nil
}
