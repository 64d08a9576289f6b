/*
 * Other spools of this machine that still hold something and that no flusher
 * serves: what is left behind when the path of the spool was changed.
 *
 * The old path is stored nowhere, so this looks where it may have been: beside
 * the spool, where packages put one, and where disks are mounted.
 */

#include "lb_others.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lb_io.h"
#include "lb_open.h"
#include "lb_spool_private.h"

/* entries of one folder that are looked at */
#define LOOK 1000

typedef struct {
    lb_spool_t *spool;
    lb_other_pt fn;
    void *arg;
    ino_t seen[16]; /* of folders already told about */
    int n;
} search_t;

static void
look(search_t *s, const char *path)
{
    int fd, served;
    char file[4200], mark[8];
    struct stat st, ours;
    lb_left_t left;
    lb_spool_t *other;

    (void)snprintf(file, sizeof(file), "%s/spool", path);

    fd = open(file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) {
        return;
    }

    served = fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) ||
             read(fd, mark, sizeof(mark)) != (ssize_t)sizeof(mark) ||
             memcmp(mark, LB_SPOOL_MAGIC, sizeof(mark)) != 0;
    close(fd);

    if (served || stat(path, &st) != 0 || fstat(s->spool->dirfd, &ours) != 0 ||
        (st.st_dev == ours.st_dev && st.st_ino == ours.st_ino)) {
        return;
    }

    for (fd = 0; fd < s->n; fd++) {
        if (s->seen[fd] == st.st_ino) {
            return;
        }
    }

    if (lb_spool_open(path, 0, &other, NULL) != 0) {
        return;
    }

    fd = openat(other->dirfd, "checkpoint", O_RDONLY | O_CLOEXEC);
    served = fd >= 0 && lb_io_locked(fd);
    if (fd >= 0) {
        close(fd);
    }

    /* what has our identity is a copy of ours, a backup perhaps */
    if (!served && memcmp(other->uuid, s->spool->uuid, LB_UUID_LEN) != 0) {
        lb_spool_left(other, &left);
        if (lb_left_any(&left)) {
            s->fn(s->arg, path, &left);
            if (s->n < (int)(sizeof(s->seen) / sizeof(s->seen[0]))) {
                s->seen[s->n++] = st.st_ino;
            }
        }
    }

    lb_spool_close(other);
}

void
lb_spool_others(lb_spool_t *spool, lb_other_pt fn, void *arg)
{
    int n = 0;
    DIR *dir;
    FILE *f;
    char path[4200], *real, *slash, *line = NULL;
    size_t size = 0;
    search_t s = {spool, fn, arg, {0}, 0};
    struct dirent *e;

    look(&s, "/var/spool/logbroker");

    real = realpath(spool->path, NULL);
    slash = real != NULL ? strrchr(real, '/') : NULL;
    dir = NULL;

    if (slash != NULL) {
        *(slash == real ? slash + 1 : slash) = '\0';
        dir = opendir(real);
    }

    while (dir != NULL && n++ < LOOK && (e = readdir(dir)) != NULL) {
        if (e->d_name[0] != '.' &&
            (e->d_type == DT_DIR || e->d_type == DT_UNKNOWN)) {
            (void)snprintf(path, sizeof(path), "%s/%s",
                           real[1] != '\0' ? real : "", e->d_name);
            look(&s, path);
        }
    }

    if (dir != NULL) {
        closedir(dir);
    }
    free(real);

    f = fopen("/proc/self/mountinfo", "re");
    if (f == NULL) {
        return;
    }

    for (n = 0; n < LOOK && getline(&line, &size, f) > 0; n++) {
        /* of disks; others may be away and would keep us waiting */
        slash = strstr(line, " - ");
        if (slash != NULL && strstr(slash, " /dev/") != NULL &&
            sscanf(line, "%*s %*s %*s %*s %4100s", path) == 1) {
            look(&s, path);
        }
    }

    free(line);
    fclose(f);
}
