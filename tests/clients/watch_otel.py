from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http import _log_exporter
from opentelemetry.sdk._logs.export import LogRecordExportResult

from watch import keep, numbers

export = _log_exporter.OTLPLogExporter.export


def watched(self, batch):
    result = export(self, batch)
    if result == LogRecordExportResult.SUCCESS:
        for r in batch:
            keep(r.log_record.body, r.log_record.timestamp)
    return result


_log_exporter.OTLPLogExporter.export = watched


def span():
    return trace.use_span(trace.NonRecordingSpan(trace.SpanContext(
        0x5b8efff798038103d269b633813fc60c, 0xeee19b7ec3c1b174, False)))
