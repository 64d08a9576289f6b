#!/usr/bin/env bash
# All tests. --quick leaves the slow ones out (sanitizers in the system tests,
# valgrind, tests marked slow). Ends with one line: N passed, N failed
set -uo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

quick=
case ${1-} in
'') ;;
--quick) quick=1 ;;
*) echo "usage: tests/run.sh [--quick]" >&2 && exit 2 ;;
esac

passed=0
failed=0
failures=()
begun=$(date +%s)
logs=build/test-logs
mkdir -p "$logs"

step() {
    printf '\n== [%4d s] %s\n' $(($(date +%s) - begun)) "$*"
}

# count NAME PASSED FAILED
count() {
    passed=$((passed + $2))
    failed=$((failed + $3))
    [ "$3" = 0 ] || failures+=("$1")
    echo "$1: $2 passed, $3 failed"
}

# check NAME COMMAND...: one test
check() {
    local name=$1 log
    log=$logs/$(tr -c 'a-z0-9\n' - <<<"$name").log
    shift
    if "$@" >"$log" 2>&1; then
        count "$name" 1 0
    else
        tail -n 40 "$log"
        count "$name" 0 1
    fi
}

# build DIR FLAG...
build() {
    local dir=$1
    shift
    cmake -S . -B "$dir" "$@" && cmake --build "$dir" -j "$(nproc)"
}

# units DIR
units() {
    local log=$logs/ctest-$1.log
    (cd "$1" && ctest -j "$(nproc)" --output-on-failure) >"$log" 2>&1 || tail -n 60 "$log"
    # "88% tests passed, 1 tests failed out of 8"
    # shellcheck disable=SC2046
    count "ctest $1" $(sed -n 's/.*tests passed, \([0-9]*\) tests failed out of \([0-9]*\)/\1 \2/p' "$log" |
        awk '{print $2 - $1, $1} END {if (!NR) print 0, 1}')
}

# outcome WORD FILE: how many, from pytest's last line: "1 failed, 2 passed in 3 s"
outcome() {
    tail -n 1 "$2" | awk -v word="$1" '{for (i = 2; i <= NF; i++) if ($i ~ "^" word) n = $(i - 1)} END {print n + 0}'
}

# system DIR PYTEST_OPTION... FILE...: these tests wait most of the time, so three files
# run at once. What fails beside others is run again alone, and counts if it
# fails there too; both are shown.
system() {
    local dir=$1 log=$logs/pytest-$1.log good bad again
    local pytest=(env "LB_BUILD=$1" /usr/bin/python3 -m pytest -q -p no:cacheprovider -rfE)
    shift
    if "${pytest[@]}" -n 3 --dist loadfile "$@" >"$log" 2>&1; then
        count "pytest $dir" "$(outcome passed "$log")" 0
        return
    fi
    tail -n 120 "$log"
    good=$(outcome passed "$log")
    bad=$(($(outcome failed "$log") + $(outcome error "$log")))
    mapfile -t again < <(sed -nE 's/^(FAILED|ERROR) (.*\.py::[^[ ]*(\[.*\])?)( - .*)?$/\2/p' "$log" | sort -u)
    if [ ${#again[@]} -gt 0 ] && [ ${#again[@]} -le 40 ]; then
        printf 'again, alone: %s\n' "${again[@]}"
        if "${pytest[@]}" "${again[@]}" >"$log.again" 2>&1; then
            good=$((good + ${#again[@]}))
            bad=0
        fi
        tail -n 120 "$log.again"
    elif [ "$bad" = 0 ]; then
        bad=1
    fi
    count "pytest $dir" "$good" "$bad"
}

# faults: six minutes of tests/faults beside the system tests, which wait for
# seconds most of the time; faults_done counts them.
faults() {
    /usr/bin/python3 tests/faults/faults.py --duration 360 >"$logs/faults.log" 2>&1 &
    faults_pid=$!
}

faults_done() {
    wait "$faults_pid"
    grep '=' "$logs/faults.log"
    # shellcheck disable=SC2046
    count "faults" $(sed -n 's/^{"scenarios": \([0-9]*\), "failed": \([0-9]*\)}$/\1 \2/p' "$logs/faults.log" |
        awk '{print $1 - $2, $2} END {if (!NR) print 0, 1}')
}

valgrind_units() {
    local test
    for test in test_record test_ring test_failures test_fill test_resume test_recovery \
        test_checkpoint test_model; do
        LB_STEPS=500 valgrind -q --error-exitcode=99 --leak-check=full \
            --errors-for-leak-kinds=definite "build/tests/unit/$test" || return 1
    done
}

formatted() {
    git ls-files '*.c' '*.h' | grep -v -e '^ngx_logbroker_module/' -e '^tests/bench/floor/' |
        xargs clang-format --dry-run --Werror
}

step "packages"
tools/install-deps.sh build broker edge quickstart test bench || exit 1
tools/clickhouse/clickhouse.sh --fetch || exit 1

step "builds"
check "build release" build build
check "build asan" build build-asan -DCMAKE_BUILD_TYPE=Debug -DLB_SANITIZE=ON
check "build clang" build build-clang -DCMAKE_C_COMPILER=clang

step "layout and scripts"
# others set lines in other ways
if [[ $(clang-format --version) == *"version 14."* ]]; then
    check "clang-format" formatted
else
    echo "skip  clang-format: it is not 14"
fi
check "structure" /usr/bin/python3 tests/structure.py --build build
check "structure can fail" /usr/bin/python3 tests/structure.py --self-test
check "shellcheck" bash -c "git ls-files '*.sh' .ci/run | xargs shellcheck -S warning"


step "packages of Debian"
check "debian packages" tests/packages/run.sh --quick

step "units"
units build
units build-asan

step "system"
if [ -n "$quick" ]; then
    system build -m "not slow" tests/e2e
else
    faults
    system build tests/e2e
    step "faults"
    faults_done
    step "valgrind"
    check "valgrind spool" valgrind_units
    step "system, sanitized"
    # one half of the files, the other tomorrow: all of them take eight minutes
    mapfile -t half < <(printf '%s\n' tests/e2e/test_*.py |
        awk -v day="$(date +%s)" 'NR % 2 == int(day / 86400) % 2')
    system build-asan -m "not release_only" "${half[@]}"
fi

step "portability"
tools/install-deps.sh portability
tests/portability/run.sh --quick >"$logs/portability.log" 2>&1
cat "$logs/portability.log"
# shellcheck disable=SC2046
count "portability" $(tail -n 1 "$logs/portability.log" | awk '{print $1 + 0, $3 + 0}')

# what a machine cannot have says so
step "senders"
tests/clients/run.sh --quick >"$logs/senders.log" 2>&1
cat "$logs/senders.log"
# "N passed, N failed, N skipped"
# shellcheck disable=SC2046
count "senders" $(tail -n 1 "$logs/senders.log" | awk '{print $1 + 0, $3 + 0}')

step "benchmark"
check "benchmark runs" tests/bench/run.sh --quick
check "benchmark of the whole way runs" tests/bench/e2e.sh --quick --only edge

# what needs tools that are not here says so
step "deployment"
tests/deploy/run.sh --quick >"$logs/deployment.log" 2>&1
cat "$logs/deployment.log"
# "N passed, N failed, N skipped"
# shellcheck disable=SC2046
count "deployment" $(tail -n 1 "$logs/deployment.log" | awk '{print $1 + 0, $3 + 0}')

step "done"
for name in "${failures[@]-}"; do
    [ -z "$name" ] || echo "failed: $name"
    [ "$name" != faults ] || grep -A 1 FAILED "$logs/faults.log"
done
echo "$passed passed, $failed failed"
[ $failed = 0 ]
