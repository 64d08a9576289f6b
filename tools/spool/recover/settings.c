/*
 * recover: the settings of the flusher, or what the command line says.
 */

#include "recover.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* The settings of the flusher, with what the command line says instead, through
 * the same checks. */
lb_options_t *
lb_recover_settings(const lb_tool_options_t *o, const char *spool, char *text,
                    size_t size)
{
    int fd, rc;
    char path[64], *dump;
    json_t *root, *clickhouse;
    json_error_t err;
    const char *dot;
    lb_options_t *options;

    root = o->config != NULL
               ? json_load_file(o->config, 0, &err)
               : json_pack("{s:s, s:{}}", "spool", spool, "clickhouse");
    if (root == NULL) {
        (void)snprintf(text, size, "\"%s\": %s", o->config, err.text);
        return NULL;
    }

    clickhouse = json_object_get(root, "clickhouse");

    if (o->url != NULL) {
        json_object_set_new(clickhouse, "urls", json_pack("[s]", o->url));
    }
    if (o->user != NULL) {
        json_object_set_new(clickhouse, "user", json_string(o->user));
    }
    if (o->password_file != NULL) {
        json_object_set_new(clickhouse, "password_file",
                            json_string(o->password_file));
    }
    if (o->table != NULL) {
        dot = strchr(o->table, '.');
        if (dot != NULL) {
            json_object_set_new(
                clickhouse, "database",
                json_stringn(o->table, (size_t)(dot - o->table)));
        }
        json_object_set_new(clickhouse, "table",
                            json_string(dot != NULL ? dot + 1 : o->table));
    }

    dump = json_dumps(root, 0);
    json_decref(root);

    fd = memfd_create("settings", MFD_CLOEXEC);
    rc = fd >= 0 && dump != NULL &&
         write(fd, dump, strlen(dump)) == (ssize_t)strlen(dump);
    free(dump);

    if (!rc) {
        (void)snprintf(text, size, "no memory for the settings");
        options = NULL;
    } else {
        (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        options = lb_options_load(path, text, size);
    }

    if (fd >= 0) {
        close(fd);
    }

    return options;
}
