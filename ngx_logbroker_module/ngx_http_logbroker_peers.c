/*
 * Many requests as one in the turns of round robin: see peers.h.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_logbroker_peers.h"


static ngx_http_upstream_rr_peers_t *ngx_http_logbroker_peers(
    ngx_http_upstream_srv_conf_t *upstream);
static ngx_http_upstream_rr_peer_t *ngx_http_logbroker_peer(
    ngx_http_upstream_rr_peers_t *peers, ngx_str_t *name);
static ngx_uint_t ngx_http_logbroker_peer_failed(
    ngx_http_upstream_rr_peer_t *peer);


void
ngx_http_logbroker_peers_took(ngx_http_upstream_srv_conf_t *upstream,
    ngx_str_t *name, ngx_uint_t n)
{
    time_t                         now;
    ngx_int_t                      total;
    ngx_http_upstream_rr_peer_t   *peer, *taken;
    ngx_http_upstream_rr_peers_t  *peers;

    peers = ngx_http_logbroker_peers(upstream);

    if (peers == NULL || name == NULL) {
        return;
    }

    now = ngx_time();
    total = 0;

    ngx_http_upstream_rr_peers_wlock(peers);

    taken = ngx_http_logbroker_peer(peers, name);

    /* one turn was taken; the others are of those that can be asked now */

    for (peer = taken ? peers->peer : NULL; peer; peer = peer->next) {

        if (peer->down
            || (ngx_http_logbroker_peer_failed(peer)
                && now - peer->checked <= peer->fail_timeout))
        {
            continue;
        }

        peer->current_weight += peer->effective_weight * (ngx_int_t) (n - 1);
        total += peer->effective_weight;
    }

    if (taken) {
        taken->current_weight -= total * (ngx_int_t) (n - 1);
    }

    ngx_http_upstream_rr_peers_unlock(peers);
}


void
ngx_http_logbroker_peers_failed(ngx_http_upstream_srv_conf_t *upstream,
    ngx_str_t *name, ngx_uint_t n)
{
    ngx_http_upstream_rr_peer_t   *peer;
    ngx_http_upstream_rr_peers_t  *peers;

    peers = ngx_http_logbroker_peers(upstream);

    if (peers == NULL) {
        return;
    }

    ngx_http_upstream_rr_peers_wlock(peers);

    peer = ngx_http_logbroker_peer(peers, name);

    /* one of them is counted already */

    if (peer) {
        peer->fails += n - 1;
    }

    ngx_http_upstream_rr_peers_unlock(peers);
}


ngx_uint_t
ngx_http_logbroker_peers_doubt(ngx_http_upstream_srv_conf_t *upstream)
{
    time_t                         now;
    ngx_uint_t                     doubt;
    ngx_http_upstream_rr_peer_t   *peer;
    ngx_http_upstream_rr_peers_t  *peers;

    peers = ngx_http_logbroker_peers(upstream);

    if (peers == NULL) {
        return 0;
    }

    now = ngx_time();
    doubt = 0;

    ngx_http_upstream_rr_peers_rlock(peers);

    for (peer = peers->peer; peer; peer = peer->next) {

        if (!peer->down && ngx_http_logbroker_peer_failed(peer)
            && now - peer->checked > peer->fail_timeout)
        {
            doubt = 1;
            break;
        }
    }

    ngx_http_upstream_rr_peers_unlock(peers);

    return doubt;
}


/* NULL: there is no choice. */

static ngx_http_upstream_rr_peers_t *
ngx_http_logbroker_peers(ngx_http_upstream_srv_conf_t *upstream)
{
    ngx_http_upstream_rr_peers_t  *peers;

    peers = upstream ? upstream->peer.data : NULL;

    return peers && !peers->single ? peers : NULL;
}


static ngx_http_upstream_rr_peer_t *
ngx_http_logbroker_peer(ngx_http_upstream_rr_peers_t *peers, ngx_str_t *name)
{
    ngx_http_upstream_rr_peer_t  *peer;

    for (peer = peers->peer; peer; peer = peer->next) {

        if (peer->name.len == name->len
            && ngx_memcmp(peer->name.data, name->data, name->len) == 0)
        {
            return peer;
        }
    }

    return NULL;
}


/* As often as it may. */

static ngx_uint_t
ngx_http_logbroker_peer_failed(ngx_http_upstream_rr_peer_t *peer)
{
    return peer->max_fails && peer->fails >= peer->max_fails;
}
