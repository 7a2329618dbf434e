package reconciler

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/vzreconciler/vzreconciler/drivers/fake"
	"github.com/vzreconciler/vzreconciler/manifests"
)

func TestConvergenceIsTraced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spans := tracetest.NewInMemoryExporter()
		w := newWorld(t)
		w.tracer = sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans)).Tracer("test")
		w.images.delay = 3 * time.Second
		w.runtimes.faults = fake.Faults{BootDelay: duration(5 * time.Second)}
		w.start()
		defer func() {
			w.stop()
			w.runtimes.killAll()
		}()
		w.write("web.yaml", sandbox("web"))
		after(time.Minute)
		want := map[string]time.Duration{
			"converge": 8 * time.Second, "source": 0, "plan": 0, "image": 3 * time.Second, "plugin": 0,
			"boot": 5 * time.Second, "start": 0, "ready": 0,
		}
		wantSpans(t, spans.GetSpans(), want)
		root := spans.GetSpans()[len(want)-1]
		object := ""
		for _, a := range root.Attributes {
			if a.Key == "vzreconciler.object" {
				object = a.Value.AsString()
			}
		}
		if object != "Sandbox default/web" {
			t.Errorf("the root's object is %q", object)
		}
		w.wantExemplar(root.SpanContext.TraceID().String())

		// What is applied live passes no stage of a boot.
		spans.Reset()
		w.write("web.yaml", podLike("web", "restartPolicy: OnFailure"))
		after(time.Minute)
		wantSpans(t, spans.GetSpans(), map[string]time.Duration{"converge": 0, "source": 0, "ready": 0})
		w.wantPhase("web", manifests.PhaseRunning)
	})
}

// wantSpans fails the test unless there are these spans, all but the last of
// them children of that.
func wantSpans(t *testing.T, spans tracetest.SpanStubs, want map[string]time.Duration) {
	t.Helper()
	if len(spans) != len(want) {
		t.Fatalf("%d spans, want %d: %v", len(spans), len(want), spans)
	}
	root := spans[len(spans)-1]
	for _, s := range spans {
		took, ok := want[s.Name]
		if got := s.EndTime.Sub(s.StartTime); !ok || got != took {
			t.Errorf("span %s took %s, want %s", s.Name, got, took)
		}
		if s.Name != root.Name && s.Parent.SpanID() != root.SpanContext.SpanID() {
			t.Errorf("span %s is not a child of %s", s.Name, root.Name)
		}
	}
}

// wantExemplar fails the test unless a trace is an exemplar of how long a
// convergence took.
func (w *world) wantExemplar(trace string) {
	w.t.Helper()
	rec := httptest.NewRecorder()
	req := httptest.NewRequestWithContext(w.t.Context(), http.MethodGet, "/metrics", nil)
	req.Header.Set("Accept", "application/openmetrics-text")
	promhttp.HandlerFor(w.reg, promhttp.HandlerOpts{EnableOpenMetrics: true}).ServeHTTP(rec, req)
	if !strings.Contains(rec.Body.String(), `trace_id="`+trace+`"`) {
		w.t.Errorf("no exemplar has trace %s", trace)
	}
}
