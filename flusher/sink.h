/*
 * The seam to where events go.  Delivery (deliver.h) knows batches and their
 * states; a sink knows how a batch is sent there and what an answer means.
 * flusher/clickhouse/ is one.
 *
 * Each function but next makes at most one request.  What it told is in an
 * lb_said_t; the outcome is one of four:
 *
 *   DONE      send: every row is in; else: answered
 *   NOT_SENT  no connection, nothing has left: the sink knows nothing of it
 *   REFUSED   the sink said no, for certain: nothing is in
 *   UNKNOWN   anything else: it may be in or not
 */

#ifndef _LB_SINK_H_INCLUDED_
#define _LB_SINK_H_INCLUDED_

#include "flusher/batch.h"
#include "flusher/encode.h"
#include "flusher/options.h"

typedef enum {
    LB_SINK_DONE,
    LB_SINK_NOT_SENT,
    LB_SINK_REFUSED,
    LB_SINK_UNKNOWN,
} lb_sink_outcome_t;

/* What any request tells. */
typedef struct {
    lb_sink_outcome_t outcome;
    int made;     /* 0: for want of memory there was no request */
    int late;     /* NOT_SENT, for this node's turn was over */
    int again;    /* repeat it at once: what it stumbled on is left out */
    int hold;     /* nothing may be sent before the next check */
    int suspect;  /* an error that can come from a changed table or rights */
    int repeated; /* its first packet was: it came later than it was sent */
    int new_password;   /* the password's file had another: it is used now */
    int64_t sent_ms;    /* wall clock when the request left, 0: it did not, */
    int64_t dated_ms;   /* and when the answer's headers came; */
    int64_t dated_mono; /* the same by the monotonic clock */
    int64_t left_mono;  /* monotonic, when its first byte left at the latest */
    int64_t date;       /* its Date, seconds since 1970; 0: none of the sink */
    char text[512];     /* for people, one line; empty if DONE */
} lb_said_t;

/* Why an INSERT may have failed, beyond the network and the day. */
typedef enum {
    LB_BLAME_NONE,
    LB_BLAME_DATA,  /* a value that the table cannot take */
    LB_BLAME_SIZE,  /* too large for the server, a proxy or the timeout */
    LB_BLAME_BYTES, /* ours: they cannot be made again as they were fixed */
    LB_BLAME_TABLE, /* it has lost columns that the bytes have */
} lb_blame_t;

/* The batch in flight: its ranges, token, table and rows are in the state.
 * read fills up to size bytes, 0 at the end, negative on failure. */
typedef struct {
    const lb_ckpt_state_t *state;
    long (*read)(void *arg, void *buf, size_t size);
    void *arg;
} lb_sink_batch_t;

/* What send tells of a batch that is not DONE. */
typedef struct {
    int no_table;    /* REFUSED: there is no table of that name */
    int loose;       /* the sink has not answered: it may come in yet */
    int answered;    /* there was an answer, if only a proxy's */
    int timed_out;   /* there was none within the time for it */
    int view_failed; /* the rows are in or not, a view behind the table threw */
    int views_done;  /* whatever was wrong, views have what the table has */
    lb_blame_t blame; /* never BYTES or TABLE */
    int siftable;     /* sift can tell which rows it blames */
} lb_sent_t;

/* What a question was answered with. */
typedef enum {
    LB_SETTLED,          /* with what was asked for */
    LB_SETTLED_AGAIN,    /* ask again at once, without what note names */
    LB_SETTLED_NO_TABLE, /* there is no table of that name */
    LB_SETTLED_DENIED,   /* this user may not read it */
    LB_SETTLED_NOT,      /* nothing to go by: said.text */
} lb_settled_as_t;

typedef struct {
    lb_settled_as_t as;
    uint64_t found;   /* rows of the batch that are in the table */
    uint64_t running; /* INSERTs of this spool that still run */
    uint64_t behind;  /* 1: this replica does not have everything yet */
    uint8_t table_uuid[LB_UUID_LEN]; /* of the table asked; zeros: not told */
    uint64_t views;                  /* materialized views on the table */
    char blind[160]; /* behind cannot be seen, and what to do; or empty */
    char note[256];  /* for the log, or empty */
} lb_settled_t;

/* Rows of one ring in the table, behind its acked position. */
typedef struct {
    uint8_t ring[LB_UUID_LEN];
    uint64_t rows;
    uint64_t first_seq;
    uint64_t last_seq;
} lb_beyond_t;

typedef enum {
    LB_SIFTED,       /* those are to blame */
    LB_SIFTED_AGAIN, /* ask once more: something had to be learned first */
    LB_SIFTED_MANY,  /* more than there is room for */
    LB_SIFTED_NOT,   /* the sink cannot tell: said.text */
} lb_sifted_t;

/* Can this table be delivered into exactly once?  A verdict holds for the
 * moment; look.h says when to check again. */
typedef struct {
    const char *verdict; /* "yes", "no", "unknown" */
    char reason[512];    /* empty for "yes" */
    int hold;            /* 1: rows would be lost, nothing may be sent */
    int64_t server_ms;   /* the server's wall clock, 0: not told */
    uint8_t table_uuid[LB_UUID_LEN]; /* zeros: not told */
    int replicated;    /* 1: Replicated or Shared, 0: not, -1: not known */
    uint32_t encoding; /* of the next batch: what the table has columns for
                          (encode.h); 0: not told */
    int whole;       /* 1: a batch of the largest size stays one block there */
    char lacks[128]; /* the others, for people: "span_id, scope" */
} lb_verdict_t;

typedef struct {
    void *ctx; /* the first argument of each */

    /* Encoders by version, the newest first, NULL at the end. */
    const lb_encoder_t *const *encoders;

    /* Judges table and server.  *verdict is what the last check found; it stays
     * if said is again or late. */
    void (*check)(void *ctx, lb_verdict_t *verdict, lb_said_t *said);

    void (*send)(void *ctx, const lb_sink_batch_t *batch, lb_said_t *said,
                 lb_sent_t *sent);

    /* Is the state's batch in table ("db.table")?  spool: the UUID that its
     * tokens begin with. */
    void (*settle)(void *ctx, const lb_ckpt_state_t *state,
                   const uint8_t spool[LB_UUID_LEN], const char *table,
                   lb_said_t *said, lb_settled_t *settled);

    /* The present "db.table" of a table; "" if it is not to be seen. */
    void (*where)(void *ctx, const uint8_t table_uuid[LB_UUID_LEN],
                  char table[LB_TABLE_MAX + 1], lb_said_t *said,
                  lb_settled_t *settled);

    /* What is in the state's table behind the acked positions, as *n entries of
     * at most max: asked when it is not known which batch was sent last.
     * from_us, to_us: times of receipt it can have, 0: any. */
    void (*beyond)(void *ctx, const lb_ckpt_state_t *state,
                   const uint8_t spool[LB_UUID_LEN], uint64_t from_us,
                   uint64_t to_us, lb_beyond_t *beyond, uint32_t max,
                   uint32_t *n, lb_said_t *said, lb_settled_t *settled);

    /* Which rows of the batch is the last answer's blame about?  Adds them to
     * the *n excluded events, in their order; max: room for them.  Nothing is
     * sent but for this question. */
    lb_sifted_t (*sift)(void *ctx, const lb_sink_batch_t *batch,
                        lb_excluded_t *excluded, uint32_t max, uint32_t *n,
                        lb_said_t *said);

    /* The next request goes to the next server of the list. */
    void (*next)(void *ctx);

    /* gate: called when the connection to the server stands and nothing of the
     * request has left; waits until it may.  Nonzero: not now. */
    void (*set_gate)(void *ctx, int (*gate)(void *arg), void *arg);

    /* Other options from now on, which must stay where they are: 0, or -1: no
     * memory, the old ones stay. */
    int (*configure)(void *ctx, const lb_options_t *options);

    void (*free)(void *ctx);
} lb_sink_t;

#endif /* _LB_SINK_H_INCLUDED_ */
