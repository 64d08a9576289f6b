package main

import (
	"context"
	"strconv"

	sdk "go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/trace"
)

type watched struct{ sdk.Exporter }

func (w watched) Export(ctx context.Context, records []sdk.Record) error {
	err := w.Exporter.Export(ctx, records)
	if err == nil {
		for _, r := range records {
			ns := strconv.FormatInt(r.Timestamp().UnixNano(), 10)
			keep(r.Body().AsString(), &ns)
		}
	}
	return err
}

func span(ctx context.Context) context.Context {
	traceID, _ := trace.TraceIDFromHex("5b8efff798038103d269b633813fc60c")
	spanID, _ := trace.SpanIDFromHex("eee19b7ec3c1b174")
	return trace.ContextWithSpanContext(ctx, trace.NewSpanContext(
		trace.SpanContextConfig{TraceID: traceID, SpanID: spanID}))
}
