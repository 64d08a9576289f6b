/*
 * ClickHouse's exception codes, and what each says of the request that met it.
 * Pure.  src/Common/ErrorCodes.cpp of ClickHouse has the numbers.
 */

#ifndef _LB_ERRORS_H_INCLUDED_
#define _LB_ERRORS_H_INCLUDED_

#define LB_CH_UNKNOWN_IDENTIFIER 47
#define LB_CH_UNKNOWN_TABLE 60
#define LB_CH_UNKNOWN_DATABASE 81
#define LB_CH_UNKNOWN_SETTING 115
#define LB_CH_READONLY 164
#define LB_CH_SETTING_CONSTRAINT 452
#define LB_CH_ACCESS_DENIED 497

/* Thrown while the query is parsed, checked or admitted, before a block is
 * read: nothing is in. */
#define LB_CH_DEFINITE 0x1u
/* A value cannot be stored: not that the server, the user or the table is not
 * as it should be. */
#define LB_CH_DATA 0x2u
/* Too large for what the server may use for one query. */
#define LB_CH_SIZE 0x4u
/* The server is busy or on its way down: no word about the table or rights. */
#define LB_CH_BUSY 0x8u
/* The user or the password is not right. */
#define LB_CH_LOGIN 0x10u
/* A file of the table cannot be read: maybe that of an index, which a question
 * can do without. */
#define LB_CH_DAMAGE 0x20u

/* What a code says, bits of the above; 0 for one that is not in the table. */
unsigned lb_ch_error(int code);

/* 1: there is no table or database of that name. */
int lb_ch_no_table(int code);

/* 1 if an answer's text is about a materialized view behind the table, which
 * then has the rows or not, whatever the code. */
int lb_ch_blames_view(const char *body);

/* 1 if an answer says that the request was too large: for a proxy, or for what
 * the server may use for one query. */
int lb_ch_blames_size(long http, int code);

#endif /* _LB_ERRORS_H_INCLUDED_ */
