package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/vzreconciler/vzreconciler/internal/version"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

func (a *app) systemCmd() *cobra.Command {
	return group("system", "Show the daemon's state and version", `  vzctl system status
  vzctl system version`,
		a.systemStatusCmd(), a.systemVersionCmd())
}

func (a *app) systemStatusCmd() *cobra.Command {
	var out output
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show what the daemon watches and how it fares",
		Example: `  vzctl system status
  vzctl system status -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			format, err := out.format()
			if err != nil {
				return err
			}
			client, err := a.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			status, err := client.Status(cmd.Context(), &api.StatusRequest{})
			if err != nil {
				return err
			}
			if format != nil {
				return a.printThing(format, status)
			}
			d := newDescription(time.Now())
			d.status(status)
			return d.writeTo(a.stdout)
		},
	}
	a.addOutput(cmd, &out, "table")
	return cmd
}

func (d *description) status(s *api.StatusResponse) {
	d.field(0, "Version", s.GetVersion())
	d.field(0, "PID", strconv.FormatInt(s.GetPid(), 10))
	if t := s.GetStartedAt(); t != nil {
		d.field(0, "Started", d.since(t.AsTime()))
	}
	d.field(0, "State", s.GetStateDir())
	d.field(0, "Manifests", strings.Join(s.GetManifestDirs(), ", "))
	d.field(0, "Metrics", s.GetMetricsAddr())
	if t := s.GetLastSync(); t != nil {
		d.field(0, "Last sync", d.since(t.AsTime()))
	} else {
		d.field(0, "Last sync", "never")
	}
	if t := s.GetSuspendedSince(); t != nil {
		d.field(0, "Suspended", "no manifest is followed since "+d.since(t.AsTime())+": vzctl reconcile resume --all")
	}
	d.field(0, "Sandboxes", phases(s.GetPhases()))
	d.sources(s.GetSources())
	d.section("Runtimes")
	for _, r := range s.GetRuntimes() {
		name, text := r.GetName(), "ready"
		if name == s.GetDefaultRuntime() {
			name += " (default)"
		}
		if !r.GetReady() {
			text = "not usable: " + r.GetMessage()
		}
		d.line(1, name, r.GetVersion(), text)
	}
	if len(s.GetRuntimes()) == 0 {
		d.line(1, "<none>")
	}
	if errs := s.GetSourceErrors(); len(errs) > 0 {
		d.section("Errors in manifests")
		for _, e := range errs {
			d.line(1, sourceError(e))
		}
	}
	if held := s.GetPruneHeld(); len(held) > 0 {
		d.section("Removals held (vzctl prune --confirm)")
		for _, name := range held {
			d.line(1, name)
		}
	}
}

// sources tells how each source of manifests fares.
func (d *description) sources(sources []*api.SourceStatus) {
	if len(sources) == 0 {
		return
	}
	d.section("Sources")
	for _, s := range sources {
		seen, commit := "never seen completely", ""
		if t := s.GetLastSync(); t != nil {
			seen = "seen " + age(d.now, t.AsTime()) + " ago"
		}
		if s.GetCommit() != "" {
			commit = fmt.Sprintf("commit %s by %s", shortCommit(s.GetCommit()), s.GetAuthor())
		}
		d.line(1, s.GetName(), seen, commit)
		d.field(2, "Problem", s.GetMessage())
	}
}

// phases returns "2 Running, 1 Starting".
func phases(counts map[string]int64) string {
	var parts []string
	for _, phase := range slices.Sorted(maps.Keys(counts)) {
		if counts[phase] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", counts[phase], phase))
		}
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}

// sourceError returns "file:line:col: message".
func sourceError(e *api.SourceError) string {
	at := e.GetFile()
	if e.GetLine() > 0 {
		at += ":" + strconv.Itoa(int(e.GetLine()))
		if e.GetColumn() > 0 {
			at += ":" + strconv.Itoa(int(e.GetColumn()))
		}
	}
	if at == "" || strings.HasPrefix(e.GetMessage(), at) {
		return e.GetMessage()
	}
	return at + ": " + e.GetMessage()
}

func (a *app) systemVersionCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Show the versions of vzctl and of the daemon",
		Example: `  vzctl system version`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := a.printf("vzctl:        %s\n", version.String()); err != nil {
				return err
			}
			client, err := a.dial(cmd.Context())
			if errors.Is(err, api.ErrUnreachable) {
				return a.printf("vzreconciler: not running\n")
			}
			if err != nil {
				return err
			}
			defer client.Close()
			status, err := client.Status(cmd.Context(), &api.StatusRequest{})
			if err != nil {
				return err
			}
			return a.printf("vzreconciler: %s\n", status.GetVersion())
		},
	}
}
