/*
 * The JSON objects of a body, one after another with anything between them or
 * nothing, or in arrays: how protocols send several of what they call an event.
 * What is no object is told, and does not keep the others out.
 */

#ifndef _LB_PIECES_H_INCLUDED_
#define _LB_PIECES_H_INCLUDED_

#include <stddef.h>
#include <stdint.h>

#include "event/scan.h"

typedef enum {
    LB_PIECE_JSON, /* it is no JSON object */
    LB_PIECE_SIZE, /* it is larger than max */
} lb_piece_fault_t;

/* The two functions return LB_SCAN_OK, or what lb_pieces() then returns. */
typedef struct {
    void *data; /* of the caller */

    /* An object as the scanner writes it, without its \n. */
    lb_scan_status_t (*take)(void *data, const uint8_t *line, size_t len);

    /* A piece of the body that is none. */
    lb_scan_status_t (*bad)(void *data, const uint8_t *piece, size_t len,
                            lb_piece_fault_t fault);

    /* Lines that do not begin with a brace, or one that is no object: of
     * lb_pieces_lines(). */
    lb_scan_status_t (*text)(void *data, const uint8_t *lines, size_t len);

    size_t max;    /* bytes of an object */
    int patient;   /* as in lb_scan_options_t */
    size_t number; /* of the piece at hand, from 0; behind the last: of all */

    /* private: a piece, or the end of the one before it */
    const uint8_t *at;
    const uint8_t *behind;
    const uint8_t *end;
    size_t at_number;
} lb_pieces_t;

/* LB_SCAN_OK; LB_SCAN_BAD: so many brackets that lead nowhere are no body;
 * LB_SCAN_LATER, LB_SCAN_NOMEM, or what a function has returned. */
lb_scan_status_t lb_pieces(lb_pieces_t *pieces, const uint8_t *in, size_t len);

/* The same of a body that may be text: where it is not all objects, each line is
 * one or none.  Nothing is LB_SCAN_BAD. */
lb_scan_status_t lb_pieces_lines(lb_pieces_t *pieces, const uint8_t *in,
                                 size_t len);

/* The bytes of the body that the object at hand was made of; for objects in
 * their order. */
const uint8_t *lb_pieces_at(lb_pieces_t *pieces, size_t *len);

#endif /* _LB_PIECES_H_INCLUDED_ */
