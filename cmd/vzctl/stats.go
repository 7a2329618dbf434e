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
	)
	cmd := &cobra.Command{
		Use:   "stats [NAME…]",
		Short: "Show what sandboxes use: CPU, memory, processes, disk",
		Long: `Show what running sandboxes use, again and again. CPU is the share of one CPU
over the interval; HOST MEM is what the VM takes of the host's memory.`,
		Example: `  vzctl stats
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
			if interval < 100*time.Millisecond {
				return usagef("--interval must be at least 100ms")
			}
			client, err := a.dial(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			show := a.statsTable
			if format != nil {
				show = func(uses []usage, _ bool) error { return printList(a, format, uses) }
			}
			return streamStats(cmd.Context(), client, refs, interval, noStream, show)
		},
	}
	sel.addNamespace(cmd)
	f := cmd.Flags()
	f.BoolVar(&noStream, "no-stream", false, "show it once")
	f.DurationVar(&interval, "interval", time.Second, "time between two looks")
	a.addOutput(cmd, &out, "table")
	return cmd
}

// streamStats shows, at each interval, the use since the one before.
func streamStats(ctx context.Context, client *api.Client, refs []*api.Ref, interval time.Duration, once bool, show func([]usage, bool) error) error {
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
		if err := show(uses, once); err != nil || once {
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
	drivers.Statistics
	Error string `json:"error,omitempty"`
}

func newUsage(item *api.SandboxStatistics, before, now drivers.Statistics) usage {
	u := usage{
		Namespace: item.GetObject().GetNamespace(), Name: item.GetObject().GetName(),
		Statistics: now, Error: item.GetError(),
	}
	// A counter that went back belongs to another boot.
	elapsed := now.Time.Sub(before.Time).Microseconds()
	if !before.Time.IsZero() && elapsed > 0 && now.Sandbox.CPUUsec >= before.Sandbox.CPUUsec {
		u.CPUPercent = 100 * float64(now.Sandbox.CPUUsec-before.Sandbox.CPUUsec) / float64(elapsed)
	}
	return u
}

func (a *app) statsTable(uses []usage, once bool) error {
	if !once && printer.IsTerminal(a.stdout) {
		// Clear the screen and start at its top.
		if err := a.printf("\x1b[2J\x1b[H"); err != nil {
			return err
		}
	}
	return a.table().Write(statsRows(uses)...)
}

func statsRows(uses []usage) [][]printer.Cell {
	table := [][]printer.Cell{printer.Header("NAMESPACE", "NAME", "CPU", "MEMORY", "LIMIT", "MEM", "PIDS", "BLOCK I/O", "HOST MEM")}
	for _, u := range uses {
		row := []printer.Cell{{Text: u.Namespace}, {Text: u.Name}}
		if u.Error != "" {
			table = append(table, append(row, printer.Cell{Text: u.Error, Color: printer.Yellow}))
			continue
		}
		s := u.Sandbox
		for _, text := range []string{
			percent(u.CPUPercent),
			bytesText(s.MemoryBytes),
			limitText(s.MemoryLimitBytes),
			memoryPercent(s),
			count(s.Processes),
			bytesText(s.BlockReadBytes) + " / " + bytesText(s.BlockWriteBytes),
			limitText(u.HostMemoryBytes),
		} {
			row = append(row, printer.Cell{Text: text})
		}
		table = append(table, row)
	}
	return table
}
