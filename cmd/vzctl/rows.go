package main

import (
	"cmp"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/vzreconciler/vzreconciler/internal/printer"
	"github.com/vzreconciler/vzreconciler/manifests"
)

// rows turns objects of one sort into rows of a table.
type rows struct {
	wide, namespaces bool
	// kinds puts the kind before the name: rows of several kinds are shown.
	kinds bool
	// labels shows an object's labels; noHeaders leaves the header out.
	labels, noHeaders bool
	// deleted says in a sandbox's row that it is gone.
	deleted bool
	now     time.Time
}

// tableOf names the table that an object belongs in.
func tableOf(o *object) string {
	if o.isSandbox() {
		return manifests.KindSandbox
	}
	return o.Kind
}

// header returns the names of a table's columns. Troubles, when there are any,
// come last.
func (r rows) header(table string) []printer.Cell {
	var names []string
	if r.namespaces {
		names = append(names, "NAMESPACE")
	}
	switch table {
	case manifests.KindConfigMap:
		names = append(names, "NAME", "DATA", "AGE")
		names = append(names, r.labelsHeader()...)
	case manifests.KindSecret:
		names = append(names, "NAME", "TYPE", "DATA", "AGE")
		names = append(names, r.labelsHeader()...)
	case manifests.KindPersistentVolumeClaim:
		names = append(names, "NAME", "STATUS", "CAPACITY", "REQUESTED", "ACCESS MODES", "AGE")
		names = append(names, r.labelsHeader()...)
	case manifests.KindRuntimeClass:
		names = append(names, "NAME", "HANDLER", "AGE")
		names = append(names, r.labelsHeader()...)
	case manifests.KindNetwork:
		names = append(names, "NAME", "AGE")
		names = append(names, r.labelsHeader()...)
	case kindRevision:
		names = append(names, "NAME", "CONTROLLER", "REVISION", "AGE")
		names = append(names, r.labelsHeader()...)
	case manifests.KindStatefulSet:
		names = append(names, r.withTemplate("NAME", "READY", "AGE")...)
	case manifests.KindSandboxTemplate:
		names = append(names, "NAME", "AGE")
		if r.wide {
			names = append(names, "CONTAINERS", "IMAGES")
		}
		names = append(names, r.labelsHeader()...)
	case manifests.KindSandboxWarmPool:
		names = append(names, "NAME", "READY", "DESIRED", "AGE")
		if r.wide {
			names = append(names, "TEMPLATE")
		}
		names = append(append(names, r.labelsHeader()...), "MESSAGE")
	case manifests.KindSandboxClaim:
		names = append(names, "NAME", "READY", "SANDBOX", "REASON", "AGE")
		if r.wide {
			names = append(names, "POOL", "IPS")
		}
		names = append(append(names, r.labelsHeader()...), "MESSAGE")
	case manifests.KindJob:
		names = append(names, r.withTemplate("NAME", "STATUS", "COMPLETIONS", "DURATION", "AGE")...)
	case manifests.KindCronJob:
		names = append(names, r.withTemplate("NAME", "SCHEDULE", "TIMEZONE", "SUSPEND", "ACTIVE", "LAST SCHEDULE", "AGE")...)
	default:
		names = append(names, "NAME", "READY", "STATUS", "RESTARTS", "AGE")
		if r.wide {
			names = append(names, "RUNTIME", "IMAGE", "CPUS", "MEMORY", "SOURCE")
		}
		names = append(names, r.labelsHeader()...)
		names = append(names, "MESSAGE")
	}
	return printer.Header(names...)
}

func (r rows) labelsHeader() []string {
	if !r.labels {
		return nil
	}
	return []string{"LABELS"}
}

// row returns an object's row.
func (r rows) row(o *object) []printer.Cell {
	var row []printer.Cell
	add := func(text string) { row = append(row, printer.Cell{Text: text}) }
	addLabels := func() {
		if r.labels {
			add(orNone(labels.FormatLabels(o.Labels)))
		}
	}
	if r.namespaces {
		add(o.Namespace)
	}
	if r.kinds {
		add(o.ref())
	} else {
		add(o.Name)
	}
	data := strconv.Itoa(len(o.Data) + len(o.BinaryData))
	switch tableOf(o) {
	case manifests.KindConfigMap:
		add(data)
		add(r.age(o))
		addLabels()
	case manifests.KindSecret:
		add(cmp.Or(o.Type, string(corev1.SecretTypeOpaque)))
		add(data)
		add(r.age(o))
		addLabels()
	case manifests.KindPersistentVolumeClaim:
		c := o.claim()
		add(string(c.Status.Phase))
		add(quantity(c.Status.Capacity.Storage()))
		add(quantity(c.Spec.Resources.Requests.Storage()))
		add(accessModes(c.Spec.AccessModes))
		add(r.age(o))
		addLabels()
	case manifests.KindRuntimeClass:
		add(o.Handler)
		add(r.age(o))
		addLabels()
	case manifests.KindNetwork:
		add(r.age(o))
		addLabels()
	case kindRevision:
		add(strings.ToLower(o.controller()))
		add(strconv.FormatInt(o.Revision, 10))
		add(r.age(o))
		addLabels()
	case manifests.KindSandboxTemplate:
		add(r.age(o))
		if r.wide {
			names, images := o.namesAndImages()
			add(names)
			add(images)
		}
		addLabels()
	case manifests.KindStatefulSet, manifests.KindJob, manifests.KindCronJob, manifests.KindSandboxWarmPool, manifests.KindSandboxClaim:
		row = append(row, r.workload(o)...)
		addLabels()
		row = append(row, printer.Cell{Text: o.trouble(), Color: printer.Yellow})
	default:
		add(o.readyOf())
		row = append(row, r.state(o))
		add(strconv.Itoa(int(o.restarts())))
		add(r.age(o))
		if r.wide {
			row = append(row, r.wideCells(o)...)
		}
		addLabels()
		row = append(row, printer.Cell{Text: o.trouble(), Color: printer.Yellow})
	}
	return row
}

// withTemplate adds the columns of a workload's template to its others.
func (r rows) withTemplate(names ...string) []string {
	if r.wide {
		names = append(names, "CONTAINERS", "IMAGES")
	}
	names = append(names, r.labelsHeader()...)
	return append(names, "MESSAGE")
}

// workload returns the cells of a workload between its name and its labels.
func (r rows) workload(o *object) []printer.Cell {
	var texts []string
	switch o.Kind {
	case manifests.KindJob:
		j := decodeAs[job](o)
		texts = []string{j.state(o), j.completions(), j.took(r.now), r.age(o)}
	case manifests.KindCronJob:
		c := decodeAs[cronJob](o)
		texts = []string{c.Spec.Schedule, c.timeZone(), c.suspended(), strconv.Itoa(len(c.Status.Active)), c.lastSchedule(r.now), r.age(o)}
	case manifests.KindSandboxWarmPool:
		texts = decodeAs[warmPool](o).cells(r.age(o), r.wide)
	case manifests.KindSandboxClaim:
		texts = decodeAs[sandboxClaim](o).cells(r.age(o), r.wide)
	default:
		texts = []string{decodeAs[statefulSet](o).ready(), r.age(o)}
	}
	if r.wide && o.hasTemplate() {
		names, images := o.namesAndImages()
		texts = append(texts, names, images)
	}
	cells := make([]printer.Cell, len(texts))
	for i, text := range texts {
		cells[i].Text = text
	}
	return cells
}

func (r rows) wideCells(o *object) []printer.Cell {
	runtime, images, cpus, memory, source := "", []string(nil), "", "", ""
	if s := o.Status.Runtime; s != nil {
		runtime = s.Name
		if s.Accelerator != "" {
			runtime += "/" + s.Accelerator
		}
	}
	if s := o.sandbox(); s != nil {
		if runtime == "" && s.Spec.PodTemplate.Spec.RuntimeClassName != nil {
			runtime = *s.Spec.PodTemplate.Spec.RuntimeClassName
		}
		for _, c := range s.Spec.PodTemplate.Spec.Containers {
			images = append(images, c.Image)
		}
		if s.Spec.VM.CPUs > 0 {
			cpus = strconv.Itoa(int(s.Spec.VM.CPUs))
		}
		if s.Spec.VM.Memory != nil {
			memory = s.Spec.VM.Memory.String()
		}
	}
	if p := o.Status.Source; p != nil {
		source = p.String()
		if p.Revision != nil {
			source += "@" + shortCommit(p.Commit)
		}
	}
	var cells []printer.Cell
	for _, text := range []string{runtime, strings.Join(images, ","), cpus, memory, source} {
		cells = append(cells, printer.Cell{Text: orNone(text)})
	}
	return cells
}

func (r rows) age(o *object) string {
	if o.CreationTimestamp.IsZero() {
		return "-" // of what was never applied
	}
	return age(r.now, o.CreationTimestamp.Time)
}

// age returns how long ago a time was, as kubectl shows it.
func age(now, t time.Time) string {
	return duration.HumanDuration(max(now.Sub(t), 0))
}

func (r rows) state(o *object) printer.Cell {
	if r.deleted {
		return printer.Cell{Text: "Deleted", Color: printer.Faint}
	}
	return printer.Cell{Text: o.state(), Color: stateColor(o)}
}

func stateColor(o *object) printer.Color {
	switch state := o.state(); {
	case state == string(manifests.PhaseRunning):
		if o.trouble() != "" {
			return printer.Yellow
		}
		return printer.Green
	case state == string(manifests.PhaseSucceeded):
		return printer.Green
	case state == string(manifests.PhaseFailed) || o.waiting() != nil:
		return printer.Red
	case state == string(manifests.PhaseStopped):
		return printer.Faint
	default:
		return printer.Yellow
	}
}

// trimEmpty drops the last column of a table in which only the header says
// something.
func trimEmpty(table [][]printer.Cell) [][]printer.Cell {
	last := len(table[0]) - 1
	for _, row := range table[1:] {
		if row[last].Text != "" {
			return table
		}
	}
	for i, row := range table {
		table[i] = row[:last]
	}
	return table
}

func orNone(text string) string {
	if text == "" {
		return "<none>"
	}
	return text
}
