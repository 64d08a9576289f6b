import importlib

from opentelemetry import trace
from opentelemetry.sdk._logs.export import LogRecordExportResult

from watch import keep, numbers


def watch(exporter):
    export = exporter.export

    def watched(self, batch):
        result = export(self, batch)
        if result == LogRecordExportResult.SUCCESS:
            for r in batch:
                keep(r.log_record.body, r.log_record.timestamp)
        return result

    exporter.export = watched


for protocol in ("http", "grpc"):
    watch(importlib.import_module(
        f"opentelemetry.exporter.otlp.proto.{protocol}._log_exporter")
        .OTLPLogExporter)


def span():
    return trace.use_span(trace.NonRecordingSpan(trace.SpanContext(
        0x5b8efff798038103d269b633813fc60c, 0xeee19b7ec3c1b174, False)))
