#!/usr/bin/env bash
# Gets the edge's certificate by ACME (Let's Encrypt unless told otherwise) and
# renews it, with Debian's dehydrated. Run it once a day: it asks for a new one in
# the last 30 days, and when the names have changed. docs/deploy.md
#
#   certificate.sh NAME...   names of the edge, the first is the certificate's own
#
#   LOGBROKER_EDGE     /etc/logbroker/edge: a folder that has tls/ (what render.sh
#                      calls TLS) and acme/ (its ACME, answers to the authority)
#   LOGBROKER_RELOAD   "systemctl reload logbroker-edge": the edge takes the new
#                      certificate; no connection breaks
#   LOGBROKER_OWNER    who may read the key, USER:GROUP; as it is
#   LOGBROKER_ACME     letsencrypt: or the URL of an authority's directory
#   LOGBROKER_EMAIL    who is told by the authority; nobody
#   LOGBROKER_STATE    /var/lib/logbroker-acme: account and what was issued
#
# Where there is no certificate yet it makes one that nobody trusts, so that the
# edge can start and answer on port 80: "certificate.sh --first NAME..." does only
# this.
set -euo pipefail
umask 077

edge=${LOGBROKER_EDGE:-/etc/logbroker/edge}
reload=${LOGBROKER_RELOAD:-systemctl reload logbroker-edge}
authority=${LOGBROKER_ACME:-letsencrypt}
email=${LOGBROKER_EMAIL-}
state=${LOGBROKER_STATE:-/var/lib/logbroker-acme}

fail() {
    echo "certificate.sh: $*" >&2
    exit 1
}

first=
[ "${1-}" != --first ] || { first=yes; shift; }
[ $# -gt 0 ] || { echo "usage: certificate.sh [--first] NAME..." >&2; exit 2; }
for name in "$@"; do
    [[ $name =~ ^[A-Za-z0-9.-]+$ ]] || fail "not a name that HTTP-01 can prove: $name"
done

# deploy CERTIFICATE KEY: into tls/, the key first; what nginx reads is never half
# a file, and it reads them only at a reload
deploy() {
    local file
    [ "$(openssl x509 -in "$1" -noout -pubkey)" = "$(openssl pkey -in "$2" -pubout)" ] ||
        fail "$1 and $2 do not belong together"
    install -m 0400 "$2" "$edge/tls/key.pem.new"
    install -m 0444 "$1" "$edge/tls/cert.pem.new"
    for file in key.pem cert.pem; do
        [ -z "${LOGBROKER_OWNER-}" ] || chown "$LOGBROKER_OWNER" "$edge/tls/$file.new"
        mv "$edge/tls/$file.new" "$edge/tls/$file"
    done
}

mkdir -p "$state"
for folder in tls acme; do
    if [ ! -d "$edge/$folder" ]; then
        (umask 022 && mkdir -p "$edge/$folder")
    fi
done

exec 9>"$state/.lock"
flock -w 300 9 || fail "another one is at work"

if [ ! -s "$edge/tls/cert.pem" ] || [ ! -s "$edge/tls/key.pem" ]; then
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 \
        -subj "/CN=$1" -addext "subjectAltName=DNS:$1" \
        -keyout "$state/first.key" -out "$state/first.pem" 2>/dev/null
    deploy "$state/first.pem" "$state/first.key"
fi
[ -z "$first" ] || exit 0

cat >"$state/config" <<EOF
BASEDIR="$state"
WELLKNOWN="$edge/acme"
CA="$authority"
CHALLENGETYPE="http-01"
KEY_ALGO="prime256v1"
RENEW_DAYS=30
AUTO_CLEANUP="yes"
${email:+CONTACT_EMAIL="$email"}
EOF
printf '%s ' "$@" >"$state/domains.txt"
echo "> edge" >>"$state/domains.txt"

# others than this user serve the answers; there is no secret in them
umask 022
issue() {
    dehydrated --no-lock --config "$state/config" --register --accept-terms >/dev/null &&
        dehydrated --no-lock --config "$state/config" --cron --accept-terms
}
# it does not repeat a request by itself that the authority refuses for its nonce
issue || issue ||
    fail "no new certificate from $authority; the old one is good until $(openssl x509 -in "$edge/tls/cert.pem" -noout -enddate | cut -d= -f2)"
umask 077

# compared with what is in use, and not done when dehydrated says so: a reload
# that failed the last time is made up for
if ! cmp -s "$state/certs/edge/fullchain.pem" "$edge/tls/cert.pem"; then
    deploy "$state/certs/edge/fullchain.pem" "$state/certs/edge/privkey.pem"
    rm -f "$state/reloaded"
fi
if [ ! -e "$state/reloaded" ]; then
    $reload || fail "the edge was not reloaded: $reload"
    touch "$state/reloaded"
    echo "the edge has the certificate of $(openssl x509 -in "$edge/tls/cert.pem" -noout -serial -enddate | tr '\n' ' ')"
fi
