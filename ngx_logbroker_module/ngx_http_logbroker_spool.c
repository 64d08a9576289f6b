/*
 * The spool: logbroker_spool, and its directory.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include <sys/statvfs.h>

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

/* of a size in words */
#define NGX_HTTP_LOGBROKER_SIZE_TEXT     (NGX_OFF_T_LEN + 2)


static char *ngx_http_logbroker_spool_path(ngx_conf_t *cf,
    ngx_http_logbroker_main_conf_t *lmcf);
static char *ngx_http_logbroker_spool_size(ngx_conf_t *cf,
    ngx_http_logbroker_main_conf_t *lmcf, ngx_str_t *param);
static char *ngx_http_logbroker_spool_total(ngx_conf_t *cf,
    ngx_http_logbroker_main_conf_t *lmcf, ngx_str_t *param);
static char *ngx_http_logbroker_spool_rings(ngx_conf_t *cf,
    ngx_http_logbroker_main_conf_t *lmcf, ngx_str_t *param);
static void ngx_http_logbroker_spool_sum(ngx_cycle_t *cycle,
    ngx_http_logbroker_main_conf_t *lmcf, ngx_uint_t workers);
static off_t ngx_http_logbroker_spool_room(ngx_str_t *path);
static off_t ngx_http_logbroker_spool_taken(ngx_str_t *path);
static u_char *ngx_http_logbroker_size_text(u_char *buf, off_t n);


/* logbroker_spool <path> [size=256m | total=] [rings=N]; */

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

        } else if (ngx_strncmp(value[i].data, "total=", 6) == 0) {
            rv = ngx_http_logbroker_spool_total(cf, lmcf, &value[i]);

        } else if (ngx_strncmp(value[i].data, "rings=", 6) == 0) {
            rv = ngx_http_logbroker_spool_rings(cf, lmcf, &value[i]);

        } else {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\": "
                               "\"logbroker_spool\" knows total=, size= and "
                               "rings=", &value[i]);
            return NGX_CONF_ERROR;
        }

        if (rv != NGX_CONF_OK) {
            return rv;
        }
    }

    if (lmcf->size && lmcf->total) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"logbroker_spool\" takes size=, of one ring, or "
                           "total=, of all, and not both");
        return NGX_CONF_ERROR;
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
ngx_http_logbroker_spool_total(ngx_conf_t *cf,
    ngx_http_logbroker_main_conf_t *lmcf, ngx_str_t *param)
{
    off_t      total;
    ngx_str_t  s;

    if (lmcf->total) {
        return "has \"total=\" twice";
    }

    s.data = param->data + 6;
    s.len = param->len - 6;

    total = ngx_http_logbroker_parse_size(&s);

    if (total == NGX_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid \"%V\": the size of the spool is a number "
                           "with k, m, g or t, for example total=64g", param);
        return NGX_CONF_ERROR;
    }

    if (total < NGX_HTTP_LOGBROKER_SIZE_MIN
        || total > NGX_HTTP_LOGBROKER_SIZE_MAX * LB_SLOTS_MAX)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\": the size of the spool must be between 64k "
                           "and 256t", param);
        return NGX_CONF_ERROR;
    }

    lmcf->total = total;

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


/* A ring for each worker, and as many in reserve; with total= there are no more
 * than these, whose sizes come to it. */

void
ngx_http_logbroker_spool_plan(ngx_http_logbroker_main_conf_t *lmcf,
    ngx_uint_t workers, ngx_http_logbroker_plan_t *plan)
{
    ngx_uint_t  most;

    most = lmcf->rings;

    if (most == 0) {
        most = lmcf->total ? 2 * workers : ngx_max(8, 4 * workers);
        most = ngx_min(most, LB_SLOTS_MAX);
    }

    plan->most = most;
    plan->begin = ngx_min(2 * workers, most);
    plan->size = lmcf->size;

    if (lmcf->total) {
        plan->size = lmcf->total / most / LB_PAGE * LB_PAGE;
        plan->size = ngx_max(plan->size, NGX_HTTP_LOGBROKER_SIZE_MIN);
        plan->size = ngx_min(plan->size, NGX_HTTP_LOGBROKER_SIZE_MAX);
    }
}


/* What all rings come to, and whether the disk has room for them.  Nothing is
 * touched. */

static void
ngx_http_logbroker_spool_sum(ngx_cycle_t *cycle,
    ngx_http_logbroker_main_conf_t *lmcf, ngx_uint_t workers)
{
    off_t                      room;
    u_char                     begin[NGX_HTTP_LOGBROKER_SIZE_TEXT];
    u_char                     size[NGX_HTTP_LOGBROKER_SIZE_TEXT];
    u_char                     most[NGX_HTTP_LOGBROKER_SIZE_TEXT];
    ngx_uint_t                 n;
    ngx_http_logbroker_plan_t  plan;

    ngx_http_logbroker_spool_plan(lmcf, workers, &plan);

    (void) ngx_http_logbroker_size_text(size, plan.size);
    (void) ngx_http_logbroker_size_text(begin, plan.begin * plan.size);
    (void) ngx_http_logbroker_size_text(most, plan.most * plan.size);

    if (!ngx_test_config) {
        ngx_log_error(NGX_LOG_NOTICE, cycle->log, 0,
                      "logbroker: the spool \"%V\" takes %s of the disk, %ui "
                      "rings of %s, and never more than %s",
                      &lmcf->path, begin, plan.begin, size, most);

    } else if (!ngx_quiet_mode) {
        ngx_log_stderr(0, "logbroker: the spool \"%V\" takes %s of the disk, "
                       "%ui rings of %s, and never more than %s",
                       &lmcf->path, begin, plan.begin, size, most);
    }

    if (lmcf->total && (off_t) plan.most * plan.size > lmcf->total) {
        ngx_log_error(NGX_LOG_WARN, cycle->log, 0,
                      "logbroker: total=%O is too little for %ui rings, the "
                      "smallest has 64k: the spool may take %s",
                      lmcf->total, plan.most, most);
    }

    room = ngx_http_logbroker_spool_room(&lmcf->path);

    if (room == NGX_ERROR || room >= (off_t) plan.begin * plan.size) {
        return;
    }

    n = room / plan.size;

    ngx_log_error(NGX_LOG_WARN, cycle->log, 0,
                  "logbroker: the disk of \"%V\" has room for %ui of its %ui "
                  "rings of %s%s", &lmcf->path, n, plan.begin, size,
                  n < workers ? ": workers without a ring answer 503"
                  : ", none is in reserve for each worker of a reload");
}


/* Bytes for rings: what is free, and what those take that are there. */

static off_t
ngx_http_logbroker_spool_room(ngx_str_t *path)
{
    u_char          *p, dir[NGX_MAX_PATH];
    struct statvfs   fs;

    (void) ngx_cpystrn(dir, path->data, sizeof(dir));

    if (statvfs((char *) dir, &fs) == -1) {

        /* it is made at the start, its parent is there */

        p = (u_char *) strrchr((char *) dir, '/');
        if (p == NULL) {
            return NGX_ERROR;
        }

        p[p == dir] = '\0';

        if (statvfs((char *) dir, &fs) == -1) {
            return NGX_ERROR;
        }
    }

    return (off_t) fs.f_bavail * (off_t) fs.f_frsize
           + ngx_http_logbroker_spool_taken(path);
}


static off_t
ngx_http_logbroker_spool_taken(ngx_str_t *path)
{
    off_t        taken;
    ngx_dir_t    dir;
    struct stat  st;

    if (ngx_open_dir(path, &dir) == NGX_ERROR) {
        return 0;
    }

    taken = 0;

    while (ngx_read_dir(&dir) == NGX_OK) {

        if (ngx_strncmp(ngx_de_name(&dir), "ring-", 5) == 0
            && fstatat(dirfd(dir.dir), (char *) ngx_de_name(&dir), &st,
                       AT_SYMLINK_NOFOLLOW)
               == 0)
        {
            taken += (off_t) st.st_blocks * 512;
        }
    }

    (void) ngx_close_dir(&dir);

    return taken;
}


static u_char *
ngx_http_logbroker_size_text(u_char *buf, off_t n)
{
    off_t        unit;
    ngx_uint_t   i;

    static char  units[] = "tgmk";

    unit = (off_t) 1 << 40;

    for (i = 0; i < 3; i++, unit >>= 10) {
        if (n && (n % unit == 0 || n >= 100 * unit)) {
            break;
        }
    }

    *ngx_sprintf(buf, "%O%c", n / unit, units[i]) = '\0';

    return buf;
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

    ngx_http_logbroker_spool_sum(cycle, lmcf, ccf->worker_processes);

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
