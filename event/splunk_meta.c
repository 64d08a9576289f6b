/*
 * What holds for several envelopes: see splunk_meta.h.
 */

#include "event/splunk_meta.h"
#include "event/lines.h"
#include "event/repair.h"
#include "event/stream.h"

#include <string.h>

const char *const lb_splunk_names[LB_SPLUNK_METAS] = {"host", "source",
                                                      "sourcetype", "index"};

int
lb_splunk_stream(const lb_splunk_out_t *w)
{
    return lb_stream_valid((const char *)w->meta[LB_SPLUNK_INDEX].text,
                           w->meta[LB_SPLUNK_INDEX].len);
}

int
lb_splunk_allowed(const lb_splunk_out_t *w)
{
    return w->streams == NULL || !lb_splunk_stream(w) ||
           lb_streams_have(w->streams, strlen(w->streams),
                           (const char *)w->meta[LB_SPLUNK_INDEX].text,
                           w->meta[LB_SPLUNK_INDEX].len);
}

int
lb_splunk_enter(lb_splunk_out_t *w)
{
    const uint8_t begin[] = {LB_LINES_CONTEXT, '{'};
    const int stream = lb_splunk_stream(w);
    int bad, fields = 0;

    if (!w->changed) {
        return 0;
    }

    bad = lb_out_put(&w->out, begin, 2);
    if (stream) {
        bad |= lb_out_puts(&w->out, "\"stream\":\"") ||
               lb_out_put(&w->out, w->meta[LB_SPLUNK_INDEX].text,
                          w->meta[LB_SPLUNK_INDEX].len) ||
               lb_out_puts(&w->out, "\"");
    }
    for (int i = 0; i < LB_SPLUNK_METAS; i++) {
        if (w->meta[i].len == 0 || (i == LB_SPLUNK_INDEX && stream)) {
            continue;
        }
        bad |= lb_out_puts(&w->out, fields++ > 0 ? ",\""
                                    : stream     ? ",\"fields\":{\""
                                                 : "\"fields\":{\"") ||
               lb_out_puts(&w->out, lb_splunk_names[i]) ||
               lb_out_puts(&w->out, "\":\"") ||
               lb_out_put(&w->out, w->meta[i].text, w->meta[i].len) ||
               lb_out_puts(&w->out, "\"");
    }
    bad |= lb_out_puts(&w->out, fields > 0 ? "}}\n" : "}\n");

    w->changed = 0;
    w->contexts = 1;
    return bad;
}

void
lb_splunk_set(lb_splunk_out_t *w, lb_splunk_meta_e i, const uint8_t *text,
              size_t len)
{
    if (len == w->meta[i].len && memcmp(text, w->meta[i].text, len) == 0) {
        return;
    }
    memcpy(w->meta[i].text, text, len);
    w->meta[i].len = len;
    w->changed = 1;
}

int
lb_splunk_params(lb_splunk_out_t *w, const lb_scan_options_t *options)
{
    uint8_t text[6 * LB_SPLUNK_META_MAX];

    w->streams = lb_param(options, "streams");

    for (int i = 0; i < LB_SPLUNK_METAS; i++) {
        const char *value = lb_param(options, lb_splunk_names[i]);
        uint8_t *o = text;
        size_t len = value != NULL ? strlen(value) : 0;

        if (len > LB_SPLUNK_META_MAX) {
            return -1;
        }
        lb_repair_quote(&o, (const uint8_t *)value, len, len, NULL);
        if (o - text > LB_SPLUNK_META_MAX) {
            return -1;
        }
        lb_splunk_set(w, (lb_splunk_meta_e)i, text, (size_t)(o - text));
    }
    return 0;
}
