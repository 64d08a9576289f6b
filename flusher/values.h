/*
 * Values of settings: what is checked of one, whatever setting it is of.  path
 * is the setting's, "clickhouse.user".
 */

#ifndef _LB_VALUES_H_INCLUDED_
#define _LB_VALUES_H_INCLUDED_

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

/* The first mistake, one line; those after it are not reported. */
typedef struct {
    char *text;
    size_t size;
    int failed;
} lb_report_t;

void lb_mistake(lb_report_t *r, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Control characters become "?", whatever the file holds. */
void lb_one_line(char *p);

/* A string that is not empty, to be freed; NULL: a mistake, or no memory. */
char *lb_value_string(lb_report_t *r, const char *path, const json_t *v);

uint64_t lb_value_number(lb_report_t *r, const char *path, const json_t *v,
                         uint64_t min, uint64_t max);

/* Names go into SQL between back-quotes and into the checkpoint. */
void lb_value_name(lb_report_t *r, const char *path, const char *name);

/* What goes into a header of a request. */
void lb_value_header(lb_report_t *r, const char *path, const char *value,
                     size_t max);

/* The URL path[i] as it is kept, to be freed; NULL: a mistake, or no memory.
 * Nothing of it is in what is said: it may hold a secret. */
char *lb_value_url(lb_report_t *r, const char *path, size_t i, const char *url);

/* A file that curl will read for each connection. */
void lb_value_file(lb_report_t *r, const char *setting, const char *path);

#endif /* _LB_VALUES_H_INCLUDED_ */
