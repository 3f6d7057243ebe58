#!/usr/bin/env bash
# What `make test` does: builds the bundled library into the container's /home/vpopmail, links the module
# with it, runs pytest there, then what has threads, and all traces, under ThreadSanitizer; beside it, in a
# container of its own, all of it once more with AddressSanitizer and UndefinedBehaviorSanitizer. With
# arguments for pytest it runs those, plain, then with AddressSanitizer and UndefinedBehaviorSanitizer.
# Usage: tests/run.sh [--integration] PYTHON [PYTEST ARGUMENT…]
# --integration: what `make test-integration` does instead, tests/integration beside other servers.
set -euo pipefail
cd "$(dirname "$0")/.."
top=$PWD

# Where no container can be made, a scratch home stands for /home/vpopmail and the rest.
in_scratch() {
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    mkdir -p "$scratch/home" "$scratch/var/qmail" "$scratch/srv"
    export VPOPMAIL_TEST_SCRATCH=$scratch
    "$top/tests/run.sh" --inside "$@"
}

inside() { # FLAVOUR PYTHON [ARGUMENT…]
    local flavour=$1 python=$2 prefix=${VPOPMAIL_TEST_SCRATCH:-}
    shift 2
    local build=(./build_libvpopmail.sh --prefix "$prefix/home/vpopmail" --qmail "$prefix/var/qmail")
    export VPOPMAIL_HOME=$prefix/home/vpopmail QMAIL_HOME=$prefix/var/qmail
    # Elsewhere than as root in the container there are no other ids than our own.
    [ "${VPOPMAIL_TEST_ROOT:-}" = root ] || build+=(--uid "$(id -u)" --gid "$(id -g)")
    local sanitize='' libraries status=0
    case $flavour in
    sanitized) sanitize=address,undefined libraries='asan ubsan' ;;
    thread) sanitize=thread libraries=tsan ;;
    *) set -- --cov --cov-report=term "$@" ;;
    esac
    if [ "$sanitize" ]; then
        cd "build/$flavour"
        build+=(--sanitize "$sanitize")
        export VPOPMAIL_EXT_SANITIZE=$sanitize
    fi
    "${build[@]}"
    "$python" setup.py -q build_ext --inplace
    if [ "$sanitize" ]; then
        local preload
        # libcrypt too: a sanitizer looks for the functions that it wraps when the process starts.
        preload=$(for name in $libraries crypt; do printf '%s:' "$(gcc -print-file-name="lib$name.so")"; done)
        # Python itself does not free all it has at its end; leaks are looked for elsewhere.
        export ASAN_OPTIONS=detect_leaks=0:abort_on_error=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
        # Python's own reads and writes are not looked at, its locks are. What a thread has of a module's
        # thread-local variables is malloc's, which is looked at anyhow: where it lies 16 bytes into a page,
        # __tls_get_addr's wrapper takes the bytes before it for its address and size, and the process ends.
        export TSAN_OPTIONS="ignore_noninstrumented_modules=1 die_after_fork=0 log_path=$PWD/race"
        TSAN_OPTIONS+=" intercept_tls_get_addr=0"
        export VPOPMAIL_TEST_SANITIZED=1
        [ "$flavour" = thread ] || export PYTHONMALLOC=malloc
        # What is Python alone says nothing about the C, and takes long there.
        if [ "$flavour" = sanitized ] && [ $# -eq 0 ]; then
            for name in aio backend cli command_documents documents errors extension find import migrate probe; do
                set -- "$@" --ignore "tests/unit/test_$name.py"
            done
        fi
        LD_PRELOAD=$preload "$python" -m pytest -q "$@" || status=$?
        had_all "$status" && status=0
        # A process that has seen a race ends with 66, and a report for each.
        cat race.* >&2 2>/dev/null && status=66
        return "$status"
    else
        "$python" -m pytest -q "$@" || had_all $?
    fi
}

# pytest's status where there was nothing left to do for `make torture RESUME=1`.
had_all() { # STATUS
    [ "$1" = 5 ] && [ "${VPOPMAIL_TEST_RESUME:-}" ]
}

if [ "$1" = --inside ]; then
    shift
    inside "$@"
    exit
fi
integration=
[ "$1" != --integration ] || { integration=yes && shift; }
export VPOPMAIL_TEST_LEDGER=$top/tests/torture.json
python=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
shift
if reason=$(tests/container.sh --check 2>&1); then
    runner=("$top/tests/container.sh" "$top/tests/run.sh" --inside)
else
    echo "No container: $reason. The tests run in a scratch home with the recorded paths and ids mapped to it."
    runner=(in_scratch)
fi
if [ "$integration" ]; then
    # Servers take on other ids, or none: they don't start as the root of a user namespace.
    # shellcheck disable=SC2016
    [ "$(tests/container.sh sh -c 'echo "$VPOPMAIL_TEST_ROOT"' 2>/dev/null)" = root ] || runner=(in_scratch)
    ("${runner[@]}" plain "$python" --no-cov tests/integration "$@")
    exit
fi
copy() { # FLAVOUR: of the tree, so that the module there is not taken for the plain one
    rm -rf "build/$1" && mkdir -p "build/$1"
    tar -c --exclude='*.so' --exclude=./build --exclude=./.venv --exclude=./.git --exclude='./.*_cache' . | tar -x -C "build/$1"
}
copy sanitized
if [ $# -gt 0 ]; then
    ("${runner[@]}" plain "$python" "$@")
    ("${runner[@]}" sanitized "$python" "$@")
    exit
fi
copy thread
threads=(robustness/test_threads.py robustness/test_cache.py unit/test_auth_many.py
    unit/test_add_users.py)
told=$(mktemp) status=0
("${runner[@]}" sanitized "$python") >"$told" 2>&1 &
beside=$!
trap 'rm -f "$told"' EXIT
trap 'kill "$beside"; exit 130' INT TERM
("${runner[@]}" plain "$python") || status=$?
("${runner[@]}" thread "$python" tests/conformance "${threads[@]/#/tests/}" -k "not comparer and not a_killed_process and not test_as_") || status=$?
echo "The tests with AddressSanitizer go on beside it; what they say follows."
wait "$beside" || status=$?
cat "$told"
echo "It took $SECONDS s."
exit "$status"
