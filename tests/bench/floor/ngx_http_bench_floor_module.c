/*
 * The floor of the benchmark: the least a module can do that takes a POST.
 *
 *   bench_floor;            nginx reads the body into memory, 204
 *   bench_floor inflate;    the same, and the body is taken for gzip and
 *                           inflated by libdeflate
 *
 * No module that looks at the body can be faster.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include <libdeflate.h>


/* what a body may be, packed and inflated */
#define NGX_HTTP_BENCH_FLOOR_MAX  (2 * 1024 * 1024)


static char *ngx_http_bench_floor(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static ngx_int_t ngx_http_bench_floor_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_bench_floor_gzip_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_bench_floor_read(ngx_http_request_t *r,
    ngx_http_client_body_handler_pt handler);
static void ngx_http_bench_floor_body_handler(ngx_http_request_t *r);
static void ngx_http_bench_floor_inflate_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_bench_floor_inflate(ngx_http_request_t *r);


static ngx_command_t  ngx_http_bench_floor_commands[] = {

    { ngx_string("bench_floor"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS|NGX_CONF_TAKE1,
      ngx_http_bench_floor,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_bench_floor_module_ctx = {
    NULL,                                  /* preconfiguration */
    NULL,                                  /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_http_bench_floor_module = {
    NGX_MODULE_V1,
    &ngx_http_bench_floor_module_ctx,      /* module context */
    ngx_http_bench_floor_commands,         /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static char *
ngx_http_bench_floor(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_str_t                 *value;
    ngx_http_core_loc_conf_t  *clcf;

    value = cf->args->elts;

    if (cf->args->nelts == 2 && ngx_strcmp(value[1].data, "inflate") != 0) {
        return "takes \"inflate\" or nothing";
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    clcf->handler = cf->args->nelts == 2 ? ngx_http_bench_floor_gzip_handler
                                         : ngx_http_bench_floor_handler;

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_bench_floor_handler(ngx_http_request_t *r)
{
    return ngx_http_bench_floor_read(r, ngx_http_bench_floor_body_handler);
}


static ngx_int_t
ngx_http_bench_floor_gzip_handler(ngx_http_request_t *r)
{
    return ngx_http_bench_floor_read(r, ngx_http_bench_floor_inflate_handler);
}


static ngx_int_t
ngx_http_bench_floor_read(ngx_http_request_t *r,
    ngx_http_client_body_handler_pt handler)
{
    ngx_int_t  rc;

    r->request_body_in_single_buf = 1;

    rc = ngx_http_read_client_request_body(r, handler);

    if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
        return rc;
    }

    return NGX_DONE;
}


static void
ngx_http_bench_floor_body_handler(ngx_http_request_t *r)
{
    r->headers_out.status = NGX_HTTP_NO_CONTENT;
    r->header_only = 1;

    ngx_http_finalize_request(r, ngx_http_send_header(r));
}


static void
ngx_http_bench_floor_inflate_handler(ngx_http_request_t *r)
{
    if (ngx_http_bench_floor_inflate(r) != NGX_OK) {
        ngx_http_finalize_request(r, NGX_HTTP_BAD_REQUEST);
        return;
    }

    ngx_http_bench_floor_body_handler(r);
}


static ngx_int_t
ngx_http_bench_floor_inflate(ngx_http_request_t *r)
{
    size_t        made;
    u_char       *last;
    ngx_chain_t  *cl;

    static u_char                           packed[NGX_HTTP_BENCH_FLOOR_MAX];
    static u_char                           inflated[NGX_HTTP_BENCH_FLOOR_MAX];
    static struct libdeflate_decompressor  *decompressor;

    if (decompressor == NULL) {
        decompressor = libdeflate_alloc_decompressor();
    }

    if (decompressor == NULL || r->request_body == NULL
        || r->headers_in.content_length_n > NGX_HTTP_BENCH_FLOOR_MAX)
    {
        return NGX_ERROR;
    }

    /* what came with the header is in a buffer of its own */

    last = packed;

    for (cl = r->request_body->bufs; cl; cl = cl->next) {
        last = ngx_cpymem(last, cl->buf->pos, cl->buf->last - cl->buf->pos);
    }

    return libdeflate_gzip_decompress(decompressor, packed, last - packed,
                                      inflated, sizeof(inflated), &made)
               == LIBDEFLATE_SUCCESS ? NGX_OK : NGX_ERROR;
}
