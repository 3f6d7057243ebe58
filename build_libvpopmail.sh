#!/bin/sh
# Builds the bundled libvpopmail (csrc/libvpopmail) and installs it as vpopmail installs itself.
set -eu
umask 022

usage() {
    cat <<'EOF'
usage: ./build_libvpopmail.sh --prefix DIR --qmail DIR [options]

Compiles csrc/libvpopmail and installs it in DIR as vpopmail installs itself:
  DIR/bin      vadddomain vdeldomain vaddaliasdomain
  DIR/include  vpopmail.h vauth.h vlimits.h vpopmail_config.h
  DIR/lib      libvpopmail.a (position-independent)
  DIR/etc      inc_deps lib_deps vlimits.default password_strength.conf
  DIR/domains
Files that are there already under etc/ and domains/ are kept, save inc_deps and lib_deps.

  --prefix DIR       vpopmail's home, usually /home/vpopmail
  --qmail DIR        qmail's directory, usually /var/qmail
  --uid N --gid N    vpopmail's ids (89 and 89); as root, domains/ is given to them
  --sanitize LIST    build with sanitizers: address,undefined or thread
  --debug            build with debugging information and without optimisation
  --help             this text

It needs, as Debian packages: gcc, libc6-dev, libcrypt-dev, binutils.
Environment: CC (gcc), CFLAGS (added to the flags), JOBS (compilations at once).
EOF
}

fail() {
    echo "build_libvpopmail.sh: $*" >&2
    exit 1
}

prefix= qmail= uid=89 gid=89 sanitize= debug=
while [ $# -gt 0 ]; do
    case $1 in
    --help) usage && exit 0 ;;
    --debug) debug=1 && shift && continue ;;
    --prefix | --qmail | --uid | --gid | --sanitize) [ $# -ge 2 ] || fail "$1 needs a value; --help tells more" ;;
    *) fail "unknown option $1; --help tells which there are" ;;
    esac
    case $1 in
    --prefix) prefix=$2 ;;
    --qmail) qmail=$2 ;;
    --uid) uid=$2 ;;
    --gid) gid=$2 ;;
    --sanitize) sanitize=$2 ;;
    esac
    shift 2
done

check_dir() {
    case $2 in
    '') fail "$1 DIR is missing; --help tells more" ;;
    *[!A-Za-z0-9/._+@-]*) fail "$1 $2: only letters, digits and / . _ + @ - may be in it" ;;
    /*) ;;
    *) fail "$1 $2: must be an absolute path" ;;
    esac
}
check_dir --prefix "$prefix"
check_dir --qmail "$qmail"
for id in "$uid" "$gid"; do
    case $id in '' | *[!0-9]*) fail "--uid and --gid take numbers, not '$id'" ;; esac
done
case $sanitize in
'' | address,undefined | thread | address | undefined) ;;
*) fail "--sanitize takes address,undefined or thread, not '$sanitize'" ;;
esac

source=$(CDPATH= cd -- "$(dirname -- "$0")/csrc/libvpopmail" && pwd)
cc=${CC:-gcc}
command -v "${cc%% *}" >/dev/null 2>&1 ||
    fail "there is no C compiler '$cc'. Install the Debian package gcc (apt-get install gcc) or set CC."
command -v ar >/dev/null 2>&1 ||
    fail "there is no 'ar'. Install the Debian package binutils (apt-get install binutils)."
need_header() {
    echo "#include <$1>" | $cc -E -xc - >/dev/null 2>&1 ||
        fail "the compiler finds no $1. Install the Debian package $2 (apt-get install $2)."
}
need_header stdio.h libc6-dev
need_header crypt.h libcrypt-dev

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
mkdir "$work/include"
headers='vpopmail.h vauth.h vlimits.h'
for header in $headers; do cp "$source/include/$header" "$work/include/"; done
sed -e "s|@HOME@|$prefix|" -e "s|@QMAIL@|$qmail|" -e "s|@UID@|$uid|" -e "s|@GID@|$gid|" \
    "$source/include/vpopmail_config.h.in" >"$work/include/vpopmail_config.h"

flags="-std=c11 -D_GNU_SOURCE -fPIC -fvisibility=hidden -Wall -Wextra -I$work/include"
[ -n "$debug" ] && flags="$flags -g -O0" || flags="$flags -g -O2"
[ -n "$sanitize" ] &&
    flags="$flags -fsanitize=$sanitize -fno-sanitize-recover=all -fno-omit-frame-pointer"
flags="$flags ${CFLAGS:-}"

# The sources are compiled in a copy in which include/ is the filled-in one.
mkdir "$work/src"
cp "$source"/*.c "$source"/*.h "$work/src/"
cp -r "$source/tools" "$work/src/tools"
ln -s ../include "$work/src/include"
jobs=${JOBS:-$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)}
# shellcheck disable=SC2086
(cd "$work/src" && printf '%s\n' *.c tools/*.c |
    xargs -P "$jobs" -I{} sh -c 'exec "$@" -c "$0" -o "${0%.c}.o"' {} $cc $flags) ||
    fail "the compilation failed; its messages are above"
(cd "$work/src" && ar rcs libvpopmail.a ./*.o)
for tool in vadddomain vdeldomain vaddaliasdomain; do
    # shellcheck disable=SC2086
    (cd "$work/src" && $cc $flags -Wl,-z,now -o "$tool" "tools/$tool.o" tools/tool.o libvpopmail.a -lcrypt -lpthread) ||
        fail "$tool could not be linked; the messages are above"
done

mkdir -p "$prefix/bin" "$prefix/include" "$prefix/lib" "$prefix/etc" || fail "$prefix can't be written"
if [ ! -d "$prefix/domains" ]; then
    mkdir "$prefix/domains"
    chmod 700 "$prefix/domains"
    if [ "$(id -u)" = 0 ]; then
        chown "$uid:$gid" "$prefix/domains" ||
            fail "$prefix/domains can't be given to $uid:$gid; name ids with --uid and --gid that can"
    fi
fi
# Installed under another name first: a program that runs is not written over.
install_file() {
    cp "$2" "$3/.new.$4"
    chmod "$1" "$3/.new.$4"
    mv "$3/.new.$4" "$3/$4"
}
for tool in vadddomain vdeldomain vaddaliasdomain; do
    install_file 755 "$work/src/$tool" "$prefix/bin" "$tool"
done
for header in $headers vpopmail_config.h; do
    install_file 644 "$work/include/$header" "$prefix/include" "$header"
done
install_file 644 "$work/src/libvpopmail.a" "$prefix/lib" libvpopmail.a
echo "-I$prefix/include" >"$work/inc_deps"
echo "-L$prefix/lib -lvpopmail  -lcrypt${sanitize:+ -fsanitize=$sanitize}" >"$work/lib_deps"
install_file 644 "$work/inc_deps" "$prefix/etc" inc_deps
install_file 644 "$work/lib_deps" "$prefix/etc" lib_deps
if [ ! -e "$prefix/etc/vlimits.default" ]; then
    printf 'maxpopaccounts -1\n' >"$work/vlimits"
    install_file 644 "$work/vlimits" "$prefix/etc" vlimits.default
fi
if [ ! -e "$prefix/etc/password_strength.conf" ]; then
    printf 'Policy = at least one character\nLength >= 1\n' >"$work/policy"
    install_file 644 "$work/policy" "$prefix/etc" password_strength.conf
fi
echo "libvpopmail is in $prefix; qmail's directory is $qmail"
