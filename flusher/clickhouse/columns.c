#include "flusher/clickhouse/columns.h"

#include <stdio.h>
#include <string.h>

#include "event/lift.h"

_Static_assert(LB_LIFT_ALL == (1u << LB_COLUMNS_MORE) - 1, "LB_LIFT_*");

#define NUMBER "UInt8"
#define LOW "LowCardinality(String)"

const lb_column_t lb_columns[LB_COLUMNS] = {
    {"timestamp", "DateTime64(9, 'UTC')"},
    {"received_at", "DateTime64(6, 'UTC')"},
    {"stream", LOW},
    {"level", LOW},
    {"service", LOW},
    {"host", LOW},
    {"message", "String"},
    {"trace_id", "String"},
    {"attributes", "String"},
    {"client", "String"},
    {"broker", LOW},
    {"ring", "UUID"},
    {"seq", "UInt64"},

    /* LB_LIFT_*, in their order */
    {"span_id", "String"},
    {"trace_flags", NUMBER},
    {"severity_number", NUMBER},
    {"event_name", LOW},
    {"resource", LOW},
    {"scope", LOW},
};

/* The names, with or without their types. */
static void
list(uint32_t more, int types, char out[LB_COLUMNS_TEXT])
{
    size_t i, n = 0;

    for (i = 0; i < LB_COLUMNS; i++) {
        if (lb_columns_has(more, i)) {
            n += (size_t)snprintf(out + n, LB_COLUMNS_TEXT - n, "%s%s%s%s",
                                  i > 0 ? "," : "", lb_columns[i].name,
                                  types ? " " : "",
                                  types ? lb_columns[i].type : "");
        }
    }
}

void
lb_columns_names(uint32_t more, char out[LB_COLUMNS_TEXT])
{
    list(more, 0, out);
}

void
lb_columns_structure(uint32_t more, char out[LB_COLUMNS_TEXT])
{
    list(more, 1, out);
}

/* Moves past a prefix: 1, or 0: it is not there. */
static size_t
skip(const char **p, size_t *len, const char *prefix)
{
    size_t n = strlen(prefix);

    if (*len < n || memcmp(*p, prefix, n) != 0) {
        return 0;
    }
    *p += n;
    *len -= n;

    return 1;
}

int
lb_columns_takes(const lb_column_t *column, const char *type, size_t len)
{
    size_t brackets;
    const char *const *good;

    static const char *const texts[] = {"String", NULL};
    static const char *const numbers[] = {"UInt8", "UInt16", "UInt32", "UInt64",
                                          "Int16", "Int32",  "Int64",  NULL};

    brackets = skip(&type, &len, "LowCardinality(");
    brackets += skip(&type, &len, "Nullable(");
    good = strcmp(column->type, NUMBER) == 0 ? numbers : texts;

    while (*good != NULL && (len != strlen(*good) + brackets ||
                             memcmp(type, *good, strlen(*good)) != 0)) {
        good++;
    }

    return *good != NULL;
}
