#!/bin/sh
# Sees to the Debian packages that the Makefile needs: installs what is missing where it may.
# Usage: tests/packages.sh [integration|mysql]: with the servers of `make test-integration`, or with
# the one that a vpopmail for MySQL needs in `make test-system`.
set -eu

missing=
need() { # PACKAGE COMMAND…: the command tells whether it is there
    package=$1
    shift
    "$@" >/dev/null 2>&1 || missing="$missing $package"
}
python=${PYTHON:-python3}
header() { echo "#include <$1>" | gcc -E -xc - ; }
fuzzer() { test -e "$(clang -print-runtime-dir)/libclang_rt.fuzzer-$(uname -m).a"; }
python_header() { header "$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h"; }

need gcc command -v gcc
need binutils command -v ar
need libc6-dev header stdio.h
need libcrypt-dev header crypt.h
need python3 command -v "$python"
need python3-venv "$python" -c 'import ensurepip, venv'
need python3-dev python_header
need bubblewrap command -v bwrap
need tinycdb command -v cdb
need strace command -v strace
need valgrind command -v valgrind
need libc6-dbg test -d /usr/lib/debug/.build-id
need clang command -v clang
need libclang-rt-dev fuzzer
if [ "${1:-}" = integration ]; then
    need dovecot-imapd test -x /usr/lib/dovecot/imap
    need openssl command -v openssl
    need dovecot-pop3d test -x /usr/lib/dovecot/pop3
    need chromium command -v chromium
    need chromium-driver command -v chromedriver
    need apache2-bin test -x /usr/sbin/apache2
    need apache2-suexec-pristine test -x /usr/lib/apache2/suexec
    need libapache2-mod-wsgi-py3 test -e /usr/lib/apache2/modules/mod_wsgi.so
    need nginx-light test -x /usr/sbin/nginx
    need sudo command -v visudo
fi

if [ "${1:-}" = mysql ]; then
    need mariadb-server-core test -x /usr/sbin/mariadbd
fi

[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing$missing"
    # What is a server is not to be started here.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        trap 'rm -f "$policy"' EXIT
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    apt-get update -qq
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
else
    echo "These Debian packages are missing:$missing" >&2
    echo "Install them first: apt-get install$missing" >&2
    exit 1
fi
