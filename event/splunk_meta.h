/*
 * Splunk's HTTP Event Collector: what holds for several events of a request,
 * and the room they are written to.  Private to its formats.
 */

#ifndef _LB_SPLUNK_META_H_INCLUDED_
#define _LB_SPLUNK_META_H_INCLUDED_

#include <stddef.h>
#include <stdint.h>

#include "event/format.h"
#include "event/out.h"
#include "event/stream.h"

/* Bytes of a host, source, sourcetype or index, as JSON. */
#define LB_SPLUNK_META_MAX 1024

/* A context line: four of them, their names, and a stream. */
#define LB_SPLUNK_CONTEXT_MAX                                                  \
    (4 * LB_SPLUNK_META_MAX + 128 + LB_STREAM_NAME_MAX)

/* The words for one that is longer. */
#define LB_SPLUNK_META_WORDS                                                   \
    "host, source, sourcetype and index have at most 1024 bytes"

/* The reply where everything was taken. */
#define LB_SPLUNK_SUCCESS "200 {\"text\":\"Success\",\"code\":0}"

typedef enum {
    LB_SPLUNK_HOST,
    LB_SPLUNK_SOURCE,
    LB_SPLUNK_SOURCETYPE,
    LB_SPLUNK_INDEX,
    LB_SPLUNK_METAS
} lb_splunk_meta_e;

extern const char *const lb_splunk_names[LB_SPLUNK_METAS];

/* All zero at first, but for out. */
typedef struct {
    lb_out_t out;

    /* in force, the insides of JSON strings; len 0: none */
    struct {
        uint8_t text[LB_SPLUNK_META_MAX];
        size_t len;
    } meta[LB_SPLUNK_METAS];
    int changed;         /* the context line in force is another one */
    int contexts;        /* there are some, as in lb_scan_result_t */
    const char *streams; /* those that may be written to; NULL: all */
} lb_splunk_out_t;

/* Is the index in force a stream? */
int lb_splunk_stream(const lb_splunk_out_t *w);

/* May it be written to, if it is one? */
int lb_splunk_allowed(const lb_splunk_out_t *w);

/* The context line that is in force now, if it is not there already: 0, or not
 * 0 if there is no room. */
int lb_splunk_enter(lb_splunk_out_t *w);

/* From here on; len is at most LB_SPLUNK_META_MAX. */
void lb_splunk_set(lb_splunk_out_t *w, lb_splunk_meta_e i, const uint8_t *text,
                   size_t len);

/* The parameters that hold from the begin: 0, or -1, one is too long. */
int lb_splunk_params(lb_splunk_out_t *w, const lb_scan_options_t *options);

#endif /* _LB_SPLUNK_META_H_INCLUDED_ */
