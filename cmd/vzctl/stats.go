package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/drivers/wire"
	"github.com/vzreconciler/vzreconciler/internal/printer"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

func (a *app) statsCmd() *cobra.Command {
	var (
		sel      selection
		noStream bool
		out      output
		interval time.Duration
		view     statsView
	)
	cmd := &cobra.Command{
		Use:   "stats [NAME…]",
		Short: "Show what sandboxes use: CPU, memory, processes, network, disk",
		Long: `Show what running sandboxes use, again and again: on a terminal in place, else
one table after the other; with -o json one document after the other. With
--no-stream it is shown once.

CPU is the share of one CPU over the interval; HOST MEM is what the VM takes of
the host's memory. With -o wide there is the pressure too, where the guest's kernel
keeps it: the share of the last ten seconds in which some processes waited for CPU,
memory or disk, and in which all did. (spec.vm.kernel.args: [psi=0] turns it off.)`,
		Example: `  vzctl stats
  vzctl stats -c web
  vzctl stats --sort-by cpu -o wide
  vzctl stats web --no-stream
  vzctl stats --no-stream -o json`,
		ValidArgsFunction: a.completeSandboxes,
		RunE: func(cmd *cobra.Command, args []string) error {
			refs, err := parseSandboxes(args, sel.namespace)
			if err != nil {
				return err
			}
			format, err := out.format()
			if err != nil {
				return err
			}
			if err := view.check(); err != nil {
				return err
			}
			if interval < 100*time.Millisecond {
				return usagef("--interval must be at least 100ms")
			}
			client, err := a.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			view.wide = out.value == "wide"
			show := func(uses []usage) error { return a.table().Write(view.rows(uses)...) }
			switch {
			case format != nil:
				show = func(uses []usage) error { return printList(a, format, uses) }
			case !noStream && printer.IsTerminal(a.stdout):
				screen := newScreen(a.stdout, printer.WantsColor(a.stdout, a.getenv))
				defer screen.close()
				show = func(uses []usage) error { return screen.show(view.rows(uses)) }
			}
			return streamStats(cmd.Context(), client, refs, interval, noStream, func(uses []usage) error {
				view.sort(uses)
				return show(uses)
			})
		},
	}
	sel.addNamespace(cmd)
	f := cmd.Flags()
	f.BoolVar(&noStream, "no-stream", false, "show it once")
	f.DurationVar(&interval, "interval", time.Second, "time between two looks")
	f.BoolVarP(&view.containers, "containers", "c", false, "show each container too")
	f.StringVar(&view.sortBy, "sort-by", sortByName, "order of the rows: name, cpu or memory")
	a.completeFlag(cmd, "sort-by", sortByName, sortByCPU, sortByMemory)
	a.addOutput(cmd, &out, "table", "wide")
	return cmd
}

// streamStats shows, at each interval, the use since the one before.
func streamStats(ctx context.Context, client *api.Client, refs []*api.Ref, interval time.Duration, once bool, show func([]usage) error) error {
	look := func() (map[string]drivers.Statistics, []*api.SandboxStatistics, error) {
		resp, err := client.Statistics(ctx, &api.StatisticsRequest{Objects: refs})
		if err != nil {
			return nil, nil, err
		}
		stats := map[string]drivers.Statistics{}
		for _, item := range resp.GetItems() {
			if item.GetError() == "" {
				stats[statsKey(item)] = wire.ToStatistics(item.GetStatistics())
			}
		}
		return stats, resp.GetItems(), nil
	}
	before, _, err := look()
	if err != nil {
		return err
	}
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
		now, items, err := look()
		if err != nil {
			return err
		}
		uses := make([]usage, len(items))
		for i, item := range items {
			uses[i] = newUsage(item, before[statsKey(item)], now[statsKey(item)])
		}
		if err := show(uses); err != nil || once {
			return err
		}
		before = now
	}
}

func statsKey(item *api.SandboxStatistics) string {
	return item.GetObject().GetNamespace() + "/" + item.GetObject().GetName()
}

// usage is what one sandbox uses.
type usage struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// CPUPercent is the share of one CPU since the look before.
	CPUPercent float64 `json:"cpuPercent"`
	// ContainerCPUPercent is that of each container.
	ContainerCPUPercent map[string]float64 `json:"containerCpuPercent,omitempty"`
	drivers.Statistics
	Error string `json:"error,omitempty"`
}

func newUsage(item *api.SandboxStatistics, before, now drivers.Statistics) usage {
	u := usage{
		Namespace: item.GetObject().GetNamespace(), Name: item.GetObject().GetName(),
		Statistics: now, Error: item.GetError(),
	}
	u.CPUPercent = cpuPercent(before.Time, now.Time, before.Sandbox, now.Sandbox)
	for name, use := range now.Containers {
		if u.ContainerCPUPercent == nil {
			u.ContainerCPUPercent = map[string]float64{}
		}
		u.ContainerCPUPercent[name] = cpuPercent(before.Time, now.Time, before.Containers[name], use)
	}
	return u
}

// cpuPercent returns the share of one CPU between two looks.
func cpuPercent(from, to time.Time, before, now drivers.ResourceUse) float64 {
	elapsed := to.Sub(from).Microseconds()
	// A counter that went back belongs to another boot.
	if from.IsZero() || elapsed <= 0 || now.CPUUsec < before.CPUUsec {
		return 0
	}
	return 100 * float64(now.CPUUsec-before.CPUUsec) / float64(elapsed)
}
