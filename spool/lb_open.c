/*
 * Opening a spool.
 *
 * Several processes may do so at once; one that creates it, or makes a copy
 * anew, holds flock(2) on the directory meanwhile.
 */

#include "lb_open.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lb_identity.h"
#include "lb_left.h"
#include "lb_place.h"
#include "lb_renew.h"
#include "lb_spool_private.h"
#include "lb_tie.h"

/* LB_ECOPY, and what to do about it. */
static int
refuse(const lb_spool_t *s, const lb_left_t *left, lb_error_t *err)
{
    return lb_fail(
        err, LB_ECOPY,
        "spool \"%.120s\" was copied or moved here: %s; it was last used as "
        "\"%.80s\" on \"%.40s\". It holds %s%llu events that would be "
        "delivered twice if both were served. If the original is gone: "
        "logbroker-spool move SPOOL. If it is not: logbroker-spool adopt SPOOL",
        s->path, s->tie.why, s->tie.path, s->tie.host,
        left->unknown || left->unreadable ? "at least " : "",
        (unsigned long long)(left->events + left->letters));
}

/* Loads the identity, and creates it or makes a copy anew where that is
 * wanted, under the lock of the directory. */
static int
settle(lb_spool_t *s, unsigned flags, lb_error_t *err)
{
    int rc;
    lb_left_t left;
    const char *why;

    rc = lb_identity_load(s, err);

    if (rc == -ENOENT) {
        return flags & LB_SPOOL_CREATE ? lb_identity_create(s, err) : rc;
    }

    if (rc != 0 || s->tie.state != LB_TIE_ELSEWHERE) {
        return rc;
    }

    lb_spool_left(s, &left);

    if (!(flags & LB_SPOOL_CREATE) || lb_left_any(&left)) {
        return refuse(s, &left, err);
    }

    why = s->tie.why;
    rc = lb_renew_locked(s, err);

    if (rc == 0) {
        (void)snprintf(s->note, sizeof(s->note),
                       "spool \"%.120s\" was copied or moved here (%s) with "
                       "nothing left to deliver: it has a new identity",
                       s->path, why);
    }

    return rc;
}

int
lb_spool_open(const char *path, unsigned flags, lb_spool_t **spool,
              lb_error_t *err)
{
    int rc;
    char name[320];
    const char *fs;
    lb_spool_t *s;

    s = calloc(1, sizeof(*s));
    if (s == NULL) {
        return lb_fail(err, -ENOMEM, "no memory for spool \"%s\"", path);
    }

    if (snprintf(s->path, sizeof(s->path), "%s", path) >=
        (int)sizeof(s->path)) {
        free(s);
        return lb_fail(err, -ENAMETOOLONG, "spool path is too long");
    }

    s->dirfd = -1;

    if ((flags & LB_SPOOL_CREATE) && mkdir(path, 0770) != 0 &&
        errno != EEXIST) {
        rc = lb_fail(err, -errno, "cannot create directory \"%s\": %s", path,
                     strerror(errno));
        goto failed;
    }

    s->dirfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->dirfd < 0) {
        rc = lb_fail(err, -errno, "cannot open spool \"%s\": %s", path,
                     strerror(errno));
        goto failed;
    }

    fs = lb_place_network(s->dirfd, name, sizeof(name));
    if (fs != NULL) {
        rc = lb_fail(err, LB_ENETFS,
                     "spool \"%s\" is on a network file system (%s): locks "
                     "there do not protect it, use a local disk",
                     path, fs);
        goto failed;
    }

    rc = lb_identity_load(s, err);

    if ((rc == -ENOENT && (flags & LB_SPOOL_CREATE)) ||
        (rc == 0 && s->tie.state == LB_TIE_ELSEWHERE && flags != 0)) {

        while ((rc = flock(s->dirfd, LOCK_EX)) != 0 && errno == EINTR) {
            /* void */
        }

        /* another process may have been faster */
        rc = rc == 0 ? settle(s, flags, err)
                     : lb_fail(err, -errno, "cannot lock spool \"%s\": %s",
                               path, strerror(errno));

        (void)flock(s->dirfd, LOCK_UN);

    } else if (rc == -ENOENT) {
        lb_fail(err, rc, "\"%s\" is not a spool: it has no file \"spool\"",
                path);
    }

    if (rc == 0) {
        /* A spool that cannot be tied, for want of rights perhaps, is served
         * as it is; stat says that it is not tied. */
        if (flags != 0) {
            (void)lb_tie_update(&s->tie, s->dirfd, s->path, 0);
        }

        *spool = s;
        return 0;
    }

failed:

    lb_spool_close(s);

    return rc;
}
