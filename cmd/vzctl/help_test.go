package main

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// walk visits a command and all below it.
func walk(cmd *cobra.Command, visit func(*cobra.Command)) {
	visit(cmd)
	for _, c := range cmd.Commands() {
		walk(c, visit)
	}
}

func TestEveryVerbExplainsItselfWithAnExample(t *testing.T) {
	root := (&app{}).root()
	verbs := 0
	walk(root, func(cmd *cobra.Command) {
		if cmd.Name() == "help" {
			return
		}
		verbs++
		if cmd.Short == "" {
			t.Errorf("%s: no short text", cmd.CommandPath())
		}
		if strings.HasSuffix(cmd.Short, ".") {
			t.Errorf("%s: the short text ends in a full stop", cmd.CommandPath())
		}
		if !strings.Contains(cmd.Example, cmd.CommandPath()) {
			t.Errorf("%s: no example of itself", cmd.CommandPath())
		}
		if cmd.RunE == nil {
			t.Errorf("%s: does nothing", cmd.CommandPath())
		}
	})
	if verbs < 25 {
		t.Errorf("only %d commands were visited", verbs)
	}
}

// An example that does not parse is worse than none.
func TestExamplesNameFlagsThatExist(t *testing.T) {
	root := (&app{}).root()
	walk(root, func(cmd *cobra.Command) {
		for line := range strings.Lines(cmd.Example) {
			line = strings.TrimSpace(line)
			if i := strings.Index(line, "vzctl "); i > 0 {
				line = line[i:] // behind a pipe
			}
			line, _, _ = strings.Cut(line, " > ")
			words := strings.Fields(strings.TrimSuffix(line, ")"))
			if len(words) == 0 || words[0] != "vzctl" {
				t.Errorf("%s: odd example %q", cmd.CommandPath(), line)
				continue
			}
			fresh := (&app{}).root()
			found, rest, err := fresh.Find(words[1:])
			if err != nil {
				t.Errorf("%q: %v", line, err)
				continue
			}
			if err := found.ParseFlags(rest); err != nil {
				t.Errorf("%q: %v", line, err)
			}
			if err := found.ValidateArgs(found.Flags().Args()); err != nil {
				t.Errorf("%q: %v", line, err)
			}
		}
	})
}

func TestHelpNeedsNoDaemon(t *testing.T) {
	for _, verb := range []string{"", "get", "exec", "image pull", "system status"} {
		out := command(t, "", append(strings.Fields(verb), "--help", "--socket", "/nonexistent")...)
		if out.code != exitDone || !strings.Contains(out.stdout, "Examples:") {
			t.Errorf("%q: code %d, output %q", verb, out.code, out.stdout)
		}
	}
}

func TestCompletionScripts(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if out := command(t, "", "completion", shell); out.code != exitDone || !strings.Contains(out.stdout, "vzctl") {
			t.Errorf("%s: code %d", shell, out.code)
		}
	}
}

func TestNamesAreCompletedThroughTheDaemon(t *testing.T) {
	for args, want := range map[string]string{
		"logs ":             "web\n",
		"get sandboxes ":    "web\n",
		"describe sandbox/": "sandbox/web\n",
		"get s":             "sandboxes\n",
	} {
		words := strings.Split(args, " ")
		out := vzctl(t, holds(webJSON(t, 0, nil)), "", append([]string{cobra.ShellCompNoDescRequestCmd}, words...)...)
		if !strings.Contains(out.stdout, want) {
			t.Errorf("%q: %q does not have %q", args, out.stdout, want)
		}
	}
}
