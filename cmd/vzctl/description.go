package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/vzreconciler/vzreconciler/internal/printer"
	"github.com/vzreconciler/vzreconciler/manifests"
	"github.com/vzreconciler/vzreconciler/reconciler/api"
)

// description is an object at length, laid out as kubectl does.
type description struct {
	now  time.Time
	text strings.Builder
	out  *tabwriter.Writer
}

func newDescription(now time.Time) *description {
	d := &description{now: now}
	d.out = tabwriter.NewWriter(&d.text, 0, 8, 2, ' ', 0)
	return d
}

func (d *description) writeTo(w io.Writer) error {
	if err := d.out.Flush(); err != nil {
		return err
	}
	// A column that a row leaves empty must not leave blanks behind.
	for line := range strings.Lines(d.text.String()) {
		if _, err := fmt.Fprintln(w, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

// line writes cells at a depth of indentation.
func (d *description) line(depth int, cells ...string) {
	for i := range cells {
		cells[i] = printer.Sanitize(cells[i])
	}
	fmt.Fprintf(d.out, "%s%s\n", strings.Repeat("  ", depth), strings.Join(cells, "\t"))
}

// field writes "name: value" unless there is none.
func (d *description) field(depth int, name, value string) {
	if value != "" {
		d.line(depth, name+":", value)
	}
}

// section ends the columns so far: what follows lines up by itself.
func (d *description) section(name string) {
	_ = d.out.Flush() // the buffer takes everything
	d.line(0, name+":")
}

func (d *description) object(o *object) {
	d.field(0, "Name", o.Name)
	d.field(0, "Namespace", o.Namespace)
	d.field(0, "Kind", o.Kind+" ("+o.APIVersion+")")
	d.pairs("Labels", o.Labels)
	d.pairs("Annotations", o.Annotations)
	if !o.CreationTimestamp.IsZero() {
		d.field(0, "Created", d.since(o.CreationTimestamp.Time))
	}
	d.source(o.Status.Source)
	d.field(0, "Controlled By", o.controller())
	switch {
	case o.isSandbox():
		d.sandbox(o)
		return
	case o.isWorkload():
		d.workload(o)
		return
	}
	switch o.Kind {
	case manifests.KindPersistentVolumeClaim:
		d.claim(o)
		return
	case manifests.KindSandboxTemplate:
		d.sandboxTemplate(o)
		return
	}
	if o.Kind == manifests.KindRuntimeClass {
		d.field(0, "Handler", o.Handler)
		return
	}
	d.field(0, "Type", o.Type)
	d.data(o)
}

// source tells where the manifest came from, and of which commit it is.
func (d *description) source(s *manifests.Source) {
	if s == nil {
		return
	}
	d.field(0, "Source", s.String())
	if s.Revision == nil {
		return
	}
	d.field(0, "Commit", s.Commit)
	d.field(0, "Author", s.Author)
	d.field(0, "Committed", d.since(s.Time.Time))
	d.field(0, "Signed by", s.Signer)
}

// shortCommit is the part of a commit's hash that people read.
func shortCommit(hash string) string { return hash[:min(len(hash), 7)] }

// data lists the keys of a ConfigMap or Secret with the values' sizes: values
// may be secret, or long.
func (d *description) data(o *object) {
	d.section("Data")
	for _, key := range slices.Sorted(maps.Keys(o.Data)) {
		d.line(1, key+":", fmt.Sprintf("%d bytes", valueSize(o.Data[key], o.Kind == manifests.KindSecret)))
	}
	for _, key := range slices.Sorted(maps.Keys(o.BinaryData)) {
		d.line(1, key+":", fmt.Sprintf("%d bytes", valueSize(o.BinaryData[key], true)))
	}
}

// valueSize returns the size of a value of a ConfigMap or Secret, 0 if it is no
// text.
func valueSize(value json.RawMessage, base64 bool) int {
	var (
		text string
		data []byte
	)
	if base64 {
		if json.Unmarshal(value, &data) != nil {
			return 0
		}
		return len(data)
	}
	if json.Unmarshal(value, &text) != nil {
		return 0
	}
	return len(text)
}

func (d *description) sandbox(o *object) {
	d.field(0, "Phase", string(o.Status.Phase))
	d.generation(o)
	if t := o.Status.StartTime; t != nil {
		d.field(0, "Started", d.since(t.Time))
	}
	d.field(0, "IPs", strings.Join(o.Status.PodIPs, ", "))
	if s := o.sandbox(); s != nil {
		d.dependencies(s.Spec.DependsOn)
		d.vm(s.Spec.VM)
	}
	d.runtime(o.Status.Runtime)
	d.containers(o)
	d.conditions(o.Status.Conditions)
}

func (d *description) vm(vm manifests.VM) {
	d.section("VM")
	if vm.CPUs > 0 {
		d.field(1, "CPUs", fmt.Sprint(vm.CPUs))
	}
	if vm.Memory != nil {
		d.field(1, "Memory", vm.Memory.String())
	}
	if vm.Disk != nil {
		d.field(1, "Disk", vm.Disk.String())
	}
	d.field(1, "Kernel", vm.Kernel.Name)
	d.field(1, "Kernel arguments", strings.Join(vm.Kernel.Args, " "))
}

func (d *description) runtime(r *manifests.RuntimeStatus) {
	if r == nil {
		return
	}
	d.section("Runtime")
	d.field(1, "Name", r.Name)
	d.field(1, "Hypervisor", r.Hypervisor)
	d.field(1, "Machine", r.Machine)
	accelerator := r.Accelerator
	if r.AcceleratorReason != "" {
		accelerator += " (" + r.AcceleratorReason + ")"
	}
	d.field(1, "Accelerator", accelerator)
	d.field(1, "Kernel version", r.KernelVersion)
	d.field(1, "Boot ID", r.BootID)
	if r.PluginPID > 0 {
		d.field(1, "Plugin PID", fmt.Sprint(r.PluginPID))
	}
	if r.HypervisorPID > 0 {
		d.field(1, "Hypervisor PID", fmt.Sprint(r.HypervisorPID))
	}
	if len(r.Stages) > 1 {
		var stages []string
		for i, s := range r.Stages[1:] {
			stages = append(stages, fmt.Sprintf("%s +%s", s.Name, s.Time.Sub(r.Stages[i].Time.Time).Round(time.Millisecond)))
		}
		d.field(1, "Start-up", strings.Join(stages, ", "))
	}
}

func (d *description) containers(o *object) {
	spec := map[string]corev1.Container{}
	if s := o.sandbox(); s != nil {
		for _, c := range s.AllContainers() {
			spec[c.Name] = c
		}
	}
	d.containerList("Init containers", o.Status.InitContainerStatuses, spec)
	d.containerList("Containers", o.Status.ContainerStatuses, spec)
}

func (d *description) containerList(title string, statuses []corev1.ContainerStatus, spec map[string]corev1.Container) {
	if len(statuses) == 0 {
		return
	}
	d.section(title)
	for _, c := range statuses {
		d.line(1, c.Name+":")
		d.field(2, "Image", c.Image)
		d.field(2, "Image ID", c.ImageID)
		if s, ok := spec[c.Name]; ok {
			d.field(2, "Command", strings.Join(s.Command, " "))
			d.field(2, "Args", strings.Join(s.Args, " "))
			d.env(s.Env)
			d.mounts(s.VolumeMounts)
			d.probe("Startup", s.StartupProbe)
			d.probe("Liveness", s.LivenessProbe)
			d.probe("Readiness", s.ReadinessProbe)
		}
		d.containerState("State", c.State)
		d.containerState("Last state", c.LastTerminationState)
		d.field(2, "Ready", fmt.Sprint(c.Ready))
		d.field(2, "Restarts", fmt.Sprint(c.RestartCount))
	}
}

func (d *description) env(env []corev1.EnvVar) {
	for i, e := range env {
		name := ""
		if i == 0 {
			name = "Environment:"
		}
		value := e.Value
		if from := e.ValueFrom; from != nil {
			switch {
			case from.SecretKeyRef != nil:
				value = fmt.Sprintf("<key %q of secret %s>", from.SecretKeyRef.Key, from.SecretKeyRef.Name)
			case from.ConfigMapKeyRef != nil:
				value = fmt.Sprintf("<key %q of configmap %s>", from.ConfigMapKeyRef.Key, from.ConfigMapKeyRef.Name)
			case from.FieldRef != nil:
				value = fmt.Sprintf("<%s>", from.FieldRef.FieldPath)
			default:
				value = "<set elsewhere>"
			}
		}
		d.line(2, name, e.Name+"="+value)
	}
}

func (d *description) mounts(mounts []corev1.VolumeMount) {
	for i, m := range mounts {
		name := ""
		if i == 0 {
			name = "Mounts:"
		}
		text := m.MountPath + " from " + m.Name
		if m.SubPath != "" {
			text += "/" + m.SubPath
		}
		if m.ReadOnly {
			text += " (read-only)"
		}
		d.line(2, name, text)
	}
}

func (d *description) containerState(name string, s corev1.ContainerState) {
	switch {
	case s.Running != nil:
		d.field(2, name, "Running since "+d.since(s.Running.StartedAt.Time))
	case s.Terminated != nil:
		t := s.Terminated
		text := fmt.Sprintf("Terminated: %s, exit code %d", orNone(t.Reason), t.ExitCode)
		if t.Signal != 0 {
			text += fmt.Sprintf(", signal %d", t.Signal)
		}
		if !t.FinishedAt.IsZero() {
			text += ", " + d.since(t.FinishedAt.Time)
		}
		d.field(2, name, text)
		d.field(3, "Message", t.Message)
	case s.Waiting != nil:
		d.field(2, name, "Waiting: "+orNone(s.Waiting.Reason))
		d.field(3, "Message", s.Waiting.Message)
	}
}

func (d *description) conditions(conditions []metav1.Condition) {
	if len(conditions) == 0 {
		return
	}
	d.section("Conditions")
	d.line(1, "TYPE", "STATUS", "AGE", "REASON", "MESSAGE")
	for _, c := range conditions {
		d.line(1, c.Type, string(c.Status), age(d.now, c.LastTransitionTime.Time), c.Reason, c.Message)
	}
}

// plan shows what is done next, and what that waits for.
func (d *description) plan(p *api.PlanResponse) {
	d.section("Plan")
	goal := p.GetGoal()
	if p.GetRebuild() != "" {
		goal += ", with the virtual machine made anew: " + p.GetRebuild()
	}
	d.field(1, "Goal", goal)
	step := func(name string, s *api.PlanStep) {
		what := s.GetVerb()
		if s.GetContainer() != "" {
			what += " " + s.GetContainer()
		}
		d.line(1, name, what+": "+s.GetDescription())
	}
	if s := p.GetCurrent(); s != nil {
		step("Now:", s)
		d.line(1, "", p.GetNote())
	}
	name := "Next:"
	for _, s := range p.GetNext() {
		step(name, s)
		name = ""
	}
	if p.GetCurrent() == nil && len(p.GetNext()) == 0 {
		d.line(1, "Next:", "nothing to do")
	}
	name = "Waits:"
	for _, wait := range p.GetWaits() {
		d.line(1, name, wait)
		name = ""
	}
}

func (d *description) events(events []*api.Event) {
	if len(events) == 0 {
		d.section("Events")
		d.line(1, "<none>")
		return
	}
	d.section("Events")
	d.line(1, "TYPE", "REASON", "AGE", "MESSAGE")
	for _, e := range events {
		d.line(1, e.GetType(), e.GetReason(), eventAge(d.now, e), e.GetMessage())
	}
}

// pairs writes labels or annotations, one a line.
func (d *description) pairs(name string, m map[string]string) {
	name += ":"
	for _, k := range slices.Sorted(maps.Keys(m)) {
		d.line(0, name, k+"="+m[k])
		name = ""
	}
}

// since writes a time and how long ago it was.
func (d *description) since(t time.Time) string {
	return fmt.Sprintf("%s (%s ago)", t.Local().Format(time.RFC3339), age(d.now, t))
}
