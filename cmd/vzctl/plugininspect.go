package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/plugins"
)

// inspectedPlugin is all that can be told of a plugin.
type inspectedPlugin struct {
	listedPlugin

	Author     string         `json:"author,omitempty"`
	Executable string         `json:"executable"`
	Args       []string       `json:"args,omitempty"`
	Env        []string       `json:"env,omitempty"`
	Needs      []plugins.Need `json:"needs,omitempty"`
	// Runtime is what a runtime says of itself.
	Runtime *drivers.Info `json:"runtime,omitempty"`
	// Usable says whether a runtime can run sandboxes on this host; Reason why not.
	Usable *bool  `json:"usable,omitempty"`
	Reason string `json:"reason,omitempty"`
	// UnknownCapabilities are names that mean nothing here.
	UnknownCapabilities []string                   `json:"unknownCapabilities,omitempty"`
	Running             map[string]plugins.Running `json:"running,omitempty"`
}

func (a *app) pluginInspectCmd(dirs *pluginDirs) *cobra.Command {
	var out output
	cmd := &cobra.Command{
		Use:   "inspect NAME",
		Short: "Show all about a plugin: capabilities, schema, whether it works here",
		Long: `Show all about a plugin. A runtime is started for a moment, and asked what it is
and whether it can run sandboxes on this host. Plugins of other kinds are only
described.`,
		Example: `  vzctl plugin inspect qemu
  vzctl plugin inspect qemu -o json`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completePlugin(dirs, false),
		RunE: func(cmd *cobra.Command, args []string) error {
			format, err := out.format()
			if err != nil {
				return err
			}
			l, err := a.loader(*dirs)
			if err != nil {
				return err
			}
			p, err := findPlugin(l, args[0])
			if err != nil {
				return err
			}
			state, err := a.state()
			if err != nil {
				return err
			}
			launcher, _, done, err := launcher()
			if err != nil {
				return err
			}
			defer done()
			in := inspectedPlugin{
				listedPlugin: listed(p, pluginReady), Author: p.Author, Executable: p.Executable(),
				Args: p.Args, Env: p.Env, Running: map[string]plugins.Running{},
			}
			in.SHA256, _ = p.Checksum() // shown if there is one
			for name, r := range runningPlugins(state) {
				if p.Kind == plugins.KindRuntime && r.Plugin == p.Name {
					in.Running[name] = r
				}
			}
			in.Sandboxes = sortedNames(in.Running)
			if p.Kind == plugins.KindRuntime {
				info, err := launcher.Probe(cmd.Context(), p)
				in.probed(p, info, err)
			}
			if format != nil {
				return a.printThing(format, in)
			}
			d := newDescription(time.Now())
			d.plugin(in)
			return d.writeTo(a.stdout)
		},
	}
	a.addOutput(cmd, &out, "text")
	return cmd
}

// findPlugin finds a plugin by its name, a runtime first.
func findPlugin(l *plugins.Loader, name string) (*plugins.Plugin, error) {
	var first error
	for _, kind := range []plugins.Kind{plugins.KindRuntime, plugins.KindNetwork, plugins.KindCLI} {
		p, err := l.Find(kind, name)
		if err == nil {
			return p, nil
		}
		if !errors.Is(err, drivers.ErrNotFound) {
			return nil, err
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}

func (in *inspectedPlugin) probed(p *plugins.Plugin, info drivers.Info, err error) {
	for _, n := range []plugins.Need{plugins.NeedImage, plugins.NeedKernel} {
		if p.Wants(n) {
			in.Needs = append(in.Needs, n)
		}
	}
	if info.Name != "" {
		in.Runtime = &info
	}
	for _, c := range info.Capabilities {
		if !slices.Contains(drivers.Capabilities(), c) {
			in.UnknownCapabilities = append(in.UnknownCapabilities, c)
		}
	}
	usable := err == nil
	in.Usable = &usable
	if err != nil {
		in.Reason = err.Error()
	}
}

func (d *description) plugin(p inspectedPlugin) {
	d.field(0, "Name", p.Name)
	d.field(0, "Kind", string(p.Kind))
	d.field(0, "Version", p.Version)
	d.field(0, "Abstract", p.Abstract)
	d.field(0, "Author", p.Author)
	d.field(0, "Protocols", versions(p.ProtocolVersions))
	d.field(0, "Directory", p.Path)
	d.field(0, "Executable", strings.Join(append([]string{p.Executable}, p.Args...), " "))
	d.field(0, "SHA-256", p.SHA256)
	d.field(0, "Environment", strings.Join(p.Env, ", "))
	if p.Usable == nil {
		return
	}
	needs := make([]string, len(p.Needs))
	for i, n := range p.Needs {
		needs[i] = string(n)
	}
	if len(needs) == 0 {
		needs = []string{"nothing"}
	}
	d.field(0, "Needs", strings.Join(needs, ", "))
	usable := "yes"
	if !*p.Usable {
		usable = "no: " + p.Reason
	}
	d.field(0, "Usable here", usable)
	if p.Runtime != nil {
		d.field(0, "Runtime", p.Runtime.Name+" "+p.Runtime.Version)
		d.field(0, "Platforms", strings.Join(p.Runtime.Platforms, ", "))
		d.section("Capabilities")
		for _, c := range drivers.Capabilities() {
			has := "no"
			if p.Runtime.Can(c) {
				has = "yes"
			}
			d.line(1, c, has)
		}
		for _, c := range p.UnknownCapabilities {
			d.line(1, c, "unknown here: it has no effect")
		}
		d.section("Schema of runtimeData")
		d.schema(p.Runtime.RuntimeDataSchema)
	}
	d.section("Sandboxes")
	for _, name := range sortedNames(p.Running) {
		r := p.Running[name]
		is := "as installed"
		if r.Version != p.Version || r.SHA256 != p.SHA256 {
			is = "replaced since it was started"
		}
		d.line(1, name, r.Version, "protocol "+fmt.Sprint(r.ProtocolVersion), short(r.SHA256), fmt.Sprintf("process %d", r.PID), is)
	}
	if len(p.Running) == 0 {
		d.line(1, "<none>")
	}
}

func (d *description) schema(schema json.RawMessage) {
	if len(schema) == 0 {
		d.line(1, "<none>")
		return
	}
	text, err := json.MarshalIndent(schema, "", "  ")
	if err != nil {
		text = schema
	}
	for line := range strings.Lines(string(text)) {
		d.line(1, strings.TrimSuffix(line, "\n"))
	}
}
