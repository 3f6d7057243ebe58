#!/bin/sh
# Sees to the Debian packages that the Makefile needs: installs what is missing where it may.
set -eu

missing=
need() { # PACKAGE COMMAND…: the command tells whether it is there
    package=$1
    shift
    "$@" >/dev/null 2>&1 || missing="$missing $package"
}
python=${PYTHON:-python3}
header() { echo "#include <$1>" | gcc -E -xc - ; }
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

[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing$missing"
    apt-get update -qq
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
else
    echo "These Debian packages are missing:$missing" >&2
    echo "Install them first: apt-get install$missing" >&2
    exit 1
fi
