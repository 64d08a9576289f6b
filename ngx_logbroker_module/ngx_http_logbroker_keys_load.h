/*
 * Idempotency keys read back from the rings.
 */


#ifndef _NGX_HTTP_LOGBROKER_KEYS_LOAD_H_INCLUDED_
#define _NGX_HTTP_LOGBROKER_KEYS_LOAD_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "spool/lb_error.h"
#include "spool/lb_format.h"
#include "spool/lb_marks.h"
#include "spool/lb_reader.h"
#include "spool/lb_spool.h"

#include "ngx_http_logbroker_module.h"


typedef enum {
    NGX_HTTP_LOGBROKER_KEYS_BEGIN = 0,
    NGX_HTTP_LOGBROKER_KEYS_ALL,                    /* the table is new */
    NGX_HTTP_LOGBROKER_KEYS_SOUGHT,                 /* those of the dead */
    NGX_HTTP_LOGBROKER_KEYS_DONE
} ngx_http_logbroker_keys_state_e;


typedef struct {
    ngx_thread_task_t                task;
    lb_spool_t                      *spool;
    ngx_http_logbroker_keys_t       *keys;
    time_t                           window;

    ngx_uint_t                       state;
    u_char                           slots[LB_SLOTS_MAX];
    uint32_t                         there[LB_SLOTS_MAX];
    int                              n;             /* < 0: an error */
    int                              ring;
    ngx_uint_t                       put_off;       /* rings */
    lb_error_t                       error;         /* of the last one */

    /* of the ring that is being read, if reader is not NULL */
    lb_reader_t                     *reader;
    lb_ring_info_t                   info;
    lb_mark_t                        marks[LB_MARKS];
    int                              nmarks;
    int                              mark;
    uint64_t                         position;
    uint64_t                         now;           /* since boot */
} ngx_http_logbroker_keys_job_t;


/* Has a thread read keys back, if there is something to read. */
void ngx_http_logbroker_keys_look(ngx_http_logbroker_worker_t *w);


#endif /* _NGX_HTTP_LOGBROKER_KEYS_LOAD_H_INCLUDED_ */
