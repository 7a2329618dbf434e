package main

import (
	"cmp"
	"maps"
	"slices"

	"github.com/vzreconciler/vzreconciler/drivers"
	"github.com/vzreconciler/vzreconciler/internal/printer"
)

// The orders of stats.
const (
	sortByName   = "name"
	sortByCPU    = "cpu"
	sortByMemory = "memory"
)

// statsView is how stats shows what it sees.
type statsView struct {
	containers, wide bool
	sortBy           string
}

func (v *statsView) check() error {
	if !slices.Contains([]string{sortByName, sortByCPU, sortByMemory}, v.sortBy) {
		return usagef("--sort-by=%s: want name, cpu or memory", v.sortBy)
	}
	return nil
}

// sort puts sandboxes in order: the greatest user first, those that tell nothing
// last.
func (v *statsView) sort(uses []usage) {
	slices.SortStableFunc(uses, func(a, b usage) int {
		byName := cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
		silent := cmp.Compare(min(len(a.Error), 1), min(len(b.Error), 1))
		switch v.sortBy {
		case sortByCPU:
			return cmp.Or(silent, cmp.Compare(b.CPUPercent, a.CPUPercent), byName)
		case sortByMemory:
			return cmp.Or(silent, cmp.Compare(b.Sandbox.MemoryBytes, a.Sandbox.MemoryBytes), byName)
		}
		return byName
	})
}

// rows returns the table.
func (v *statsView) rows(uses []usage) [][]printer.Cell {
	names := []string{"NAMESPACE", "NAME"}
	if v.containers {
		names = append(names, "CONTAINER")
	}
	names = append(names, "CPU", "MEMORY", "LIMIT", "MEM", "PIDS", "NET I/O", "BLOCK I/O", "HOST MEM")
	if v.wide {
		names = append(names, "NET PACKETS", "NET ERRORS", "PIDS LIMIT", "CPU PRESSURE", "MEM PRESSURE", "I/O PRESSURE")
	}
	table := [][]printer.Cell{printer.Header(names...)}
	for _, u := range uses {
		row := []printer.Cell{{Text: u.Namespace}, {Text: u.Name}}
		if u.Error != "" {
			table = append(table, append(row, printer.Cell{Text: u.Error, Color: printer.Yellow}))
			continue
		}
		if v.containers {
			row = append(row, printer.Cell{Text: "-"})
		}
		table = append(table, v.row(row, u.Sandbox, u.CPUPercent, limitText(u.HostMemoryBytes), true))
		if !v.containers {
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(u.Containers)) {
			row := []printer.Cell{{Text: u.Namespace}, {Text: u.Name}, {Text: name}}
			table = append(table, v.row(row, u.Containers[name], u.ContainerCPUPercent[name], "-", false))
		}
	}
	return table
}

// row adds what a sandbox, or a container in it, uses. The network is the
// sandbox's alone.
func (v *statsView) row(row []printer.Cell, u drivers.ResourceUse, cpu float64, host string, network bool) []printer.Cell {
	net := func(in, out string) string {
		if !network {
			return "-"
		}
		return in + " / " + out
	}
	texts := []string{
		percent(cpu),
		bytesText(u.MemoryBytes),
		limitText(u.MemoryLimitBytes),
		memoryPercent(u),
		count(u.Processes),
		net(bytesText(u.NetworkRxBytes), bytesText(u.NetworkTxBytes)),
		bytesText(u.BlockReadBytes) + " / " + bytesText(u.BlockWriteBytes),
		host,
	}
	if v.wide {
		limit := "-"
		if u.ProcessLimit > 0 {
			limit = count(u.ProcessLimit)
		}
		texts = append(texts,
			net(count(u.NetworkRxPackets), count(u.NetworkTxPackets)),
			net(count(u.NetworkRxErrors), count(u.NetworkTxErrors)),
			limit, pressureText(u.CPUPressure), pressureText(u.MemoryPressure), pressureText(u.IOPressure))
	}
	for _, text := range texts {
		row = append(row, printer.Cell{Text: text})
	}
	return row
}

// pressureText is the share of time in which some waited, and all.
func pressureText(p *drivers.Pressure) string {
	if p == nil {
		return "-"
	}
	return percent(p.Some) + " / " + percent(p.Full)
}
