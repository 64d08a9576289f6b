/*
 * Shared by the files of logbroker-spool.
 */

#ifndef _LB_TOOL_H_INCLUDED_
#define _LB_TOOL_H_INCLUDED_

#include <stdio.h>

#include "spool/lb_ring.h"

typedef struct {
    int json;
    int again;
    int delivered;      /* cat: what was delivered, too */
    const char *stream; /* NULL: any */
    int slot;           /* -1: all */
    uint64_t first_seq; /* both included */
    uint64_t last_seq;
    uint64_t since_us; /* received in [since_us, until_us) */
    uint64_t until_us;
} lb_tool_options_t;

typedef struct {
    uint64_t records;
    uint64_t events;
    uint64_t bad;
    uint64_t bad_bytes;
} lb_tool_totals_t;

/* Of each record that the options choose; at least one of its events has a
 * seq between first_seq and last_seq.  Not 0 ends the walk. */
typedef int (*lb_tool_record_pt)(const lb_tool_options_t *o,
                                 lb_reader_t *reader,
                                 const lb_ring_info_t *info,
                                 const lb_record_t *rec, void *data);

/* Walks the records of a ring between two positions, verifying each.  Damage
 * at or behind acked is reported and counted; before it, it is what the writer
 * has overwritten. */
int lb_tool_walk(const lb_tool_options_t *o, lb_reader_t *reader,
                 const lb_ring_info_t *info, uint64_t from, uint64_t to,
                 uint64_t acked, lb_tool_record_pt fn, void *data,
                 lb_tool_totals_t *totals);

/* Where the backlog of a ring starts, by the checkpoint. */
void lb_tool_acked(const lb_ckpt_state_t *ckpt, const lb_ring_info_t *info,
                   uint64_t *position, uint64_t *seq);

/* The oldest position a record may still be at. */
uint64_t lb_tool_oldest(const lb_ring_info_t *info);

/* On a terminal: how far a long piece of work is.  total 0 ends the line. */
void lb_tool_progress(const char *what, uint64_t done, uint64_t total);

/* A JSON string. */
void lb_tool_json_text(FILE *f, const char *s);
void lb_tool_json_textn(FILE *f, const char *s, size_t len);

/* Where the spool was last used, and whether it is still there: one line, or a
 * JSON object. */
void lb_tool_tie(const lb_spool_t *spool, int json, FILE *f);

/* The commands; all return the exit status. */

/* Delivered events that are still in their ring, put into another one to be
 * delivered again. */
int lb_spool_replay(const lb_tool_options_t *o, const char *path);

/* Empty rings that are not in use get another capacity, in bytes. */
int lb_spool_resize(const lb_tool_options_t *o, uint64_t capacity,
                    const char *path);

/* A spool that was moved is tied to where it is now. */
int lb_spool_tool_move(const char *path);

/* A copy becomes a new, empty spool; without yes it is only said what that
 * means. */
int lb_spool_tool_adopt(const char *path, int yes, int json);

typedef struct {
    const char *config; /* the flusher's settings, or: */
    const char *url;
    const char *table; /* [DATABASE.]TABLE */
    const char *user;
    const char *password_file;
    int yes;
    int force;
    int json;
} lb_tool_recover_t;

/* A checkpoint that cannot be read is written anew. */
int lb_spool_tool_recover(const lb_tool_recover_t *o, const char *path);

/* dead ACTION SPOOL [LETTER...]; args: the letters. */
int lb_spool_dead(const char *action, int json, int again, const char *path,
                  int nargs, char **args);

#endif /* _LB_TOOL_H_INCLUDED_ */
