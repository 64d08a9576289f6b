/*
 * Splunk's HTTP Event Collector, raw: see splunk_raw.h.
 */

#include "event/splunk_raw.h"
#include "event/repair.h"
#include "event/splunk_meta.h"
#include "event/text.h"

#include <stdlib.h>
#include <string.h>

static lb_scan_status_t
scan_raw(const uint8_t *in, size_t len, uint8_t *out, size_t cap,
         const lb_scan_options_t *options, lb_scan_result_t *res)
{
    lb_splunk_out_t w;
    lb_scan_status_t rc;
    uint8_t *repaired;
    size_t context;
    uint64_t replaced = 0;

    memset(res, 0, sizeof(*res));
    memset(&w, 0, sizeof(w));
    w.out.o = out;
    w.out.end = out + cap;

    if (lb_splunk_params(&w, options) != 0) {
        res->error = LB_SPLUNK_META_WORDS;
        return LB_SCAN_BAD;
    }
    if (!lb_splunk_allowed(&w)) {
        res->error = "this sender may not write to this index";
        return LB_SCAN_BAD;
    }
    if (lb_splunk_enter(&w) != 0) {
        return LB_SCAN_NOSPACE;
    }
    context = (size_t)(w.out.o - out);

    rc = lb_scan_text(in, len, w.out.o, cap - context, options->max_event, res);
    if (rc == LB_SCAN_BAD) {
        if (!options->patient) {
            return LB_SCAN_LATER;
        }
        repaired = malloc(LB_REPAIR_MAX(len));
        if (repaired == NULL) {
            return LB_SCAN_NOMEM;
        }
        len = lb_repair(repaired, in, len, &replaced);
        rc = lb_scan_text(repaired, len, w.out.o, cap - context,
                          options->max_event, res);
        free(repaired);
    }
    if (rc == LB_SCAN_TOOBIG) {
        res->row = 0;
        return rc;
    }
    res->out_len += context;
    res->contexts = w.contexts;
    res->replaced = replaced;
    return rc != LB_SCAN_OK ? rc
           : lb_reply_put(options->reply, LB_SPLUNK_SUCCESS,
                          sizeof(LB_SPLUNK_SUCCESS) - 1) == 0
               ? LB_SCAN_OK
               : LB_SCAN_NOMEM;
}

static size_t
raw_out_max(size_t len)
{
    size_t text = lb_scan_text_out_max(len);

    return text > SIZE_MAX / 3 - LB_SPLUNK_CONTEXT_MAX
               ? SIZE_MAX
               : 3 * text + LB_SPLUNK_CONTEXT_MAX;
}

static const char *const raw_types[] = {"", NULL};

const lb_format_t lb_format_splunk_raw = {
    .name = "splunk_raw",
    .types = raw_types,
    .scan = scan_raw,
    .out_usual = 9,
    .out_max = raw_out_max,
};
