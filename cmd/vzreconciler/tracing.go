package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/vzreconciler/vzreconciler/internal/version"
)

// tracesStopTimeout bounds how long traces not sent yet may hold the daemon's
// end up.
const tracesStopTimeout = 2 * time.Second

// newTracer returns what makes traces. They are sent by OTLP over HTTP where
// OpenTelemetry's own variables say, such as OTEL_EXPORTER_OTLP_ENDPOINT; with
// neither that nor OTEL_EXPORTER_OTLP_TRACES_ENDPOINT there are none. stop sends
// what has not been sent.
func newTracer(ctx context.Context, log *slog.Logger) (tracer trace.Tracer, stop func(), err error) {
	if os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") == "" && os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") == "" {
		return noop.NewTracerProvider().Tracer(""), func() {}, nil
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("traces: %w", err)
	}
	// The later ones win: a user's OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES.
	res, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", "vzreconciler"), attribute.String("service.version", version.String())),
		resource.WithHost(), resource.WithFromEnv())
	if err != nil {
		return nil, nil, fmt.Errorf("traces: %w", err)
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("send traces", "error", err) }))
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(res))
	stop = func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tracesStopTimeout)
		defer cancel()
		if err := provider.Shutdown(ctx); err != nil {
			log.Warn("send the last traces", "error", err)
		}
	}
	return provider.Tracer("github.com/vzreconciler/vzreconciler"), stop, nil
}
