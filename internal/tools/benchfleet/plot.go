package main

import (
	"fmt"
	"math"
	"strings"
)

// point is what one object costs in a fleet of a size.
type point struct {
	objects int
	bytes   float64 // resident memory
	cpu     float64 // to converge, ms
	resync  float64 // CPU of a look that finds no change, µs
}

const (
	plotWidth, plotHeight = 640, 320
	plotLeft, plotRight   = 50, 620
	plotTop, plotBottom   = 50, 280
)

// plot draws what an object costs over the size of the fleet, each cost as a
// multiple of what it is in the largest: flat lines are what is wanted.
func plot(points []point) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n", plotWidth, plotHeight)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="white"/>`+"\n", plotWidth, plotHeight)
	fmt.Fprintf(&b, `<text x="%d" y="20" font-size="14">Cost of one object, relative to the largest fleet</text>`+"\n", plotLeft)
	last := points[len(points)-1]
	lines := []struct {
		name, color string
		value       func(point) float64
	}{
		{fmt.Sprintf("memory, 1 = %.1f KiB", last.bytes/1024), "#1f77b4", func(p point) float64 { return p.bytes / last.bytes }},
		{fmt.Sprintf("CPU to converge, 1 = %.1f ms", last.cpu), "#d62728", func(p point) float64 { return p.cpu / last.cpu }},
		{fmt.Sprintf("CPU of a resync, 1 = %.1f µs", last.resync), "#2ca02c", func(p point) float64 { return p.resync / last.resync }},
	}
	top := 2.0
	for _, l := range lines {
		for _, p := range points {
			top = max(top, math.Ceil(l.value(p)))
		}
	}
	first := math.Log(float64(points[0].objects))
	x := func(n int) float64 {
		return plotLeft + (plotRight-plotLeft)*(math.Log(float64(n))-first)/max(math.Log(float64(last.objects))-first, 1)
	}
	y := func(v float64) float64 { return plotBottom - (plotBottom-plotTop)*v/top }
	for v := range int(top) + 1 {
		fmt.Fprintf(&b, `<path d="M%d %.1fH%d" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%d</text>`+"\n",
			plotLeft, y(float64(v)), plotRight, plotLeft-8, y(float64(v))+4, v)
	}
	for _, p := range points {
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" text-anchor="middle">%d</text>`+"\n", x(p.objects), plotBottom+18, p.objects)
	}
	for i, l := range lines {
		var at []string
		for _, p := range points {
			at = append(at, fmt.Sprintf("%.1f,%.1f", x(p.objects), y(l.value(p))))
		}
		fmt.Fprintf(&b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", strings.Join(at, " "), l.color)
		fmt.Fprintf(&b, `<text x="%d" y="40" fill="%s">%s</text>`+"\n", plotLeft+190*i, l.color, l.name)
	}
	b.WriteString("</svg>\n")
	return []byte(b.String())
}
