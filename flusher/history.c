#include "flusher/history.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

static const char *const names[LB_HISTORY_SERIES] = {
    "in", "out", "backlog", "lag_ms", "requests",
};

static uint32_t
small(uint64_t n)
{
    return n < LB_HISTORY_NONE ? (uint32_t)n : LB_HISTORY_NONE - 1;
}

/* A counter that has begun anew has counted nothing yet. */
static uint32_t
grown(uint64_t now, uint64_t before)
{
    return now >= before ? small(now - before) : 0;
}

static uint32_t *
at(lb_history_t *h, int series, int64_t minute)
{
    return &h->value[series][minute % LB_HISTORY_MINUTES];
}

static void
forget(lb_history_t *h, int64_t minute)
{
    int i;

    for (i = 0; i < LB_HISTORY_SERIES; i++) {
        *at(h, i, minute) = LB_HISTORY_NONE;
    }
}

static void
begin(lb_history_t *h, const lb_history_now_t *now, int64_t minute)
{
    h->minute = minute;
    h->base = *now;
    h->most_backlog = now->backlog;
    h->most_lag_ms = now->lag_ms;
}

/* Nothing is known of the minutes from the one that ended to this one. */
static void
skip(lb_history_t *h, int64_t minute)
{
    int64_t m = h->minute;

    if (minute - m > LB_HISTORY_MINUTES) {
        m = minute - LB_HISTORY_MINUTES;
    }

    while (++m < minute) {
        forget(h, m);
    }

    if (h->first < minute - LB_HISTORY_MINUTES) {
        h->first = minute - LB_HISTORY_MINUTES;
    }
}

int
lb_history_note(lb_history_t *h, const lb_history_now_t *now, int64_t minute)
{
    /* the first, or the clock was put back by more than a step or two */
    if (h->minute == 0 || minute < h->minute - 5) {
        h->first = minute;
        begin(h, now, minute);
        return 0;
    }

    if (h->base.accepted == UINT64_MAX) {
        h->minute -= minute > h->minute; /* nor is it known, then */
        skip(h, minute);
        begin(h, now, minute);
        return 0;
    }

    if (now->backlog > h->most_backlog) {
        h->most_backlog = now->backlog;
    }
    if (now->lag_ms > h->most_lag_ms) {
        h->most_lag_ms = now->lag_ms;
    }

    if (minute <= h->minute) {
        return 0;
    }

    *at(h, LB_HISTORY_IN, h->minute) = grown(now->accepted, h->base.accepted);
    *at(h, LB_HISTORY_OUT, h->minute) = grown(now->settled, h->base.settled);
    *at(h, LB_HISTORY_BACKLOG, h->minute) = small(h->most_backlog);
    *at(h, LB_HISTORY_LAG, h->minute) = small(h->most_lag_ms);
    *at(h, LB_HISTORY_REQUESTS, h->minute) =
        grown(now->requests, h->base.requests);

    skip(h, minute);
    begin(h, now, minute);

    return 1;
}

/* {"step": 60, "end": seconds since 1970, "in": [...], ...}: a value for each
 * minute, the oldest first, null for those of which nothing is known. */
char *
lb_history_text(const lb_history_t *h)
{
    int i;
    char *text;
    int64_t m;
    json_t *root, *list;
    uint32_t v;

    root =
        json_pack("{s:i, s:I}", "step", 60, "end", (json_int_t)h->minute * 60);

    for (i = 0; i < LB_HISTORY_SERIES; i++) {
        list = json_array();
        for (m = h->first; m < h->minute; m++) {
            v = h->value[i][m % LB_HISTORY_MINUTES];
            json_array_append_new(list, v == LB_HISTORY_NONE ? json_null()
                                                             : json_integer(v));
        }
        json_object_set_new(root, names[i], list);
    }

    text = json_dumps(root, JSON_COMPACT);
    json_decref(root);

    return text;
}

void
lb_history_load(lb_history_t *h, const char *spool, int64_t minute)
{
    int i;
    char path[4200];
    int64_t m, end, n;
    json_t *root, *list, *v;

    memset(h, 0, sizeof(*h));

    (void)snprintf(path, sizeof(path), "%s/history.json", spool);
    root = json_load_file(path, 0, NULL);
    end = json_integer_value(json_object_get(root, "end")) / 60;
    n = (int64_t)json_array_size(json_object_get(root, names[0]));

    if (json_integer_value(json_object_get(root, "step")) != 60 || n == 0 ||
        n > LB_HISTORY_MINUTES || end > minute ||
        end <= minute - LB_HISTORY_MINUTES) {
        json_decref(root);
        return;
    }

    for (i = 0; i < LB_HISTORY_SERIES; i++) {
        list = json_object_get(root, names[i]);
        for (m = 0; m < n; m++) {
            v = json_array_get(list, (size_t)m);
            *at(h, i, end - n + m) =
                json_is_integer(v) && json_integer_value(v) >= 0
                    ? small((uint64_t)json_integer_value(v))
                    : LB_HISTORY_NONE;
        }
    }

    json_decref(root);

    h->first = end - n;
    h->minute = end - 1;
    skip(h, minute);
    h->minute = minute;
    h->base.accepted = UINT64_MAX; /* not known: what came is of no minute */
}
