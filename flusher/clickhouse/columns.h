/*
 * The columns of a block: those that every table has, and behind them those
 * that a table may lack, which are LB_LIFT_* of event/lift.h.
 */

#ifndef _LB_COLUMNS_H_INCLUDED_
#define _LB_COLUMNS_H_INCLUDED_

#include <stddef.h>
#include <stdint.h>

#define LB_COLUMNS_FIXED 13u /* that every table has */
#define LB_COLUMNS_MORE 6u   /* that it may lack */
#define LB_COLUMNS (LB_COLUMNS_FIXED + LB_COLUMNS_MORE)

typedef struct {
    const char *name;
    const char *type; /* as what it is sent, since version 5 */
} lb_column_t;

/* In the order of the blocks. */
extern const lb_column_t lb_columns[LB_COLUMNS];

/* Is the column in a block with these of LB_LIFT_*? */
static inline int
lb_columns_has(uint32_t more, size_t column)
{
    return column < LB_COLUMNS_FIXED ||
           (more >> (column - LB_COLUMNS_FIXED) & 1) != 0;
}

#define LB_COLUMNS_TEXT 1024u /* room for the lists below */

/* "timestamp,received_at,..." of a block with these of LB_LIFT_*. */
void lb_columns_names(uint32_t more, char out[LB_COLUMNS_TEXT]);

/* "timestamp DateTime64(9, 'UTC'),...": the same with their types. */
void lb_columns_structure(uint32_t more, char out[LB_COLUMNS_TEXT]);

/* Can a column of this type of the table take every value it will be sent? */
int lb_columns_takes(const lb_column_t *column, const char *type, size_t len);

#endif /* _LB_COLUMNS_H_INCLUDED_ */
