/*
 * The spool: logbroker_spool, and its directory.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "spool/lb_error.h"
#include "spool/lb_format.h"
#include "spool/lb_left.h"
#include "spool/lb_open.h"
#include "spool/lb_spool.h"

#include "ngx_http_logbroker_module.h"
#include "ngx_http_logbroker_conf.h"
#include "ngx_http_logbroker_counters.h"
#include "ngx_http_logbroker_spool.h"


#define NGX_HTTP_LOGBROKER_SIZE_MIN      (64 * 1024)
#define NGX_HTTP_LOGBROKER_SIZE_MAX      ((off_t) 1 << 40)
#define NGX_HTTP_LOGBROKER_SIZE_DEFAULT  (256 * 1024 * 1024)


static char *ngx_http_logbroker_spool_path(ngx_conf_t *cf,
    ngx_http_logbroker_main_conf_t *lmcf);
static char *ngx_http_logbroker_spool_size(ngx_conf_t *cf,
    ngx_http_logbroker_main_conf_t *lmcf, ngx_str_t *param);
static char *ngx_http_logbroker_spool_rings(ngx_conf_t *cf,
    ngx_http_logbroker_main_conf_t *lmcf, ngx_str_t *param);


/* logbroker_spool <path> [size=256m] [rings=N]; */

char *
ngx_http_logbroker_spool(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_logbroker_main_conf_t *lmcf = conf;

    char        *rv;
    ngx_str_t   *value, name;
    ngx_uint_t   i;

    if (lmcf->path.data) {
        return "is duplicate";
    }

    value = cf->args->elts;

    lmcf->path = value[1];

    rv = ngx_http_logbroker_spool_path(cf, lmcf);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    for (i = 2; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "size=", 5) == 0) {
            rv = ngx_http_logbroker_spool_size(cf, lmcf, &value[i]);

        } else if (ngx_strncmp(value[i].data, "rings=", 6) == 0) {
            rv = ngx_http_logbroker_spool_rings(cf, lmcf, &value[i]);

        } else {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\": "
                               "\"logbroker_spool\" knows size= and rings=",
                               &value[i]);
            return NGX_CONF_ERROR;
        }

        if (rv != NGX_CONF_OK) {
            return rv;
        }
    }

    if (lmcf->size == 0) {
        lmcf->size = NGX_HTTP_LOGBROKER_SIZE_DEFAULT;
    }

    ngx_str_set(&name, "logbroker");

    lmcf->zone = ngx_shared_memory_add(cf, &name, 8 * ngx_pagesize,
                                       &ngx_http_logbroker_module);
    if (lmcf->zone == NULL) {
        return NGX_CONF_ERROR;
    }

    lmcf->zone->init = ngx_http_logbroker_counters_init;

    lmcf->pool = ngx_thread_pool_add(cf, NULL);
    if (lmcf->pool == NULL) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_logbroker_spool_path(ngx_conf_t *cf,
    ngx_http_logbroker_main_conf_t *lmcf)
{
    ngx_file_info_t  fi;

    while (lmcf->path.len > 1 && lmcf->path.data[lmcf->path.len - 1] == '/') {
        lmcf->path.len--;
        lmcf->path.data[lmcf->path.len] = '\0';
    }

    if (lmcf->path.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"logbroker_spool\" needs the path of a "
                           "directory");
        return NGX_CONF_ERROR;
    }

    if (ngx_conf_full_name(cf->cycle, &lmcf->path, 0) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    /* room for the names of the files in it */

    if (lmcf->path.len > NGX_MAX_PATH - 64) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "the path of \"logbroker_spool\" is too long");
        return NGX_CONF_ERROR;
    }

    if (ngx_file_info(lmcf->path.data, &fi) != NGX_FILE_ERROR
        && !ngx_is_dir(&fi))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"logbroker_spool\": \"%V\" is not a directory",
                           &lmcf->path);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_logbroker_spool_size(ngx_conf_t *cf,
    ngx_http_logbroker_main_conf_t *lmcf, ngx_str_t *param)
{
    off_t      size;
    ngx_str_t  s;

    if (lmcf->size) {
        return "has \"size=\" twice";
    }

    s.data = param->data + 5;
    s.len = param->len - 5;

    size = ngx_http_logbroker_parse_size(&s);

    if (size == NGX_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid \"%V\": the size of a ring is a number "
                           "with k, m, g or t, for example size=256m", param);
        return NGX_CONF_ERROR;
    }

    if (size < NGX_HTTP_LOGBROKER_SIZE_MIN
        || size > NGX_HTTP_LOGBROKER_SIZE_MAX)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\": the size of a ring must be between 64k "
                           "and 1t", param);
        return NGX_CONF_ERROR;
    }

    lmcf->size = (size + LB_PAGE - 1) / LB_PAGE * LB_PAGE;

    return NGX_CONF_OK;
}


static char *
ngx_http_logbroker_spool_rings(ngx_conf_t *cf,
    ngx_http_logbroker_main_conf_t *lmcf, ngx_str_t *param)
{
    ngx_int_t  rings;

    if (lmcf->rings) {
        return "has \"rings=\" twice";
    }

    rings = ngx_atoi(param->data + 6, param->len - 6);

    if (rings == NGX_ERROR || rings < 1 || rings > (int) LB_SLOTS_MAX) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\": the number of rings must be between 1 and "
                           "%ui", param, (ngx_uint_t) LB_SLOTS_MAX);
        return NGX_CONF_ERROR;
    }

    lmcf->rings = rings;

    return NGX_CONF_OK;
}


/* A reload gave the spool another path: the old one needs a flusher still. */

static void
ngx_http_logbroker_left_behind(ngx_cycle_t *cycle, ngx_str_t *path)
{
    ngx_uint_t                       i;
    lb_left_t                        left;
    lb_error_t                       err;
    lb_spool_t                      *spool;
    ngx_cycle_t                     *old;
    ngx_http_logbroker_main_conf_t  *lmcf;

    old = cycle->old_cycle;

    if (old == NULL || old->conf_ctx == NULL || old->modules == NULL) {
        return;
    }

    for (i = 0; old->modules[i] != &ngx_http_logbroker_module; i++) {
        if (old->modules[i] == NULL) {
            return;
        }
    }

    lmcf = ngx_http_cycle_get_module_main_conf(old, ngx_http_logbroker_module);

    if (lmcf == NULL || lmcf->path.data == NULL
        || ngx_strcmp(lmcf->path.data, path->data) == 0
        || lb_spool_open((char *) lmcf->path.data, 0, &spool, &err) != 0)
    {
        return;
    }

    lb_spool_left(spool, &left);
    lb_spool_close(spool);

    ngx_log_error(NGX_LOG_WARN, cycle->log, 0,
                  "logbroker: the spool is \"%V\" from now on; \"%V\" still "
                  "holds %uL events, which only a flusher with that path "
                  "delivers", path, &lmcf->path, left.events + left.letters);
}


/*
 * Runs in the master, at start and at each reload: nothing here may fail, a
 * worker without a spool answers 503 and says why.
 */

ngx_int_t
ngx_http_logbroker_init_module(ngx_cycle_t *cycle)
{
    ngx_err_t                        err;
    ngx_core_conf_t                 *ccf;
    ngx_http_logbroker_main_conf_t  *lmcf;

    lmcf = ngx_http_cycle_get_module_main_conf(cycle,
                                               ngx_http_logbroker_module);

    if (lmcf == NULL || lmcf->path.data == NULL) {
        return NGX_OK;
    }

    ccf = (ngx_core_conf_t *) ngx_get_conf(cycle->conf_ctx, ngx_core_module);

    if (lmcf->rings && lmcf->rings < (ngx_uint_t) ccf->worker_processes) {
        ngx_log_error(NGX_LOG_WARN, cycle->log, 0,
                      "logbroker: rings=%ui is less than worker_processes "
                      "%i: workers without a ring will answer 503",
                      lmcf->rings, ccf->worker_processes);
    }

    if (ngx_test_config) {
        return NGX_OK;
    }

    ngx_http_logbroker_left_behind(cycle, &lmcf->path);

    if (ngx_create_dir(lmcf->path.data, 0770) == NGX_FILE_ERROR) {
        err = ngx_errno;

        if (err != NGX_EEXIST) {
            ngx_log_error(NGX_LOG_CRIT, cycle->log, err,
                          "logbroker: cannot create the spool: "
                          ngx_create_dir_n " \"%V\" failed", &lmcf->path);
        }

        return NGX_OK;
    }

    /* mkdir() obeys the umask, the flusher's group must get in */

    if (chmod((char *) lmcf->path.data, 0770) == -1) {
        ngx_log_error(NGX_LOG_CRIT, cycle->log, ngx_errno,
                      "logbroker: chmod() \"%V\" failed", &lmcf->path);
    }

    if (geteuid() == 0
        && chown((char *) lmcf->path.data, ccf->user, ccf->group) == -1)
    {
        ngx_log_error(NGX_LOG_CRIT, cycle->log, ngx_errno,
                      "logbroker: chown() \"%V\" failed", &lmcf->path);
    }

    return NGX_OK;
}
