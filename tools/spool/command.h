/*
 * The commands of logbroker-spool, each in the file of its name: what they do
 * stands in the table of main.c.  All say themselves what failed, and return
 * the exit status.
 */

#ifndef _LB_TOOL_COMMAND_H_INCLUDED_
#define _LB_TOOL_COMMAND_H_INCLUDED_

#include "tools/spool/options.h"

int lb_tool_stat(const lb_tool_options_t *o, const char *path);
int lb_tool_verify(const lb_tool_options_t *o, const char *path);
int lb_tool_cat(const lb_tool_options_t *o, const char *path);
int lb_tool_replay(const lb_tool_options_t *o, const char *path);
int lb_tool_resize(const lb_tool_options_t *o, const char *path);

/* identity.c */
int lb_tool_move(const lb_tool_options_t *o, const char *path);
int lb_tool_adopt(const lb_tool_options_t *o, const char *path);

/* recover/ */
int lb_tool_recover(const lb_tool_options_t *o, const char *path);

/* dead.c; of the letters in o */
int lb_tool_dead_list(const lb_tool_options_t *o, const char *path);
int lb_tool_dead_show(const lb_tool_options_t *o, const char *path);
int lb_tool_dead_replay(const lb_tool_options_t *o, const char *path);
int lb_tool_dead_drop(const lb_tool_options_t *o, const char *path);

#endif /* _LB_TOOL_COMMAND_H_INCLUDED_ */
