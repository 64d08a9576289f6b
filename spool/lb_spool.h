/*
 * The spool: a directory of one identity, and the rings in it.  lb_open.h opens
 * one.
 */

#ifndef _LB_SPOOL_H_INCLUDED_
#define _LB_SPOOL_H_INCLUDED_

#include <stdint.h>

#include "lb_error.h"
#include "lb_format.h"
#include "lb_tie.h"

typedef struct lb_spool_s lb_spool_t;

void lb_spool_close(lb_spool_t *spool);
const char *lb_spool_path(const lb_spool_t *spool);

/* 1 if the path no longer leads to this spool: the directory was deleted or
 * replaced, something was mounted there, or the spool was made anew. */
int lb_spool_stale(const lb_spool_t *spool);
const uint8_t *lb_spool_uuid(const lb_spool_t *spool);

/* What opening it did that is worth a log line, or NULL. */
const char *lb_spool_note(const lb_spool_t *spool);

const lb_tie_t *lb_spool_tie(const lb_spool_t *spool);

/* Slots that have a ring, ascending; returns their number. */
int lb_spool_slots(lb_spool_t *spool, uint32_t slots[LB_SLOTS_MAX],
                   lb_error_t *err);

#endif /* _LB_SPOOL_H_INCLUDED_ */
