package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

func (a *app) logsCmd() *cobra.Command {
	var (
		sel              selection
		view             logsView
		since, sinceTime string
	)
	cmd := &cobra.Command{
		Use:   "logs NAME… | KIND/NAME… | -l SELECTOR",
		Short: "Show what containers printed",
		Long: `Show what a container printed, in all its runs: its standard output on standard
output, its standard error on standard error. --previous shows the run before the
latest alone, --console the guest's kernel and agent. The lines of several
containers have the container's name before them. The logs of a Job or a StatefulSet
are those of all its sandboxes. Of sandboxes that a selector chooses, the last ten
lines of each log are shown unless --tail says otherwise.`,
		Example: `  vzctl logs web --tail=20
  vzctl logs -f web -c nginx --timestamps
  vzctl logs web --previous
  vzctl logs -f web db --all-containers
  vzctl logs -l app=web --tail=-1
  vzctl logs web --since=10m
  vzctl logs web --since-time=2026-11-23T17:51:18Z
  vzctl logs web --console
  vzctl logs job/pi`,
		ValidArgsFunction: a.completeSandboxes,
		RunE: func(cmd *cobra.Command, args []string) error {
			if (len(args) == 0) == (sel.labels == "") {
				return usagef("say whose logs: NAME… or --selector, not both")
			}
			refs, err := parseRefs(args, sel.namespace)
			if err != nil {
				return err
			}
			if err := view.setSince(since, sinceTime); err != nil {
				return err
			}
			if err := view.check(); err != nil {
				return err
			}
			client, err := a.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			if refs, err = sandboxesOf(cmd.Context(), client, refs); err != nil {
				return err
			}
			if sel.labels != "" {
				req := &api.GetRequest{Kind: "sandbox", Namespace: sel.namespace, LabelSelector: sel.labels}
				if refs, err = selectRefs(cmd.Context(), client, req); err != nil {
					return err
				}
				if len(refs) == 0 {
					a.sayNoneFound(req)
					return nil
				}
				if !cmd.Flags().Changed("tail") {
					view.req.Tail = selectedTail
				}
			}
			reqs, err := view.requests(cmd.Context(), client, refs)
			if err != nil {
				return err
			}
			if !cmd.Flags().Changed("prefix") {
				view.prefix = len(reqs) > 1
			}
			return a.logs(cmd.Context(), client, reqs, &view)
		},
	}
	sel.addNamespace(cmd)
	f := cmd.Flags()
	f.StringVarP(&sel.labels, "selector", "l", "", "the logs of sandboxes with these labels: app=web,tier!=db")
	f.BoolVarP(&view.req.Follow, "follow", "f", false, "go on with what is printed from now on")
	f.StringVarP(&view.req.Container, "container", "c", "", "container whose log it is (default the annotated one, else the first)")
	f.BoolVar(&view.all, "all-containers", false, "the logs of all containers")
	f.BoolVar(&view.prefix, "prefix", false, "put its container's name before each line (default when there are several)")
	f.BoolVarP(&view.req.Previous, "previous", "p", false, "the run of the container before its latest")
	f.Int64Var(&view.req.Tail, "tail", -1, "only the last so many lines of each log; -1 is all")
	f.StringVar(&since, "since", "", "only lines since then: 10m ago, or a time as 2026-11-23T17:51:18Z")
	f.StringVar(&sinceTime, "since-time", "", "only lines since a time as 2026-11-23T17:51:18Z")
	f.BoolVar(&view.timestamps, "timestamps", false, "put its time before each line")
	f.BoolVar(&view.req.Console, "console", false, "the guest's console instead of a container")
	return cmd
}

// selectedTail is how much of each log is shown when nobody named it.
const selectedTail = 10

// parseSince reads "10m", or a time.
func parseSince(now time.Time, text string) (time.Time, error) {
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, usagef("--since=%s: want a duration as 10m, or a time as 2026-11-23T17:51:18Z", text)
	}
	return t, nil
}
