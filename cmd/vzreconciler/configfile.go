package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	yaml "sigs.k8s.io/yaml/goyaml.v3"
)

// maxConfig bounds a configuration file.
const maxConfig = 1 << 20

// notKeys are flags that a configuration file cannot give.
var notKeys = []string{"config", "help", "version", "print-config"}

// loadConfig sets the flags that a configuration file gives values for, under
// the flags' names. Flags of the command line stay as they are.
func loadConfig(flags *pflag.FlagSet, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return &usageError{fmt.Errorf("configuration: %w", err)}
	}
	defer f.Close()
	var doc yaml.Node
	err = yaml.NewDecoder(io.LimitReader(f, maxConfig)).Decode(&doc)
	if errors.Is(err, io.EOF) {
		return nil // an empty file
	}
	if err != nil {
		return &usageError{fmt.Errorf("configuration %s: %w", path, err)}
	}
	if err := setFlags(flags, doc.Content[0]); err != nil {
		return &usageError{fmt.Errorf("configuration %s:%w", path, err)}
	}
	return nil
}

// setFlags sets flags from a YAML mapping. Errors begin with the line and column.
func setFlags(flags *pflag.FlagSet, mapping *yaml.Node) error {
	known := map[string]func(*yaml.Node) error{}
	for _, name := range keys(flags) {
		flag := flags.Lookup(name)
		known[name] = func(value *yaml.Node) error {
			set, err := decodeFlag(flag, value)
			if err == nil && !flag.Changed {
				err = set()
			}
			return err
		}
	}
	return decodeMapping(mapping, known)
}

// decodeFlag reads the value of a flag, and returns what sets the flag to it.
func decodeFlag(flag *pflag.Flag, value *yaml.Node) (set func() error, err error) {
	if g, ok := flag.Value.(*gitSources); ok {
		replace, err := g.decode(value)
		return func() error { replace(); return nil }, err
	}
	texts, err := values(flag, value)
	return func() error {
		if err := setFlag(flag, texts); err != nil {
			return at(value, "%s: %v", flag.Name, err)
		}
		return nil
	}, err
}

// decodeMapping gives each value in a mapping to the function of its key.
func decodeMapping(n *yaml.Node, known map[string]func(*yaml.Node) error) error {
	if n.Kind != yaml.MappingNode {
		return at(n, "must be a mapping of names to values")
	}
	var seen []string
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		decode, ok := known[key.Value]
		switch {
		case !ok:
			return at(key, "unknown key %q: the keys are %s", key.Value, strings.Join(slices.Sorted(maps.Keys(known)), ", "))
		case slices.Contains(seen, key.Value):
			return at(key, "%q is there twice", key.Value)
		}
		seen = append(seen, key.Value)
		if err := decode(value); err != nil {
			return err
		}
	}
	return nil
}

// decodeText reads one text, which must not be empty.
func decodeText(n *yaml.Node, into *string) error {
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" || n.Value == "" {
		return at(n, "must be a text")
	}
	*into = n.Value
	return nil
}

// values returns the text of a value, of several if the flag takes a list.
func values(flag *pflag.Flag, value *yaml.Node) ([]string, error) {
	_, list := flag.Value.(pflag.SliceValue)
	if list && value.Kind == yaml.SequenceNode {
		var texts []string
		for _, item := range value.Content {
			if item.Kind != yaml.ScalarNode {
				return nil, at(item, "%s: must be a list of texts", flag.Name)
			}
			texts = append(texts, item.Value)
		}
		return texts, nil
	}
	if value.Kind != yaml.ScalarNode || value.Tag == "!!null" {
		return nil, at(value, "%s: must be one value", flag.Name)
	}
	if list {
		return strings.Split(value.Value, ","), nil
	}
	return []string{value.Value}, nil
}

func setFlag(flag *pflag.Flag, values []string) error {
	if list, ok := flag.Value.(pflag.SliceValue); ok {
		return list.Replace(values)
	}
	return flag.Value.Set(values[0])
}

func keys(flags *pflag.FlagSet) (names []string) {
	flags.VisitAll(func(f *pflag.Flag) {
		if !slices.Contains(notKeys, f.Name) {
			names = append(names, f.Name)
		}
	})
	return names
}

func at(n *yaml.Node, format string, args ...any) error {
	return fmt.Errorf("%d:%d: %w", n.Line, n.Column, fmt.Errorf(format, args...))
}
