/*
 * What the lifter must do, said a second time: slowly, from the list of
 * members and with jansson's strings and the C library's calendar.  Used by
 * the fuzzer and by the unit tests.
 */

#ifndef _LB_LIFT_ORACLE_H_INCLUDED_
#define _LB_LIFT_ORACLE_H_INCLUDED_

#include <stddef.h>
#include <stdint.h>

/* One line of the scanner's.  NULL if every implementation lifts what it
 * should and loses nothing, else what is wrong (static words). */
const char *lift_oracle_event(const uint8_t *event, size_t len);

/* Any bytes: implementations agree, and the fields lie where they may. */
const char *lift_oracle_bytes(const uint8_t *data, size_t len);

/* Fields seen lifted, for tests that must not miss their subject. */
extern size_t lift_oracle_lifted;

#endif /* _LB_LIFT_ORACLE_H_INCLUDED_ */
