package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	yaml "sigs.k8s.io/yaml/goyaml.v3"
)

// maxConfig bounds a configuration file.
const maxConfig = 1 << 20

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
	if mapping.Kind != yaml.MappingNode {
		return at(mapping, "must be a mapping of names to values")
	}
	var seen []string
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		key, value := mapping.Content[i], mapping.Content[i+1]
		flag := flags.Lookup(key.Value)
		switch {
		case flag == nil || slices.Contains([]string{"config", "help", "version"}, key.Value):
			return at(key, "unknown key %q: the keys are %s", key.Value, strings.Join(keys(flags), ", "))
		case slices.Contains(seen, key.Value):
			return at(key, "%q is there twice", key.Value)
		}
		seen = append(seen, key.Value)
		values, err := values(flag, value)
		if err != nil {
			return err
		}
		if flag.Changed {
			continue
		}
		if err := setFlag(flag, values); err != nil {
			return at(value, "%s: %v", key.Value, err)
		}
	}
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
		if f.Name != "config" && f.Name != "help" && f.Name != "version" {
			names = append(names, f.Name)
		}
	})
	return names
}

func at(n *yaml.Node, format string, args ...any) error {
	return fmt.Errorf("%d:%d: %w", n.Line, n.Column, fmt.Errorf(format, args...))
}
