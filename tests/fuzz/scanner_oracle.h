/*
 * What the scanner must do with any bytes, said a second time: slowly, with
 * jansson, and without a line of the scanner's.  Used by the fuzzer and by the
 * unit tests.
 */

#ifndef _LB_SCANNER_ORACLE_H_INCLUDED_
#define _LB_SCANNER_ORACLE_H_INCLUDED_

#include <stddef.h>
#include <stdint.h>

/* NULL if every implementation of the scanner does the same with this body
 * and does what jansson does, else what differs (static words). */
const char *scanner_oracle_json(const uint8_t *in, size_t len);
const char *scanner_oracle_text(const uint8_t *in, size_t len);

/* How many bodies were compared with jansson, and how many of them it took
 * (the rest met one of the documented differences). */
extern size_t scanner_oracle_compared;
extern size_t scanner_oracle_accepted;

#endif /* _LB_SCANNER_ORACLE_H_INCLUDED_ */
