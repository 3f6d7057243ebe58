#!/usr/bin/env bash
# What `make wheel` does: a source distribution, and from it a wheel with the bundled library.
# Usage: wheels/build.sh PYTHON [DIR]: PYTHON has the extra `wheel`; DIR (dist) gets both.
# The same files give the same bytes: times are the last commit's (or SOURCE_DATE_EPOCH), tools those that
# wheels/tools.txt names, and nothing tells the directory in which it was done.
set -euo pipefail
umask 022
python=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
mkdir -p "${2:-dist}"
out=$(cd "${2:-dist}" && pwd)
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# A copy of what is in git, or of a source distribution, with modes that are no umask's.
if [ -e .git ]; then
    git ls-files -z | xargs -0 cp -P --parents -t "$work"
    : "${SOURCE_DATE_EPOCH:=$(git log -1 --format=%ct)}"
else
    tar -c --exclude='*.so' --exclude=./build --exclude=./dist --exclude=./.venv . | tar -x -C "$work"
    : "${SOURCE_DATE_EPOCH:=$(stat -c %Y PKG-INFO)}"
fi
chmod -R u=rwX,go=rX "$work"
cd "$work"

export SOURCE_DATE_EPOCH VPOPMAIL_EXT_LIBRARY=bundled LC_ALL=C PYTHONHASHSEED=0
# No symbols and no lines of the source: they hold paths.
export CFLAGS=-g0 LDFLAGS=-Wl,-s
export PIP_CONSTRAINT=$work/wheels/tools.txt
"$python" -m build --outdir "$work/built" .
# Into the wheel goes what a system may not have, libcrypt; its tag tells the oldest C library it runs with.
PATH=$(dirname "$python"):$PATH "$python" -m auditwheel repair --wheel-dir "$work/repaired" "$work/built/"*.whl
case $(echo "$work/repaired/"*) in
*-abi3-*) "$python" -m abi3audit --strict --summary "$work/repaired/"*.whl ;;
esac
# setuptools packs the times and owner of the copy.
sdist=$(basename "$work/built/"*.tar.gz .tar.gz)
tar -xzf "$work/built/$sdist.tar.gz" -C "$work/built"
tar -c --format=ustar --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner \
    -C "$work/built" "$sdist" | gzip -9n >"$work/repaired/$sdist.tar.gz"
mv "$work/repaired/"* "$out"
ls -l "$out"
