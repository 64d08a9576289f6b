/*
 * What a request says who it is with: see token.h.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#if (NGX_OPENSSL)
#include <openssl/evp.h>
#endif

#include "ngx_http_logbroker_headers.h"
#include "ngx_http_logbroker_token.h"


typedef struct {
    ngx_str_t                        name;          /* in lower case */
    unsigned                         plain:1;       /* may be the token */
    unsigned                         pair:1;        /* may be base64 of
                                                     * ANYTHING:TOKEN */
} ngx_http_logbroker_scheme_t;


static ngx_int_t ngx_http_logbroker_tokens_authorization(
    ngx_http_request_t *r, ngx_str_t *value, ngx_str_t *tokens);
static ngx_int_t ngx_http_logbroker_token_pair(ngx_http_request_t *r,
    ngx_str_t *text, ngx_str_t *token);


static const ngx_http_logbroker_scheme_t  ngx_http_logbroker_schemes[] = {
    { ngx_string("bearer"), 1, 0 },
    { ngx_string("splunk"), 1, 0 },
    { ngx_string("apikey"), 1, 1 },
    { ngx_string("basic"), 0, 1 },
    { ngx_null_string, 0, 0 }
};


static const ngx_str_t  ngx_http_logbroker_token_headers[] = {
    ngx_string("dd-api-key"),
    ngx_string("x-amz-firehose-access-key"),
    ngx_string("x-api-key"),
    ngx_string("api-key"),
    ngx_null_string
};


ngx_int_t
ngx_http_logbroker_tokens(ngx_http_request_t *r, ngx_str_t *tokens)
{
    ngx_table_elt_t  *h;
    const ngx_str_t  *name;

    static const ngx_str_t  authorization = ngx_string("authorization");
    static const ngx_str_t  input = ngx_string("/v1/input/");

    h = ngx_http_logbroker_header(r, &authorization, NULL);

    if (h) {
        return ngx_http_logbroker_tokens_authorization(r, &h->value, tokens);
    }

    for (name = ngx_http_logbroker_token_headers; name->len; name++) {

        h = ngx_http_logbroker_header(r, name, NULL);

        if (h) {
            tokens[0] = h->value;
            return 1;
        }
    }

    /* clients of Datadog that know nothing else */

    if (r->uri.len > input.len
        && ngx_strncmp(r->uri.data, input.data, input.len) == 0)
    {
        tokens[0].data = r->uri.data + input.len;
        tokens[0].len = r->uri.len - input.len;
        return 1;
    }

    return ngx_http_arg(r, (u_char *) "dd-api-key", sizeof("dd-api-key") - 1,
                        &tokens[0])
           == NGX_OK;
}


static ngx_int_t
ngx_http_logbroker_tokens_authorization(ngx_http_request_t *r,
    ngx_str_t *value, ngx_str_t *tokens)
{
    ngx_int_t                           n, rc;
    ngx_str_t                           text;
    const ngx_http_logbroker_scheme_t  *s;

    for (s = ngx_http_logbroker_schemes; s->name.len; s++) {
        if (value->len > s->name.len
            && value->data[s->name.len] == ' '
            && ngx_strncasecmp(value->data, s->name.data, s->name.len) == 0)
        {
            break;
        }
    }

    if (s->name.len == 0) {
        return 0;
    }

    text.data = value->data + s->name.len;
    text.len = value->len - s->name.len;

    while (text.len && *text.data == ' ') {
        text.data++;
        text.len--;
    }

    n = 0;

    if (s->plain && text.len) {
        tokens[n++] = text;
    }

    if (s->pair) {
        rc = ngx_http_logbroker_token_pair(r, &text, &tokens[n]);

        if (rc == NGX_ERROR) {
            return NGX_ERROR;
        }

        n += rc;
    }

    return n;
}


/* What stands behind the colon, or before it if that is all. */

static ngx_int_t
ngx_http_logbroker_token_pair(ngx_http_request_t *r, ngx_str_t *text,
    ngx_str_t *token)
{
    u_char     *colon;
    ngx_str_t   decoded;

    decoded.data = ngx_pnalloc(r->pool, ngx_base64_decoded_length(text->len)
                                        + 1);
    if (decoded.data == NULL) {
        return NGX_ERROR;
    }

    if (ngx_decode_base64(&decoded, text) != NGX_OK) {
        return 0;
    }

    colon = ngx_strlchr(decoded.data, decoded.data + decoded.len, ':');

    if (colon == NULL) {
        return 0;
    }

    token->data = colon + 1;
    token->len = decoded.data + decoded.len - token->data;

    if (token->len == 0) {
        token->data = decoded.data;
        token->len = colon - decoded.data;
    }

    return token->len != 0;
}


ngx_int_t
ngx_http_logbroker_token_hash(ngx_str_t *token, u_char *hash)
{
#if (NGX_OPENSSL)

    return EVP_Digest(token->data, token->len, hash, NULL, EVP_sha256(), NULL)
               ? NGX_OK : NGX_ERROR;

#else

    (void) token;
    (void) hash;

    return NGX_ERROR;

#endif
}
