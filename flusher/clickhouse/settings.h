/*
 * ClickHouse settings that the promises rest on.  They go into the text of each
 * statement, so that a proxy that drops parameters of the URL cannot drop them,
 * and a profile of the user cannot change what a request means.
 *
 * A server may not know one (it is older) or not let it be changed (a
 * constraint of the profile): then the statement goes on without it, and the
 * look at the table finds out by which value the server goes instead.
 */

#ifndef _LB_SETTINGS_H_INCLUDED_
#define _LB_SETTINGS_H_INCLUDED_

#include <stddef.h>
#include <stdint.h>

#include "flusher/options.h"

/* What the server refused, bits by the order in settings.c. */
typedef struct {
    uint64_t unknown;
    uint64_t fixed;
} lb_settings_t;

/* room for lb_settings_sql with a token, and for lb_settings_names */
#define LB_SETTINGS_SQL 3072

/* "a=1,b=0,..." to be put after SETTINGS: all, or only what concerns an
 * INSERT; with the deduplication token, if there is one. */
void lb_settings_sql(const lb_settings_t *s, int insert, const char *token,
                     char *sql, size_t size);

/* "&a=1&b=0...": what matters before the text of a statement is understood, and
 * is lost if a proxy drops parameters. */
void lb_settings_url(const lb_settings_t *s, char *url, size_t size);

/* "'a','b',...": all of them. */
void lb_settings_names(char *sql, size_t size);

/* A statement was refused with this code and text.  1 if that is because of a
 * setting, which is left out from now on. */
int lb_settings_learn(lb_settings_t *s, int code, const char *text);

/* Judges "|name value|name value|...", what the server goes by.  Writes why
 * exactly once does not hold, or an empty string.  1 if nothing may be sent. */
int lb_settings_judge(const lb_options_t *o, const char *values, char *reason,
                      size_t size);

/* 1 if by them a batch as large as the options allow is one block, so that batches
 * may grow beyond their first size (size.h), by which lb_settings_judge goes. */
int lb_settings_whole(const lb_options_t *o, const char *values);

#endif /* _LB_SETTINGS_H_INCLUDED_ */
