package reconciler

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/vzreconciler/vzreconciler/drivers"
)

// spanStages are the parts of a convergence: each begins where the one before it
// ended, and ends with the stage that it is named after in the status.
var spanStages = []struct{ span, until string }{
	{"plan", stagePlanned},
	{"image", stageImageReady},
	{"plugin", stagePluginUp},
	{"boot", drivers.StageBooted},
	{"start", drivers.StageRunning},
}

// traceConvergence makes a trace of the way of a sandbox to Ready, from the
// stages that it passed since its manifest was seen. It returns the trace's id,
// empty if nobody traces. o.mu is held.
func (m *Manager) traceConvergence(o *object, ready time.Time) string {
	ctx, root := m.opts.Tracer.Start(context.Background(), "converge", trace.WithTimestamp(o.since), trace.WithNewRoot(), trace.WithAttributes(
		attribute.String("vzreconciler.object", o.key.String()),
		attribute.Int64("vzreconciler.generation", o.record.Generation),
		attribute.String("vzreconciler.uid", string(o.record.UID)),
		attribute.String("vzreconciler.runtime", m.runtimeOf(o.record.Sandbox)),
		attribute.String("vzreconciler.source", o.record.Source.String()),
	))
	defer root.End(trace.WithTimestamp(ready))
	if !root.SpanContext().IsValid() {
		return ""
	}
	at := o.since
	span := func(name string, until time.Time) {
		if until.Before(at) || until.After(ready) {
			return // of an earlier start: what changed was live
		}
		_, s := m.opts.Tracer.Start(ctx, name, trace.WithTimestamp(at))
		s.End(trace.WithTimestamp(until))
		at = until
	}
	if o.intent.known {
		span("source", o.intent.judged)
	}
	passed := m.runtimeStatus(o).Stages
	for _, part := range spanStages {
		for _, s := range passed {
			if s.Name == part.until {
				span(part.span, s.Time.Time)
			}
		}
	}
	span("ready", ready)
	return root.SpanContext().TraceID().String()
}
