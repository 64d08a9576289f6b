/*
 * What a request says who it is with: the tokens in its header.
 *
 * The first of these that a request has is the one that counts:
 *
 *     Authorization: Bearer TOKEN | Splunk TOKEN | ApiKey TOKEN
 *     Authorization: ApiKey BASE64 of ID:TOKEN
 *     Authorization: Basic BASE64 of ANYTHING:TOKEN, or of TOKEN:
 *     DD-API-KEY, X-Amz-Firehose-Access-Key, X-API-Key, Api-Key: TOKEN
 *     /v1/input/TOKEN, ?dd-api-key=TOKEN
 *
 * Metadata of gRPC are headers.
 */


#ifndef _NGX_HTTP_LOGBROKER_TOKEN_H_INCLUDED_
#define _NGX_HTTP_LOGBROKER_TOKEN_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/* what a token may be taken for: as it stands, and what is in it */
#define NGX_HTTP_LOGBROKER_TOKENS        2

/* bytes of a SHA-256 */
#define NGX_HTTP_LOGBROKER_TOKEN_HASH    32


/* The tokens of a request, NGX_HTTP_LOGBROKER_TOKENS at most, in its memory;
 * how many there are, or NGX_ERROR without memory. */
ngx_int_t ngx_http_logbroker_tokens(ngx_http_request_t *r, ngx_str_t *tokens);

/* The SHA-256 of a token into NGX_HTTP_LOGBROKER_TOKEN_HASH bytes; NGX_ERROR
 * where there is none to be had: nginx without OpenSSL. */
ngx_int_t ngx_http_logbroker_token_hash(ngx_str_t *token, u_char *hash);


#endif /* _NGX_HTTP_LOGBROKER_TOKEN_H_INCLUDED_ */
