package main

import (
	"io"

	"github.com/spf13/pflag"

	yaml "sigs.k8s.io/yaml/goyaml.v3"
)

// printConfig writes the configuration as it comes to, as a configuration file.
func printConfig(w io.Writer, flags *pflag.FlagSet) error {
	doc := &yaml.Node{Kind: yaml.MappingNode}
	for _, name := range keys(flags) {
		doc.Content = append(doc.Content, scalar(name), encodeFlag(flags.Lookup(name)))
	}
	e := yaml.NewEncoder(w)
	e.SetIndent(2)
	if err := e.Encode(doc); err != nil {
		return err
	}
	return e.Close()
}

func encodeFlag(f *pflag.Flag) *yaml.Node {
	list := &yaml.Node{Kind: yaml.SequenceNode}
	switch v := f.Value.(type) {
	case *gitSources:
		for i := range *v.list {
			list.Content = append(list.Content, (*v.list)[i].encode())
		}
	case pflag.SliceValue:
		for _, text := range v.GetSlice() {
			list.Content = append(list.Content, scalar(text))
		}
	default:
		return scalar(v.String())
	}
	return list
}

// scalar is a text, in quotes where YAML would take it for something else.
func scalar(text string) *yaml.Node {
	n := &yaml.Node{}
	n.SetString(text)
	return n
}
