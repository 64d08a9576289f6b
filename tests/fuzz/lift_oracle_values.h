#ifndef _LB_LIFT_ORACLE_VALUES_H_INCLUDED_
#define _LB_LIFT_ORACLE_VALUES_H_INCLUDED_

#include <stddef.h>
#include <stdint.h>

#define RECEIVED UINT64_C(1715950000123456)

typedef struct {
    const char *key; /* without its quotes */
    size_t key_len;
    const char *value;
    size_t value_len;
} pair_t;

/* p, which must not be NULL. */
void *lift_oracle_need(void *p);

/* The word of a list that is `word`, or begins with it and a ':'; *number is
 * which one it is.  NULL: none. */
const char *lift_oracle_listed(const char *list, const char *word, size_t len,
                               unsigned *number);

/* 0: a date, 256: a number, -1: no time; *more: it says more than *ns. */
int lift_oracle_timestamp(const pair_t *pair, int64_t *ns, int *more);

/* The name of the level, read as `how` says, and whether the value is just
 * that. */
const char *lift_oracle_level_name(const pair_t *pair, char how, int *same);

/* The bytes of an array of them as text, malloc()ed; *broken: they are not all
 * UTF-8.  NULL: it is none. */
char *lift_oracle_array_text(const pair_t *pair, size_t *len, int *broken);

/* 0 or 256 to add to the rank, -1: no text. */
int lift_oracle_text_rank(const pair_t *pair, char how);

#endif /* _LB_LIFT_ORACLE_VALUES_H_INCLUDED_ */
