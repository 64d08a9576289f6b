#include "event/names.h"

#define FIELD(f) (1u << (f))
#define ALL 0x7bfu /* but resource and scope */
#define OF_TRACE                                                               \
    (FIELD(LB_TRACE_ID) | FIELD(LB_SPAN_ID) | FIELD(LB_TRACE_FLAGS))
#define PROPERTIES                                                             \
    (FIELD(LB_SERVICE) | FIELD(LB_HOST) | FIELD(LB_MESSAGE) | OF_TRACE)

/* clang-format off */
#define TIME(name)     {name, LB_TIMESTAMP, LB_READ_TIME, 0, 0, 0}
#define LEVEL(name)    {name, LB_LEVEL, LB_READ_LEVEL, 0, 0, 0}
#define WORD(name)     {name, LB_LEVEL, LB_READ_WORD, 0, 0, 0}
#define SERVICE(name)  {name, LB_SERVICE, LB_READ_TEXT, 0, 0, 0}
#define HOST(name)     {name, LB_HOST, LB_READ_TEXT, 0, 0, 0}
#define TEXT(name)     {name, LB_MESSAGE, LB_READ_TEXT, 0, 0, 0}
#define MESSAGE(name)  {name, LB_MESSAGE, LB_READ_ANY, 0, 0, 0}
#define SPAN(name)     {name, LB_SPAN_ID, LB_READ_TEXT, 0, 0, 0}
#define FLAGS(name)    {name, LB_TRACE_FLAGS, LB_READ_FLAGS, 0, 0, 0}
#define NAME(name)     {name, LB_EVENT_NAME, LB_READ_TEXT, 0, 0, 0}
#define SCOPE(name)    {name, LB_SCOPE, LB_READ_OBJECT, 0, 0, 0}
#define RESOURCE(name) {name, LB_RESOURCE, LB_READ_OBJECT, \
                        LB_DOTTED | FIELD(LB_SERVICE) | FIELD(LB_HOST), 0, 0}
#define TRACE(name)    {name, LB_TRACE_ID, LB_READ_TEXT, 0, 0, 0}
#define INSIDE(name, fields) {name, LB_FIELDS, LB_READ_NOTHING, fields, 0, 0}
#define SIGN(name, sign) {name, LB_FIELDS, LB_READ_NOTHING, 0, sign, 0}

const lb_name_t lb_names[] = {
    {"timestamp", LB_TIMESTAMP, LB_READ_TIME, LB_DOTTED, 0, 0},
    TIME("time"),
    TIME("ts"),
    TIME("@timestamp"),
    TIME("Timestamp"),
    TIME("@t"),
    {"datetime", LB_TIMESTAMP, LB_READ_TIME, LB_DOTTED, 0, 0},
    TIME("date"),
    TIME("asctime"),
    TIME("timeMillis"),
    TIME("instant"),
    TIME("__REALTIME_TIMESTAMP"),
    TIME("timeUnixNano"),
    TIME("time_unix_nano"),
    TIME("eventTime"),
    TIME("event_time"),
    TIME("event.created"),
    TIME("Time"),
    TIME("_time"),
    TIME("time_iso8601"),
    TIME("time_local"),
    TIME("timestamp.$date"),
    {"t.$date", LB_TIMESTAMP, LB_READ_TIME, 0, LB_SIGN_MONGO, 0},
    {"t", LB_TIMESTAMP, LB_READ_TIME, LB_DOTTED, 0, 0},
    TIME("created"),
    TIME("created_at"),
    TIME("observedTimeUnixNano"),
    TIME("ObservedTimestamp"),
    TIME("datetime.date"),
    TIME("date_time"),
    TIME("msec"),
    TIME("start_time"),
    TIME("startTime"),
    TIME("EdgeStartTimestamp"),
    TIME("requestReceivedTimestamp"),
    TIME("lastTimestamp"),

    {"level", LB_LEVEL, LB_READ_LEVEL, LB_DOTTED, 0, 0},
    LEVEL("severity"),
    LEVEL("lvl"),
    LEVEL("log.level"),
    WORD("levelname"),
    WORD("loglevel"),
    LEVEL("Level"),
    WORD("@l"),
    WORD("@level"),
    WORD("severity_text"),
    WORD("SeverityText"),
    WORD("severityText"),
    WORD("logLevel"),
    WORD("LogLevel"),
    WORD("log_level"),
    WORD("level_name"),
    WORD("levelName"),
    WORD("level.name"),
    WORD("level.levelStr"),
    WORD("LEVEL"),
    LEVEL("Severity"),
    WORD("error_severity"),
    {"PRIORITY", LB_LEVEL, LB_READ_SYSLOG, 0, 0, 0},
    {"severity_number", LB_SEVERITY, LB_READ_OTEL, 0, 0, 0},
    {"SeverityNumber", LB_SEVERITY, LB_READ_OTEL, 0, 0, 0},
    {"severityNumber", LB_SEVERITY, LB_READ_OTEL, 0, 0, 0},
    {"levelno", LB_LEVEL, LB_READ_PYTHON, 0, 0, 0},
    WORD("priority"),
    WORD("sev"),
    WORD("detected_level"),
    {"status", LB_LEVEL, LB_READ_WORD, 0, 0, LB_SIGN_DATADOG},
    {"s", LB_LEVEL, LB_READ_WORD, 0, 0, LB_SIGN_MONGO},

    {"service", LB_SERVICE, LB_READ_TEXT, LB_DOTTED, 0, 0},
    SERVICE("service.name"),
    SERVICE("service_name"),
    SERVICE("app"),
    SERVICE("application"),
    SERVICE("serviceName"),
    SERVICE("ServiceName"),
    SERVICE("Service"),
    SERVICE("app_name"),
    SERVICE("appname"),
    SERVICE("appName"),
    SERVICE("application_name"),
    SERVICE("applicationName"),
    SERVICE("Application"),
    SERVICE("SYSLOG_IDENTIFIER"),
    SERVICE("dd.service"),
    SERVICE("kubernetes.container_name"),
    SERVICE("kubernetes.container.name"),
    SERVICE("_SYSTEMD_UNIT"),
    SERVICE("ApplicationName"),
    SERVICE("cloud_RoleName"),
    SERVICE("app-name"),
    SERVICE("programname"),
    SERVICE("program"),
    SERVICE("progname"),
    SERVICE("ident"),
    SERVICE("container_name"),
    SERVICE("container"),
    SERVICE("job"),
    {"name", LB_SERVICE, LB_READ_SIGNED, 0, 0, LB_SIGN_PID},

    {"host", LB_HOST, LB_READ_TEXT, LB_DOTTED, 0, 0},
    HOST("hostname"),
    HOST("host.name"),
    HOST("host.hostname"),
    HOST("host_name"),
    HOST("Hostname"),
    HOST("HostName"),
    HOST("Host"),
    HOST("hostName"),
    HOST("_HOSTNAME"),
    HOST("MachineName"),
    HOST("source_host"),
    HOST("syslog_hostname"),
    HOST("kubernetes.host"),
    HOST("kubernetes.node_name"),
    HOST("kubernetes.node.name"),
    HOST("agent.hostname"),
    HOST("beat.hostname"),
    HOST("HOSTNAME"),
    HOST("machineName"),
    HOST("machine_name"),
    HOST("computer_name"),
    HOST("Computer"),
    HOST("winlog.computer_name"),
    HOST("node_name"),
    HOST("node.name"),
    HOST("kubernetes.pod_node_name"),
    HOST("cloud_RoleInstance"),
    HOST("instance"),
    HOST("pod_name"),
    HOST("pod"),

    TEXT("formattedMessage"),
    MESSAGE("message"),
    MESSAGE("msg"),
    {"log", LB_MESSAGE, LB_READ_TEXT, LB_DOTTED | ALL, 0, 0},
    {"body", LB_MESSAGE, LB_READ_ANY, LB_DOTTED, 0, 0},
    {"event", LB_MESSAGE, LB_READ_TEXT, LB_DOTTED | ALL, 0, 0},
    MESSAGE("Message"),
    MESSAGE("@m"),
    MESSAGE("@message"),
    MESSAGE("RenderedMessage"),
    MESSAGE("renderedMessage"),
    {"MESSAGE", LB_MESSAGE, LB_READ_BYTES, 0, 0, 0},
    {"Body", LB_MESSAGE, LB_READ_ANY, LB_DOTTED, 0, 0},
    TEXT("body.stringValue"),
    TEXT("Body.stringValue"),
    TEXT("short_message"),
    TEXT("textPayload"),
    TEXT("_msg"),
    TEXT("@mt"),
    TEXT("MessageTemplate"),
    TEXT("messageTemplate"),
    TEXT("full_message"),
    TEXT("text"),
    TEXT("line"),
    TEXT("_raw"),
    {"record", LB_MESSAGE, LB_READ_TEXT, LB_DOTTED | ALL, 0, 0},

    SPAN("span_id"),
    SPAN("spanId"),
    SPAN("span.id"),
    SPAN("spanid"),
    SPAN("spanID"),
    SPAN("dd.span_id"),
    SPAN("otelSpanID"),
    SPAN("SpanId"),
    SPAN("SpanID"),
    SPAN("otel.span_id"),
    SPAN("@sp"),
    SPAN("logging.googleapis.com/spanId"),

    FLAGS("trace_flags"),
    FLAGS("traceFlags"),
    FLAGS("TraceFlags"),
    FLAGS("trace.flags"),
    {"flags", LB_TRACE_FLAGS, LB_READ_FLAGS, 0, 0, LB_SIGN_SPAN},

    NAME("event_name"),
    NAME("eventName"),
    NAME("EventName"),
    NAME("event.name"),

    TRACE("trace_id"),
    TRACE("traceId"),
    TRACE("trace.id"),
    TRACE("traceid"),
    TRACE("traceID"),
    TRACE("dd.trace_id"),
    TRACE("otelTraceID"),
    TRACE("TraceId"),
    TRACE("TraceID"),
    TRACE("otel.trace_id"),
    TRACE("@tr"),
    {"traceparent", LB_SPAN_ID, LB_READ_TRACEPARENT, 0, 0, 0},
    {"logging.googleapis.com/trace", LB_TRACE_ID, LB_READ_PATH, 0, 0, 0},
    {"trace", LB_TRACE_ID, LB_READ_PATH, LB_DOTTED | OF_TRACE, 0, 0},
    TRACE("operation_Id"),
    TRACE("xray_trace_id"),

    /* objects whose members count */
    INSIDE("fields", LB_DOTTED | ALL), /* Rust's tracing */
    INSIDE("jsonPayload", LB_DOTTED | ALL),
    RESOURCE("resource"),
    RESOURCE("Resource"),
    RESOURCE("ResourceAttributes"),
    SCOPE("scope"),
    SCOPE("Scope"),
    SCOPE("instrumentationScope"),
    SCOPE("InstrumentationScope"),
    INSIDE("Properties", LB_DOTTED | PROPERTIES), /* Serilog */
    INSIDE("properties", LB_DOTTED | PROPERTIES), /* Azure */
    INSIDE("kubernetes", LB_DOTTED),
    INSIDE("winlog", LB_DOTTED),
    INSIDE("node", LB_DOTTED),
    INSIDE("agent", LB_DOTTED),
    INSIDE("beat", LB_DOTTED),
    INSIDE("span", LB_DOTTED | OF_TRACE),
    INSIDE("mdc", LB_DOTTED | OF_TRACE),
    INSIDE("contextMap", LB_DOTTED | OF_TRACE),
    INSIDE("otel", LB_DOTTED | OF_TRACE),
    INSIDE("dd", LB_DOTTED),

    SIGN("pid", LB_SIGN_PID),
    SIGN("ddsource", LB_SIGN_DATADOG),
    SIGN("ddtags", LB_SIGN_DATADOG),
};
/* clang-format on */

#define ROWS (sizeof(lb_names) / sizeof(lb_names[0]))

_Static_assert(ROWS <= LB_NAMES_MAX, "a slot is a byte");

const size_t lb_names_count = ROWS;
lb_name_slot_t lb_name_slots[LB_NAME_SLOTS];
uint8_t lb_name_middles[LB_NAMES_MAX][8];

/* Before main, or when the module is loaded: nobody looks a name up yet. */
__attribute__((constructor)) static void
index_names(void)
{
    for (unsigned row = 0; row < ROWS; row++) {
        size_t len = strlen(lb_names[row].name);
        uint64_t ends = lb_name_ends((const uint8_t *)lb_names[row].name, len);
        unsigned i = lb_name_first_slot(ends);

        while (lb_name_slots[i].len != 0) {
            i = (i + 1) % LB_NAME_SLOTS;
        }
        if (len > 8) {
            memcpy(lb_name_middles[row], lb_names[row].name + 4,
                   len < 12 ? len - 4 : 8);
        }
        lb_name_slots[i].ends = ends;
        lb_name_slots[i].len = (uint8_t)len;
        lb_name_slots[i].row = (uint8_t)row;
    }
}
