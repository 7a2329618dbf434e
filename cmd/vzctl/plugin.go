package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vzreconciler/vzreconciler/internal/printer"
	"github.com/vzreconciler/vzreconciler/plugins"
	"github.com/vzreconciler/vzreconciler/reconciler/bundle"
)

func (a *app) pluginCmd() *cobra.Command {
	var dirs pluginDirs
	cmd := group("plugin", "List, inspect and test plugins (no daemon needed)", `  vzctl plugin list
  vzctl plugin inspect qemu
  vzctl plugin test qemu --image docker.io/library/busybox`,
		a.pluginListCmd(&dirs), a.pluginInspectCmd(&dirs), a.pluginTestCmd(&dirs))
	dirs.addTo(cmd)
	return cmd
}

// The states of a listed plugin.
const (
	pluginReady    = "ready"
	pluginShadowed = "shadowed"
	pluginBroken   = "broken"
	// pluginReplaced is one that runs on in sandboxes though another was installed
	// in its place.
	pluginReplaced = "replaced"
)

// listedPlugin is a plugin that is installed, or that was and still runs.
type listedPlugin struct {
	Name             string       `json:"name,omitempty"`
	Kind             plugins.Kind `json:"kind,omitempty"`
	Version          string       `json:"version,omitempty"`
	ProtocolVersions []int        `json:"protocolVersions,omitempty"`
	Status           string       `json:"status"`
	Message          string       `json:"message,omitempty"`
	Path             string       `json:"path"`
	SHA256           string       `json:"sha256,omitempty"`
	Abstract         string       `json:"abstract,omitempty"`
	// Sandboxes run on it, as "namespace/name".
	Sandboxes []string `json:"sandboxes"`
}

func (a *app) pluginListCmd(dirs *pluginDirs) *cobra.Command {
	var out output
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "Show the plugins installed, and which sandboxes run on them",
		Long: `Show the plugins installed, and which sandboxes run on them. A sandbox keeps the
plugin that it was started with: after an upgrade the old one is shown as
"replaced" for as long as a sandbox runs on it. Plugins that are shadowed by one
of the same name in an earlier directory are shown with -o wide.`,
		Example: `  vzctl plugin list
  vzctl plugin list -o wide
  vzctl plugin list -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			format, err := out.format()
			if err != nil {
				return err
			}
			l, err := a.loader(*dirs)
			if err != nil {
				return err
			}
			state, err := a.state()
			if err != nil {
				return err
			}
			list := listCLIs(cmd.Root(), l, listPlugins(l, runningPlugins(state)))
			if format != nil {
				return printList(a, format, list)
			}
			if len(list) == 0 {
				fmt.Fprintf(a.stderr, "No plugin is installed in %s.\n", strings.Join(l.Dirs(), ", "))
				return nil
			}
			return a.writePlugins(list, out.value == "wide")
		},
	}
	a.addOutput(cmd, &out, "table", "wide")
	return cmd
}

// runningPlugins returns the plugin processes of a state directory's sandboxes.
func runningPlugins(dir bundle.StateDir) map[string]plugins.Running {
	running := map[string]plugins.Running{}
	files, _ := filepath.Glob(filepath.Join(dir.Sandboxes(), "*", "*", plugins.ReattachFile)) // the pattern is good
	for _, file := range files {
		b := filepath.Dir(file)
		if r, err := plugins.RunningIn(b); err == nil {
			running[filepath.Base(filepath.Dir(b))+"/"+filepath.Base(b)] = r
		}
	}
	return running
}

// listPlugins returns what is installed, then what only runs on, then what is
// not used.
func listPlugins(l *plugins.Loader, running map[string]plugins.Running) []listedPlugin {
	found, problems := l.Load()
	list := make([]listedPlugin, 0, len(found)+len(problems))
	for _, p := range found {
		item := listed(p, pluginReady)
		if sum, err := p.Checksum(); err == nil {
			item.SHA256 = sum
		}
		list = append(list, item)
	}
	for _, name := range sortedNames(running) {
		r := running[name]
		i := slices.IndexFunc(list, func(p listedPlugin) bool {
			return p.Kind == plugins.KindRuntime && p.Name == r.Plugin && p.Version == r.Version && p.SHA256 == r.SHA256
		})
		if i < 0 {
			i = len(list)
			list = append(list, listedPlugin{
				Name: r.Plugin, Kind: plugins.KindRuntime, Version: r.Version, ProtocolVersions: []int{r.ProtocolVersion},
				Status: pluginReplaced, Message: "restart its sandboxes to move them to what is installed now",
				Path: r.Executable, SHA256: r.SHA256,
			})
		}
		list[i].Sandboxes = append(list[i].Sandboxes, name)
	}
	for _, p := range l.Shadowed() {
		list = append(list, listed(p, pluginShadowed))
	}
	for _, p := range problems {
		if errors.Is(p.Err, plugins.ErrShadowed) {
			for i := range list {
				if list[i].Path == p.Path {
					list[i].Message = p.Err.Error()
				}
			}
			continue
		}
		list = append(list, listedPlugin{Name: filepath.Base(p.Path), Status: pluginBroken, Message: p.Err.Error(), Path: p.Path})
	}
	for i := range list {
		if list[i].Sandboxes == nil {
			list[i].Sandboxes = []string{}
		}
	}
	return list
}

func listed(p *plugins.Plugin, status string) listedPlugin {
	return listedPlugin{
		Name: p.Name, Kind: p.Kind, Version: p.Version, ProtocolVersions: p.ProtocolVersions,
		Status: status, Path: p.Dir, Abstract: p.Abstract,
	}
}

func sortedNames[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (a *app) writePlugins(list []listedPlugin, wide bool) error {
	names := []string{"NAME", "KIND", "VERSION", "PROTOCOLS", "STATUS", "SANDBOXES"}
	if wide {
		names = append(names, "CHECKSUM", "PATH", "USED BY")
	}
	table := [][]printer.Cell{printer.Header(append(names, "MESSAGE")...)}
	for _, p := range list {
		if p.Status == pluginShadowed && !wide {
			continue
		}
		row := []printer.Cell{
			{Text: p.Name}, {Text: string(p.Kind)}, {Text: p.Version}, {Text: versions(p.ProtocolVersions)},
			{Text: p.Status, Color: pluginColor(p.Status)}, {Text: strconv.Itoa(len(p.Sandboxes))},
		}
		if wide {
			row = append(row, printer.Cell{Text: short(p.SHA256)}, printer.Cell{Text: p.Path}, printer.Cell{Text: strings.Join(p.Sandboxes, ",")})
		}
		table = append(table, append(row, printer.Cell{Text: oneLine(p.Message)}))
	}
	return a.table().Write(table...)
}

func pluginColor(status string) printer.Color {
	switch status {
	case pluginReady:
		return printer.Green
	case pluginBroken:
		return printer.Red
	default:
		return printer.Yellow
	}
}

func versions(list []int) string {
	words := make([]string, len(list))
	for i, v := range list {
		words[i] = strconv.Itoa(v)
	}
	return strings.Join(words, ",")
}

// short is enough of a checksum to tell two apart.
func short(sum string) string { return sum[:min(12, len(sum))] }

func oneLine(s string) string { return strings.ReplaceAll(s, "\n", "; ") }
