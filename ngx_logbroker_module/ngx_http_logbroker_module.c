/*
 * Directives, configurations and hooks.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_logbroker_conf.h"
#include "ngx_http_logbroker_request.h"
#include "ngx_http_logbroker_access.h"
#include "ngx_http_logbroker_access_conf.h"
#include "ngx_http_logbroker_answers.h"
#include "ngx_http_logbroker_cors.h"
#include "ngx_http_logbroker_deadline.h"
#include "ngx_http_logbroker_dialect.h"
#include "ngx_http_logbroker_digest.h"
#include "ngx_http_logbroker_gather.h"
#include "ngx_http_logbroker_gathered.h"
#include "ngx_http_logbroker_keys.h"
#include "ngx_http_logbroker_process.h"
#include "ngx_http_logbroker_senders.h"
#include "ngx_http_logbroker_spool.h"
#include "ngx_http_logbroker_status.h"
#include "ngx_http_logbroker_tail.h"
#include "ngx_http_logbroker_tails.h"
#include "ngx_http_logbroker_variables.h"
#include "ngx_http_logbroker_module.h"


static ngx_int_t ngx_http_logbroker_init(ngx_conf_t *cf);
static char *ngx_http_logbroker(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_logbroker_check_max_event(ngx_conf_t *cf, void *post,
    void *data);
static char *ngx_http_logbroker_check_write_timeout(ngx_conf_t *cf,
    void *post, void *data);
static char *ngx_http_logbroker_check_max_body(ngx_conf_t *cf, void *post,
    void *data);
static void *ngx_http_logbroker_create_main_conf(ngx_conf_t *cf);
static char *ngx_http_logbroker_init_main_conf(ngx_conf_t *cf, void *conf);
static void *ngx_http_logbroker_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_logbroker_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);


static ngx_conf_enum_t  ngx_http_logbroker_sync_modes[] = {
    { ngx_string("off"), NGX_HTTP_LOGBROKER_SYNC_OFF },
    { ngx_string("always"), NGX_HTTP_LOGBROKER_SYNC_ALWAYS },
    { ngx_null_string, 0 }
};


static ngx_conf_enum_t  ngx_http_logbroker_successes[] = {
    { ngx_string("200"), NGX_HTTP_OK },
    { ngx_string("204"), NGX_HTTP_NO_CONTENT },
    { ngx_null_string, 0 }
};


static ngx_conf_enum_t  ngx_http_logbroker_content_types[] = {
    { ngx_string("auto"), NGX_HTTP_LOGBROKER_CONTENT_TYPE_AUTO },
    { ngx_string("strict"), NGX_HTTP_LOGBROKER_CONTENT_TYPE_STRICT },
    { ngx_string("json"), NGX_HTTP_LOGBROKER_CONTENT_TYPE_JSON },
    { ngx_null_string, 0 }
};


static ngx_conf_post_t  ngx_http_logbroker_max_event_post = {
    ngx_http_logbroker_check_max_event
};


static ngx_conf_post_t  ngx_http_logbroker_write_timeout_post = {
    ngx_http_logbroker_check_write_timeout
};


static ngx_conf_post_t  ngx_http_logbroker_max_body_post = {
    ngx_http_logbroker_check_max_body
};


static ngx_command_t  ngx_http_logbroker_commands[] = {

    { ngx_string("logbroker_spool"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_1MORE,
      ngx_http_logbroker_spool,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("logbroker_idempotency"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE12,
      ngx_http_logbroker_idempotency,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("logbroker_write_timeout"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_logbroker_main_conf_t, write_timeout),
      &ngx_http_logbroker_write_timeout_post },

    { ngx_string("logbroker"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_http_logbroker,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("logbroker_otlp"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_http_logbroker,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("logbroker_elasticsearch"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_http_logbroker,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("logbroker_splunk"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_http_logbroker,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("logbroker_loki"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_http_logbroker,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("logbroker_firehose"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_http_logbroker,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("logbroker_datadog"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_http_logbroker,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("logbroker_gelf"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_http_logbroker,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("logbroker_stream"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_set_complex_value_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_logbroker_loc_conf_t, stream),
      NULL },

    { ngx_string("logbroker_sync"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_enum_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_logbroker_loc_conf_t, sync),
      &ngx_http_logbroker_sync_modes },

    { ngx_string("logbroker_success"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_enum_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_logbroker_loc_conf_t, success),
      &ngx_http_logbroker_successes },

    { ngx_string("logbroker_content_type"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_enum_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_logbroker_loc_conf_t, content_type),
      &ngx_http_logbroker_content_types },

    { ngx_string("logbroker_cors"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_logbroker_cors,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("logbroker_answer_within"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_logbroker_loc_conf_t, answer_within),
      NULL },

    { ngx_string("logbroker_gather"),
      NGX_HTTP_LOC_CONF|NGX_CONF_TAKE2,
      ngx_http_logbroker_gather,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("logbroker_gathered"),
      NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_logbroker_gathered,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("logbroker_deduplicate"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_logbroker_loc_conf_t, deduplicate),
      NULL },

    { ngx_string("logbroker_max_event"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_size_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_logbroker_loc_conf_t, max_event),
      &ngx_http_logbroker_max_event_post },

    { ngx_string("logbroker_max_body"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_size_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_logbroker_loc_conf_t, max_body),
      &ngx_http_logbroker_max_body_post },

    { ngx_string("logbroker_access_log"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_HTTP_LIF_CONF
                        |NGX_CONF_TAKE12,
      ngx_http_logbroker_access_log,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("logbroker_access_field"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE2,
      ngx_http_logbroker_access_field,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("logbroker_sender"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_2MORE,
      ngx_http_logbroker_sender,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("logbroker_senders"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_http_logbroker_senders,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_logbroker_loc_conf_t, senders),
      NULL },

    { ngx_string("logbroker_senders_status"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_http_logbroker_senders_status,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("logbroker_tail"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_http_logbroker_tail,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("logbroker_tails"),
      NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_logbroker_tails,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("logbroker_status"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS|NGX_CONF_TAKE1,
      ngx_http_logbroker_status,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("logbroker_answers"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_http_logbroker_answers,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_logbroker_module_ctx = {
    ngx_http_logbroker_add_variables,      /* preconfiguration */
    ngx_http_logbroker_init,               /* postconfiguration */

    ngx_http_logbroker_create_main_conf,   /* create main configuration */
    ngx_http_logbroker_init_main_conf,     /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_logbroker_create_loc_conf,    /* create location configuration */
    ngx_http_logbroker_merge_loc_conf      /* merge location configuration */
};


ngx_module_t  ngx_http_logbroker_module = {
    NGX_MODULE_V1,
    &ngx_http_logbroker_module_ctx,        /* module context */
    ngx_http_logbroker_commands,           /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    ngx_http_logbroker_init_module,        /* init module */
    ngx_http_logbroker_init_process,       /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_http_logbroker_exit_process,       /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_int_t
ngx_http_logbroker_init(ngx_conf_t *cf)
{
    if (ngx_http_logbroker_cors_init(cf) != NGX_OK
        || ngx_http_logbroker_deadline_init(cf) != NGX_OK
        || ngx_http_logbroker_gather_init(cf) != NGX_OK
        || ngx_http_logbroker_answers_init(cf) != NGX_OK
        || ngx_http_logbroker_senders_init(cf) != NGX_OK
        || ngx_http_logbroker_access_init(cf) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_logbroker_digest_init(cf);
}


static char *
ngx_http_logbroker(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_logbroker_loc_conf_t *llcf = conf;

    char                      *rv;
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    rv = ngx_http_logbroker_take_location(cf, ngx_http_logbroker_handler);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    llcf->handler = ngx_http_logbroker_handler;
    llcf->dialect = ngx_http_logbroker_dialect(&cmd->name);

    if (!clcf->named
#if (NGX_PCRE)
        && clcf->regex == NULL
#endif
       )
    {
        llcf->prefix = clcf->name;
    }

    ngx_http_logbroker_needs_spool(cf, &cmd->name);

    return NGX_CONF_OK;
}


static char *
ngx_http_logbroker_check_max_event(ngx_conf_t *cf, void *post, void *data)
{
    size_t *sp = data;

    if (*sp < 2 || *sp > NGX_MAX_INT32_VALUE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"logbroker_max_event\" must be between 2 bytes "
                           "(the event \"{}\") and 2g");
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_logbroker_check_write_timeout(ngx_conf_t *cf, void *post, void *data)
{
    ngx_msec_t *msp = data;

    if (*msp < 100 || *msp > 3600 * 1000) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"logbroker_write_timeout\" must be between "
                           "100ms and 1h");
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_logbroker_check_max_body(ngx_conf_t *cf, void *post, void *data)
{
    size_t *sp = data;

    if (*sp < 1024 || *sp > 1024 * 1024 * 1024) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"logbroker_max_body\" must be between 1k and "
                           "1g");
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static void *
ngx_http_logbroker_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_logbroker_main_conf_t  *lmcf;

    lmcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_logbroker_main_conf_t));
    if (lmcf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     path, name, file = { 0, NULL };
     *     size, total, rings, line = 0;
     *     zone, pool, keys_zone, answers_zone = NULL;
     *     digests = 0;
     *     senders = NULL;
     */

    lmcf->write_timeout = NGX_CONF_UNSET_MSEC;
    lmcf->keys = NGX_CONF_UNSET;
    lmcf->keys_window = NGX_CONF_UNSET;
    lmcf->keys_size = NGX_CONF_UNSET_SIZE;

    return lmcf;
}


static char *
ngx_http_logbroker_init_main_conf(ngx_conf_t *cf, void *conf)
{
    ngx_http_logbroker_main_conf_t *lmcf = conf;

    ngx_str_t  name;

    if (lmcf->name.len && lmcf->path.data == NULL) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"%V\" in %V:%ui needs a spool: add "
                      "\"logbroker_spool <path>;\" to the http block",
                      &lmcf->name, &lmcf->file, lmcf->line);
        return NGX_CONF_ERROR;
    }

    ngx_conf_init_msec_value(lmcf->write_timeout, 2000);
    ngx_conf_init_value(lmcf->keys, 1);
    ngx_conf_init_value(lmcf->keys_window, 600);
    ngx_conf_init_size_value(lmcf->keys_size, 16 * 1024 * 1024);

    if (lmcf->path.data == NULL || !lmcf->keys) {
        return NGX_CONF_OK;
    }

    ngx_str_set(&name, "logbroker_keys");

    lmcf->keys_zone = ngx_shared_memory_add(cf, &name, lmcf->keys_size,
                                            &ngx_http_logbroker_module);
    if (lmcf->keys_zone == NULL) {
        return NGX_CONF_ERROR;
    }

    lmcf->keys_zone->init = ngx_http_logbroker_keys_init_zone;

    return NGX_CONF_OK;
}


static void *
ngx_http_logbroker_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_logbroker_loc_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ngx_http_logbroker_loc_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     conf->stream = NULL;
     *     conf->handler = NULL;
     *     conf->dialect = NULL;
     *     conf->prefix = { 0, NULL };
     *     conf->status = NGX_HTTP_LOGBROKER_STATUS_ACCEPT;
     *     conf->legs = NULL;
     *     conf->gather = NULL;
     *     conf->access_fields = NULL;
     *     conf->digest = 0;
     */

    conf->sync = NGX_CONF_UNSET_UINT;
    conf->success = NGX_CONF_UNSET_UINT;
    conf->content_type = NGX_CONF_UNSET_UINT;
    conf->cors = NGX_CONF_UNSET_PTR;
    conf->answer_within = NGX_CONF_UNSET_MSEC;
    conf->max_event = NGX_CONF_UNSET_SIZE;
    conf->max_body = NGX_CONF_UNSET_SIZE;
    conf->deduplicate = NGX_CONF_UNSET;
    conf->senders = NGX_CONF_UNSET;
    conf->access = NGX_CONF_UNSET_PTR;

    return conf;
}


static char *
ngx_http_logbroker_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_logbroker_loc_conf_t *prev = parent;
    ngx_http_logbroker_loc_conf_t *conf = child;

    ngx_http_core_loc_conf_t        *clcf;
    ngx_http_logbroker_main_conf_t  *lmcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    /* "if" and "limit_except" belong to the location around them */

    if (clcf->noname && clcf->handler == NULL) {
        conf->handler = prev->handler;
        conf->dialect = prev->dialect;
        conf->prefix = prev->prefix;
        conf->status = prev->status;
        conf->legs = prev->legs;
        conf->gather = prev->gather;

        if (clcf->lmt_excpt) {
            clcf->handler = conf->handler;
        }
    }

    if (conf->stream == NULL) {
        conf->stream = prev->stream;
    }

    ngx_conf_merge_uint_value(conf->sync, prev->sync,
                              NGX_HTTP_LOGBROKER_SYNC_ALWAYS);
    ngx_conf_merge_uint_value(conf->success, prev->success,
                              NGX_HTTP_NO_CONTENT);
    ngx_conf_merge_uint_value(conf->content_type, prev->content_type,
                              NGX_HTTP_LOGBROKER_CONTENT_TYPE_AUTO);
    ngx_conf_merge_ptr_value(conf->cors, prev->cors, NULL);
    ngx_conf_merge_msec_value(conf->answer_within, prev->answer_within, 0);
    ngx_conf_merge_size_value(conf->max_event, prev->max_event, 1024 * 1024);
    ngx_conf_merge_size_value(conf->max_body, prev->max_body,
                              64 * 1024 * 1024);

    ngx_conf_merge_value(conf->senders, prev->senders, 0);

    /* without the directive the protocol decides */

    if (conf->deduplicate == NGX_CONF_UNSET) {
        conf->deduplicate = prev->deduplicate;
    }

    conf->digest = conf->deduplicate != NGX_CONF_UNSET
                       ? conf->deduplicate
                       : conf->dialect && conf->dialect->deduplicate;

    if (conf->digest) {
        lmcf = ngx_http_conf_get_module_main_conf(cf,
                                                  ngx_http_logbroker_module);
        lmcf->digests = 1;
    }

    return ngx_http_logbroker_access_merge(cf, prev, conf);
}
