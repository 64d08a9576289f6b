/*
 * UUIDs, by which spools, rings and tables are named.
 */

#ifndef _LB_UUID_H_INCLUDED_
#define _LB_UUID_H_INCLUDED_

#include <stdint.h>

#include "lb_format.h"

/* "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx" and back; parse returns 0 or
 * -EINVAL. */
#define LB_UUID_TEXT 37
void lb_uuid_format(const uint8_t uuid[LB_UUID_LEN], char text[LB_UUID_TEXT]);
int lb_uuid_parse(const char *text, uint8_t uuid[LB_UUID_LEN]);

/* A new random one (RFC 9562, version 4). */
void lb_uuid_new(uint8_t uuid[LB_UUID_LEN]);

#endif /* _LB_UUID_H_INCLUDED_ */
