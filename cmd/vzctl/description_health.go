package main

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/vzreconciler/vzreconciler/manifests"
)

// generation tells which spec is wanted, which one is applied, and since when.
func (d *description) generation(o *object) {
	text := fmt.Sprint(o.Generation)
	applied := o.Status.LastApplied
	switch {
	case applied == nil:
		text += " (not applied yet)"
	case applied.Generation != o.Generation:
		text += fmt.Sprintf(" (what runs is of %d)", applied.Generation)
	}
	d.field(0, "Generation", text)
	if applied == nil {
		return
	}
	text = d.since(applied.Time.Time)
	if applied.Class != "" {
		text += fmt.Sprintf(" (%s): %s", applied.Class, strings.Join(applied.Fields, ", "))
	}
	d.field(0, "Last applied", text)
}

func (d *description) dependencies(on []manifests.Dependency) {
	var words []string
	for _, dep := range on {
		words = append(words, fmt.Sprintf("%s/%s %s", strings.ToLower(dep.Kind), dep.Name, dep.Condition))
	}
	d.field(0, "Depends on", strings.Join(words, ", "))
}

// probe shows a probe as kubectl does.
func (d *description) probe(name string, p *corev1.Probe) {
	if p == nil {
		return
	}
	what := ""
	switch {
	case p.Exec != nil:
		what = fmt.Sprintf("exec %v", p.Exec.Command)
	case p.HTTPGet != nil:
		what = fmt.Sprintf("http-get %s://%s:%s%s", strings.ToLower(string(p.HTTPGet.Scheme)), p.HTTPGet.Host, p.HTTPGet.Port.String(), p.HTTPGet.Path)
	case p.TCPSocket != nil:
		what = fmt.Sprintf("tcp-socket %s:%s", p.TCPSocket.Host, p.TCPSocket.Port.String())
	case p.GRPC != nil:
		what = fmt.Sprintf("grpc :%d", p.GRPC.Port)
	}
	d.field(2, name, fmt.Sprintf("%s delay=%ds timeout=%ds period=%ds #success=%d #failure=%d", what,
		p.InitialDelaySeconds, p.TimeoutSeconds, p.PeriodSeconds, p.SuccessThreshold, p.FailureThreshold))
}
