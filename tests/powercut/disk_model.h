/*
 * A model of a disk under a spool: records every write, mapped store and sync,
 * and makes the files that a power cut could leave behind at any moment.
 *
 * What the model allows the disk to do: after a sync (or a synced write) the
 * bytes it covers are there; of everything else each 512-byte sector, on its
 * own, may hold any version it has had since then, in whole pages or torn.
 * Sectors are never mixed within themselves.
 */

#ifndef _DISK_MODEL_H_INCLUDED_
#define _DISK_MODEL_H_INCLUDED_

#include <stddef.h>
#include <stdint.h>

/* Starts recording; files that are open or opened later below dir take part
 * with their present content as the durable state.  Renames and new files are
 * not modelled: create everything first. */
void dm_start(const char *dir);
void dm_stop(void);

/* Remembers that something happened between two calls; kind and value are the
 * caller's. */
void dm_mark(int kind, uint64_t value);

/* Moments so far.  A moment lies before, inside, or after a call. */
size_t dm_moments(void);

/* Goes to moment n (never backwards since the last dm_start or dm_rewind):
 * calls seen(arg, kind, value) for each mark passed. */
void dm_rewind(void);
void dm_goto(size_t n, void (*seen)(void *arg, int kind, uint64_t value),
             void *arg);

/* How the sectors that are not durable are chosen. */
enum {
    DM_NONE,    /* nothing that was not synced is there */
    DM_ALL,     /* everything is there */
    DM_PAGES,   /* each 4 KiB page in any of its versions */
    DM_SECTORS, /* each sector in any of its versions */
    DM_MODES
};

/* Writes the files as the disk holds them now into dir, which must already
 * hold files of the same names and sizes. */
void dm_materialise(const char *dir, int mode, uint64_t *rng);

#endif /* _DISK_MODEL_H_INCLUDED_ */
