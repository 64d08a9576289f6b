/*
 * Where a file is: on which kind of file system, in which file, on which disk
 * of which machine.
 */

#ifndef _LB_PLACE_H_INCLUDED_
#define _LB_PLACE_H_INCLUDED_

#include <stddef.h>
#include <stdint.h>

/* Where a file is; 0: not known. */
typedef struct {
    uint64_t inode;
    uint64_t born; /* nanoseconds since 1970 UTC */
    uint64_t fs;
    uint64_t machine;
    uint64_t disk;
} lb_place_t;

/* The network file system that fd is on, named in buf or by a literal, or
 * NULL. */
const char *lb_place_network(int fd, char *buf, size_t size);

/* The same of one line of mountinfo; pure. */
int lb_place_fuse_network(const char *type, const char *source);

/* Tests put a function of their own here. */
extern void (*lb_place_get)(int fd, lb_place_t *place);

/* In words what tells two places apart, or NULL. */
const char *lb_place_differs(const lb_place_t *was, const lb_place_t *is);

/* Takes over what was not known; 1 if there was something. */
int lb_place_fill(lb_place_t *to, const lb_place_t *from);

#endif /* _LB_PLACE_H_INCLUDED_ */
