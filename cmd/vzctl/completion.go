package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

func (a *app) completionCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "completion bash|zsh|fish",
		Short: "Print a script that completes vzctl's words in a shell",
		Example: `  source <(vzctl completion bash)
  vzctl completion zsh > "${fpath[1]}/_vzctl"
  vzctl completion fish > ~/.config/fish/completions/vzctl.fish`,
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{"bash", "zsh", "fish"},
		RunE: func(cmd *cobra.Command, args []string) error {
			switch args[0] {
			case "bash":
				return cmd.Root().GenBashCompletionV2(a.stdout, true)
			case "zsh":
				return cmd.Root().GenZshCompletion(a.stdout)
			default:
				return cmd.Root().GenFishCompletion(a.stdout, true)
			}
		},
	}
}

// completionTime bounds what a press of the tab key may cost.
const completionTime = 300 * time.Millisecond

// completeSandbox completes the name of one sandbox.
func (a *app) completeSandbox(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	return a.completeSandboxes(cmd, args, word)
}

// completeSandboxes completes the names of any number of sandboxes.
func (a *app) completeSandboxes(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return a.names(cmd, "sandbox"), cobra.ShellCompDirectiveNoFileComp
}

// completeObjects completes kinds, then names of objects of that kind.
func (a *app) completeObjects(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return a.names(cmd, args[0]), cobra.ShellCompDirectiveNoFileComp
	}
	if prefix, _, ok := strings.Cut(word, "/"); ok {
		names := a.names(cmd, prefix)
		for i, name := range names {
			names[i] = prefix + "/" + name
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
	var words []string
	for _, k := range kinds() {
		words = append(words, k.aliases[0])
	}
	return words, cobra.ShellCompDirectiveNoFileComp
}

// names asks the daemon; without one there are none.
func (a *app) names(cmd *cobra.Command, word string) []string {
	k, ok := findKind(word)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(cmd.Context()), completionTime)
	defer cancel()
	client, err := a.dial(ctx)
	if err != nil {
		return nil
	}
	defer client.Close()
	namespace, err := cmd.Flags().GetString("namespace")
	if err != nil {
		return nil
	}
	resp, err := client.Get(ctx, &api.GetRequest{Kind: k.name, Namespace: namespace})
	if err != nil {
		return nil
	}
	objects, err := decodeObjects(resp.GetObjects())
	if err != nil {
		return nil
	}
	names := make([]string, len(objects))
	for i, o := range objects {
		names[i] = o.Name
	}
	return names
}

// completeFlag completes a flag's fixed values.
func (a *app) completeFlag(cmd *cobra.Command, flag string, values ...string) {
	// It fails for flags that do not exist only, which a test of this tree finds.
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
}
