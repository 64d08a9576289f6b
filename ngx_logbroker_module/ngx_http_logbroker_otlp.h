/*
 * The answers of OTLP as bytes of protobuf, for its two protocols: over HTTP
 * and over gRPC.
 */


#ifndef _NGX_HTTP_LOGBROKER_OTLP_H_INCLUDED_
#define _NGX_HTTP_LOGBROKER_OTLP_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_request.h"


/* codes of google.rpc.Status, which are those of gRPC */

typedef enum {
    NGX_HTTP_LOGBROKER_OTLP_OK = 0,
    NGX_HTTP_LOGBROKER_OTLP_INVALID = 3,
    NGX_HTTP_LOGBROKER_OTLP_EXHAUSTED = 8,
    NGX_HTTP_LOGBROKER_OTLP_UNIMPLEMENTED = 12,
    NGX_HTTP_LOGBROKER_OTLP_INTERNAL = 13,
    NGX_HTTP_LOGBROKER_OTLP_UNAVAILABLE = 14
} ngx_http_logbroker_otlp_code_e;


/* bytes of a varint of 64 bits */
#define NGX_HTTP_LOGBROKER_OTLP_VARINT       10

/* bytes, beside those of the words, that the functions below write at most */
#define NGX_HTTP_LOGBROKER_OTLP_REPLY        (4 * (1                          \
                                              + NGX_HTTP_LOGBROKER_OTLP_VARINT))

/* bytes of text that ngx_http_logbroker_otlp_words() needs */
#define NGX_HTTP_LOGBROKER_OTLP_WARNING      128


/* What is told of a request that was stored: why its first rejected record was,
 * or a warning, in text; empty: there is nothing to tell. */
void ngx_http_logbroker_otlp_words(ngx_http_logbroker_ctx_t *ctx,
    ngx_str_t *words, u_char *text);

/* ExportLogsServiceResponse, empty if there is nothing to tell, and
 * google.rpc.Status; return where they end. */
u_char *ngx_http_logbroker_otlp_response(u_char *p, ngx_uint_t rejected,
    ngx_str_t *words);
u_char *ngx_http_logbroker_otlp_rpc_status(u_char *p, ngx_uint_t code,
    ngx_str_t *words);


#endif /* _NGX_HTTP_LOGBROKER_OTLP_H_INCLUDED_ */
