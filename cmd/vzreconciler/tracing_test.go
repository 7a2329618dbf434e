package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	coltrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"
)

func TestTracesGoWhereTheEnvironmentSays(t *testing.T) {
	got := make(chan *coltrace.ExportTraceServiceRequest, 1)
	collector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		req := &coltrace.ExportTraceServiceRequest{}
		if err == nil {
			err = proto.Unmarshal(body, req)
		}
		if err != nil || r.URL.Path != "/v1/traces" {
			t.Errorf("%s: %v", r.URL.Path, err)
		}
		got <- req
	}))
	defer collector.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test")
	tracer, stop, err := newTracer(t.Context(), quiet())
	if err != nil {
		t.Fatal(err)
	}
	_, span := tracer.Start(t.Context(), "converge")
	span.End()
	stop()
	select {
	case req := <-got:
		attributes := map[string]string{}
		for _, a := range req.GetResourceSpans()[0].GetResource().GetAttributes() {
			attributes[a.GetKey()] = a.GetValue().GetStringValue()
		}
		if attributes["service.name"] != "vzreconciler" || attributes["deployment.environment"] != "test" {
			t.Errorf("resource %v", attributes)
		}
		if name := req.GetResourceSpans()[0].GetScopeSpans()[0].GetSpans()[0].GetName(); name != "converge" {
			t.Errorf("span %q", name)
		}
	case <-time.After(time.Minute):
		t.Fatal("nothing was sent")
	}
}

func TestNoTracesWithoutAnEndpoint(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "")
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "")
	tracer, stop, err := newTracer(t.Context(), quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	if _, span := tracer.Start(t.Context(), "converge"); span.IsRecording() {
		t.Error("a span is recorded that nobody wants")
	}
}
