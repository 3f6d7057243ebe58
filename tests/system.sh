#!/usr/bin/env bash
# What `make test-system VPOPMAIL_HOME=DIR` does: links the module with the vpopmail that is installed in
# DIR and runs the tests on it, in a container, over a copy of that installation and its qmail without
# their domains. QMAIL_HOME names the qmail where it is not in the directory that vpopmail was made for.
# Usage: tests/system.sh PYTHON [PYTEST ARGUMENT…]
set -euo pipefail
cd "$(dirname "$0")/.."

stop() { # SENTENCE
    echo "tests/system.sh: $1" >&2
    exit 2
}

defines() { # NAME: its value in vpopmail_config.h
    gcc -E -dM -xc - -I"$VPOPMAIL_HOME/include" <<<'#include "vpopmail_config.h"' |
        sed -n "s/^#define $1 //p"
}

defined() { # NAME: what vpopmail_config.h has as its text
    defines "$1" | tr -d '"'
}

# vpopmail 5.5 has the auth module in a file of its own, and no name for its directory.
directory() {
    local home domains
    home=$(defined VPOPMAILDIR) domains=$(defined VPOPMAIL_DIR_DOMAINS)
    echo "${home:-${domains%/domains}}"
}

uses() { # MODULE: whether that is its auth module
    [ "$(defines "USE_${1^^}")" ] || [[ "$(readlink "$VPOPMAIL_HOME/etc/vpopmail.authmodule")" = */v$1.so ]]
}

# In the container: the copy, at the paths that are compiled in; the module; the tests.
inside() { # PYTHON [ARGUMENT…]
    local python=$1 from=/srv/installation
    shift
    cp -a $from/home/{bin,etc,include,lib} "$VPOPMAIL_HOME"
    mkdir -p "$QMAIL_HOME"/{control,users}
    cp -a $from/qmail/bin "$QMAIL_HOME"
    mkdir "$VPOPMAIL_HOME/domains"
    chown --reference=$from/home/domains "$VPOPMAIL_HOME/domains"
    chmod 0700 "$VPOPMAIL_HOME/domains"
    mkdir /tmp/checkout
    tar -c --exclude='*.so' --exclude=./build --exclude=./.venv --exclude=./.git --exclude='./.*_cache' . | tar -x -C /tmp/checkout
    cd /tmp/checkout
    "$python" setup.py -q build_ext --inplace
    if [ $# -gt 0 ]; then
        :
    elif VPOPMAIL_HOME=$from/home uses cdb; then
        # The rest of tests/robustness is about what is in csrc/libvpopmail.
        set -- tests/conformance tests/robustness/test_{faults,bad_input,many,threads}.py \
            tests/system tests/unit/test_{add_users,aio,api,checkpassword,chown,cli,doctor,model,php}.py
    else
        set -- tests/system # the recorded files, and most tests, are of the cdb module
    fi
    "$python" -m pytest -q -p no:cacheprovider "$@"
}

if [ "$1" = --inside ]; then
    shift
    inside "$@"
    exit
fi
if [ -z "${VPOPMAIL_HOME:-}" ]; then
    echo "The tests on a real libvpopmail are skipped: VPOPMAIL_HOME names no installation of vpopmail."
    exit
fi
[ -f "$VPOPMAIL_HOME/include/vpopmail_config.h" ] ||
    stop "$VPOPMAIL_HOME is no installation of vpopmail: there is no include/vpopmail_config.h in it"
[ "$(directory):$(defined QMAILDIR)" = /home/vpopmail:/var/qmail ] ||
    stop "$VPOPMAIL_HOME was made for $(directory) and $(defined QMAILDIR); the recorded calls are of /home/vpopmail and /var/qmail"
qmail=${QMAIL_HOME:-$(defined QMAILDIR)}
[ -d "$qmail/bin" ] || stop "there is no qmail in $qmail; set QMAIL_HOME to its directory"
! uses mysql || tests/packages.sh mysql
python=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
shift
from=$VPOPMAIL_HOME
export VPOPMAIL_EXT_LIBRARY=real VPOPMAIL_HOME=/home/vpopmail QMAIL_HOME=/var/qmail
exec tests/container.sh --with "$from" "$qmail" tests/system.sh --inside "$python" "$@"
