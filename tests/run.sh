#!/usr/bin/env bash
# What `make test` does: builds the bundled library into the container's /home/vpopmail, links the module
# with it, runs pytest there; then the same once more with AddressSanitizer and
# UndefinedBehaviorSanitizer.
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
    if [ "$flavour" = sanitized ]; then
        # A copy of the tree, so that the module there is not taken for the plain one.
        rm -rf build/sanitized && mkdir -p build/sanitized
        tar -c --exclude='*.so' --exclude=./build --exclude=./.venv --exclude=./.git . | tar -x -C build/sanitized
        cd build/sanitized
        build+=(--sanitize address,undefined)
        export VPOPMAIL_EXT_SANITIZE=address,undefined
    else
        set -- --cov --cov-report=term "$@"
    fi
    "${build[@]}"
    "$python" setup.py -q build_ext --inplace
    if [ "$flavour" = sanitized ]; then
        local preload
        # libcrypt too: libasan looks for the functions that it wraps when the process starts.
        preload=$(for name in asan ubsan crypt; do printf '%s:' "$(gcc -print-file-name=lib$name.so)"; done)
        # Python itself does not free all it has at its end; leaks are looked for elsewhere.
        export ASAN_OPTIONS=detect_leaks=0:abort_on_error=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
        export PYTHONMALLOC=malloc VPOPMAIL_TEST_SANITIZED=1
        # What is Python alone says nothing about the C, and takes long there.
        if [ $# -eq 0 ]; then
            for name in aio backend cli command_documents documents errors extension find import migrate probe; do
                set -- "$@" --ignore "tests/unit/test_$name.py"
            done
        fi
        LD_PRELOAD=$preload "$python" -m pytest -q "$@"
    else
        "$python" -m pytest -q "$@"
    fi
}

if [ "$1" = --inside ]; then
    shift
    inside "$@"
    exit
fi
integration=
[ "$1" != --integration ] || { integration=yes && shift; }
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
("${runner[@]}" plain "$python" "$@")
("${runner[@]}" sanitized "$python" "$@")
