/*
 * Through a spool as it is: ring by ring, record by record.
 */

#ifndef _LB_TOOL_WALK_H_INCLUDED_
#define _LB_TOOL_WALK_H_INCLUDED_

#include "spool/lb_ring.h"
#include "tools/spool/options.h"

/* A spool that is looked at, read-only. */
typedef struct {
    const char *path;
    lb_spool_t *spool;
    lb_ckpt_state_t ckpt; /* zero if it cannot be read: the rings say then
                           * themselves what is acked */
    int failed;           /* something could not be read, and was said */
} lb_tool_look_t;

/* 0, or 1 with the reason said. */
int lb_tool_look(lb_tool_look_t *look, const char *path);
void lb_tool_look_close(lb_tool_look_t *look);

/* Of each ring; 0, or the error to be said of it. */
typedef int (*lb_tool_ring_pt)(const lb_tool_options_t *o,
                               const lb_tool_look_t *look, lb_reader_t *reader,
                               const lb_ring_info_t *info, void *data);

/* Says so, and is true, if the options choose a ring that the spool has not. */
int lb_tool_no_ring(const lb_tool_options_t *o, const char *path,
                    const uint32_t *slots, int n);

/* Calls fn for each ring that the options choose. */
void lb_tool_rings(lb_tool_look_t *look, const lb_tool_options_t *o,
                   lb_tool_ring_pt fn, void *data);

typedef struct {
    uint64_t records;
    uint64_t events;
    uint64_t bad; /* damaged places */
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

#endif /* _LB_TOOL_WALK_H_INCLUDED_ */
