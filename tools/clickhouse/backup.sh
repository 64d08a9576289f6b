#!/usr/bin/env bash
# Backups of the database logbroker into the disk "backups" of a ClickHouse
# server (conf/clickhouse/backups.xml), as the user in URL
# (http://user:password@host:8123) or the default one. docs/backups.md
#
#   backup.sh URL make                     one more: a full one each week, else
#                                          what is new since the last one
#   backup.sh URL list                     what there is, oldest first
#   backup.sh URL restore NAME [DATABASE]  "latest" or a name from the list, as
#                                          the database logbroker or another one
#   backup.sh URL drill                    restores the latest beside the live
#                                          table, compares, removes it again
#   backup.sh URL metrics                  for Prometheus
#
# A backup is named FULL/ITSELF, by the times at which they were begun: all that
# it needs is in the folder FULL. What is listed is complete.
set -euo pipefail
shopt -s inherit_errexit

full_days=7

fail() {
    echo "backup.sh: $*" >&2
    exit 1
}

usage="usage: backup.sh URL make|list|restore NAME [DATABASE]|drill|metrics"
[ $# -ge 2 ] || { echo "$usage" >&2; exit 2; }
url=$1
command=$2
shift 2
while [ "${url%/}" != "$url" ]; do url=${url%/}; done
# as it may be shown
server=$(sed -E 's,//[^/@]*@,//,' <<<"$url")

# run WHAT SQL: its answer
run() {
    local answer
    if ! answer=$(curl -sS --fail-with-body --max-time 600 --data-binary @- "$url/" <<<"$2" 2>&1); then
        answer=${answer//"$url"/"$server"}
        fail "$1: $(head -c 1000 <<<"$answer" | tr -s '\n' ' ')"
    fi
    printf '%s\n' "$answer"
}

# wait_for WHAT SQL: begins a BACKUP or RESTORE and waits for its end, which no
# connection could be held open for
wait_for() {
    local id status pause=0.2
    id=$(run "$1" "$2 ASYNC" | cut -f 1)
    while :; do
        status=$(run "$1" "SELECT status, error FROM system.backups WHERE id = '$id' FORMAT TSV")
        case $status in
        BACKUP_CREATED* | RESTORED*) return ;;
        CREATING_BACKUP* | RESTORING*) ;;
        '') fail "$1: the server was started again meanwhile" ;;
        *) fail "$1: $(cut -f 2 <<<"$status" | head -c 1000 | sed 's/, Stack trace.*//')" ;;
        esac
        sleep $pause
        pause=2
    done
}

# names of those whose last file, .backup, is there
list() {
    local found
    found=$(run "no list of backups" "
        SELECT extract(_path, '([0-9TZ]+/[0-9TZ]+)/[.]backup\$') AS name
        FROM s3(backups, filename = '*/*/.backup', format = 'One')
        WHERE name != '' ORDER BY name
        SETTINGS s3_throw_on_zero_files_match = 0, s3_retry_attempts = 3 FORMAT TSV")
    [ -z "$found" ] || printf '%s\n' "$found"
}

# the time in a name, in a form that date reads: 20261126T023000Z
seconds() {
    date -u -d "$(sed -E 's/(....)(..)(..)T(..)(..)(..)Z/\1-\2-\3 \4:\5:\6 UTC/' <<<"${1##*/}")" +%s
}

make() {
    local latest now name base=
    latest=$(list | tail -n 1)
    now=$(date -u +%Y%m%dT%H%M%SZ)
    name=$now/$now
    # a day and an hour early: the timer is not exact
    if [ -n "$latest" ] &&
        [ $(($(seconds "$now") - $(seconds "${latest%/*}"))) -lt $((full_days * 86400 - 3600)) ]; then
        name=${latest%/*}/$now
        base=" SETTINGS base_backup = Disk('backups', '$latest')"
    fi
    wait_for "no backup was made" "BACKUP DATABASE logbroker TO Disk('backups', '$name')$base"
    echo "$name"
}

# resolve NAME: which one "latest" is
resolve() {
    local all
    all=$(list)
    if [ "$1" = latest ]; then
        [ -n "$all" ] || fail "there is no backup"
        tail -n 1 <<<"$all"
    else
        grep -Fx -e "$1" <<<"$all" || fail "there is no complete backup $1"
    fi
}

restore() {
    local name=$1 database=${2:-logbroker}
    [[ $database =~ ^[A-Za-z0-9_]+$ ]] || fail "not a name of a database: $database"
    wait_for "nothing was restored, or not all" \
        "RESTORE DATABASE logbroker AS $database FROM Disk('backups', '$name')"
}

drill() {
    local name wrong
    name=$(resolve latest)
    run "no place for the drill" "DROP DATABASE IF EXISTS logbroker_drill SYNC" >/dev/null
    restore "$name" logbroker_drill
    # Of each ring the same events, of the days that the live table still has
    # (TTL takes away whole ones) and up to where the backup goes.
    wrong=$(run "no comparison" "
        WITH (SELECT toStartOfDay(min(received_at)) FROM logbroker.logs) AS oldest
        SELECT concat('ring ', toString(ring), ': ', toString(b.events), ' restored, ',
            toString(bitmapCardinality(b.seqs)), ' seqs, ',
            toString(bitmapAndCardinality(b.seqs, l.seqs)), ' of them live, ',
            toString(bitmapCardinality(bitmapSubsetInRange(l.seqs, b.first, b.last + 1))), ' live in their range')
        FROM (SELECT ring, count() AS events, groupBitmapState(seq) AS seqs, min(seq) AS first, max(seq) AS last
              FROM logbroker_drill.logs WHERE received_at >= oldest GROUP BY ring) AS b
        LEFT JOIN (SELECT ring, groupBitmapState(seq) AS seqs FROM logbroker.logs GROUP BY ring) AS l USING ring
        WHERE b.events != bitmapCardinality(b.seqs)
           OR bitmapAndnotCardinality(b.seqs, l.seqs) != 0
           OR bitmapCardinality(bitmapSubsetInRange(l.seqs, b.first, b.last + 1)) != bitmapCardinality(b.seqs)
        FORMAT TSV")
    run "no figures" "SELECT 'restored $name:', count(), 'events of', uniqExact(ring), 'rings, the last received at', max(received_at)
        FROM logbroker_drill.logs FORMAT TSV" | tr '\t' ' '
    run "the drill's database stays" "DROP DATABASE logbroker_drill SYNC" >/dev/null
    [ -z "$wrong" ] || fail "$name differs from the live table, by ring: $wrong"
    echo "each ring's events are those of the live table"
}

metrics() {
    local all newest=0
    all=$(list)
    [ -z "$all" ] || newest=$(seconds "$(tail -n 1 <<<"$all")")
    cat <<EOF
# HELP logbroker_backup_newest_timestamp_seconds When the newest complete backup was begun, 0 if there is none.
# TYPE logbroker_backup_newest_timestamp_seconds gauge
logbroker_backup_newest_timestamp_seconds $newest
# HELP logbroker_backups Complete backups that are there.
# TYPE logbroker_backups gauge
logbroker_backups $(grep -c . <<<"$all" || true)
EOF
}

case $command:$# in
make:0) make ;;
list:0) list ;;
restore:[12])
    name=$(resolve "$1")
    restore "$name" "${2-}"
    run "no audit" "SELECT * FROM ${2:-logbroker}.logbroker_audit FORMAT PrettyCompactMonoBlock"
    ;;
drill:0) drill ;;
metrics:0) metrics ;;
*) echo "$usage" >&2; exit 2 ;;
esac
