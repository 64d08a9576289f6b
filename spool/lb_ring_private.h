/*
 * Shared by the files of spool/ (and its tests), by nobody else.
 */

#ifndef _LB_RING_PRIVATE_H_INCLUDED_
#define _LB_RING_PRIVATE_H_INCLUDED_

#include <string.h>

#include "lb_bytes.h"
#include "lb_cell.h"
#include "lb_fill.h"
#include "lb_identity.h"
#include "lb_io.h"
#include "lb_place.h"
#include "lb_recovery.h"
#include "lb_renew.h"
#include "lb_ring.h"
#include "lb_spool_private.h"
#include "lb_view.h"

typedef lb_ring_id_t lb_identity_t;

#endif /* _LB_RING_PRIVATE_H_INCLUDED_ */
