package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	yaml "sigs.k8s.io/yaml/goyaml.v3"

	"github.com/vzreconciler/vzreconciler/reconciler/source/git"
)

// gitSource is a branch of a Git repository to read manifests from.
type gitSource struct {
	location git.Location
	access   git.Access
	verify   git.Verify
	interval time.Duration // zero: that of --git-interval
}

// gitSources is the value of --git: a list of "URL#BRANCH[:PATH]", and in a
// configuration file of mappings too.
type gitSources struct {
	list *[]gitSource
	set  bool
}

// Type implements pflag.Value.
func (*gitSources) Type() string { return "URL#BRANCH[:PATH]" }

// String implements pflag.Value.
func (g *gitSources) String() string {
	if g.list == nil {
		return ""
	}
	names := make([]string, 0, len(*g.list))
	for _, s := range *g.list {
		names = append(names, s.location.String())
	}
	return strings.Join(names, ",")
}

// Set implements pflag.Value. It adds to what the command line has named before.
func (g *gitSources) Set(text string) error {
	s, err := parseGitSource(text)
	if err != nil {
		return err
	}
	if !g.set {
		g.set, *g.list = true, nil
	}
	*g.list = append(*g.list, s)
	return nil
}

func parseGitSource(text string) (gitSource, error) {
	l, err := git.ParseLocation(text)
	if err != nil {
		return gitSource{}, err
	}
	return gitSource{location: l}, git.Access{}.Check(l)
}

// decode reads the value in a configuration file. Errors begin with the line.
func (g *gitSources) decode(n *yaml.Node) (set func(), err error) {
	if n.Kind != yaml.SequenceNode {
		return nil, at(n, "git: must be a list")
	}
	list := make([]gitSource, len(n.Content))
	for i, item := range n.Content {
		if item.Kind == yaml.ScalarNode {
			if list[i], err = parseGitSource(item.Value); err != nil {
				return nil, at(item, "git: %v", err)
			}
		} else if err := list[i].decode(item); err != nil {
			return nil, err
		}
	}
	return func() { *g.list = list }, nil
}

func (s *gitSource) decode(n *yaml.Node) error {
	text := func(into *string) func(*yaml.Node) error {
		return func(v *yaml.Node) error { return decodeText(v, into) }
	}
	file := func(into *string) func(*yaml.Node) error {
		return func(v *yaml.Node) error {
			if err := decodeText(v, into); err != nil {
				return err
			}
			var err error
			*into, err = filepath.Abs(*into)
			return err
		}
	}
	err := decodeMapping(n, map[string]func(*yaml.Node) error{
		"url":              text(&s.location.URL),
		"branch":           text(&s.location.Branch),
		"path":             text(&s.location.Path),
		"interval":         s.decodeInterval,
		"credentials-file": file(&s.access.CredentialsFile),
		"ca-file":          file(&s.access.CAFile),
		"ssh-key-file":     file(&s.access.SSHKeyFile),
		"known-hosts-file": file(&s.access.KnownHostsFile),
		"verify": func(v *yaml.Node) error {
			err := decodeMapping(v, map[string]func(*yaml.Node) error{
				"allowed-signers-file": file(&s.verify.AllowedSigners),
				"gpg-keyring-file":     file(&s.verify.GPGKeyring),
			})
			if err == nil && !s.verify.Required() {
				return at(v, "names nobody: give allowed-signers-file or gpg-keyring-file")
			}
			return err
		},
	})
	if err != nil {
		return err
	}
	if err := s.location.Complete(); err != nil {
		return at(n, "git: %v", err)
	}
	if err := s.access.Check(s.location); err != nil {
		return at(n, "git: %v", err)
	}
	return nil
}

func (s *gitSource) decodeInterval(v *yaml.Node) error {
	var text string
	if err := decodeText(v, &text); err != nil {
		return err
	}
	var err error
	if s.interval, err = time.ParseDuration(text); err != nil {
		return at(v, "%q is not a duration such as 60s", text)
	}
	if s.interval < time.Second {
		return at(v, "must be at least 1s")
	}
	return nil
}

// encode is what decode reads.
func (s *gitSource) encode() *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	add := func(key, value string) {
		if value != "" {
			n.Content = append(n.Content, scalar(key), scalar(value))
		}
	}
	add("url", s.location.URL)
	add("branch", s.location.Branch)
	add("path", s.location.Path)
	if s.interval > 0 {
		add("interval", s.interval.String())
	}
	add("credentials-file", s.access.CredentialsFile)
	add("ca-file", s.access.CAFile)
	add("ssh-key-file", s.access.SSHKeyFile)
	add("known-hosts-file", s.access.KnownHostsFile)
	if s.verify.Required() {
		outer := n
		n = &yaml.Node{Kind: yaml.MappingNode}
		add("allowed-signers-file", s.verify.AllowedSigners)
		add("gpg-keyring-file", s.verify.GPGKeyring)
		outer.Content = append(outer.Content, scalar("verify"), n)
		n = outer
	}
	return n
}

// completeGit checks what concerns Git as a whole.
func (c *config) completeGit() error {
	seen := map[string]bool{}
	for _, s := range c.git {
		name := s.location.String()
		if seen[name] {
			return fmt.Errorf("git: %s is named twice", name)
		}
		seen[name] = true
	}
	if c.gitInterval < time.Second {
		return fmt.Errorf("--git-interval %s: must be at least 1s", c.gitInterval)
	}
	if c.hookSecret == "" {
		return nil
	}
	switch {
	case len(c.git) == 0:
		return errors.New("--git-webhook-secret-file: there is no --git to look at")
	case c.metricsAddr == "":
		return errors.New("--git-webhook-secret-file: needs --metrics-addr, where webhooks come in")
	}
	var err error
	c.hookSecret, err = filepath.Abs(c.hookSecret)
	return err
}
