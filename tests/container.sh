#!/usr/bin/env bash
# Runs a command where vpopmail and qmail may be installed without touching this machine's.
set -euo pipefail

usage() {
    cat <<'EOF'
usage: tests/container.sh [--with HOME QMAIL] COMMAND [ARGUMENT…]
       tests/container.sh --check

Runs COMMAND in a bubblewrap container (Debian package bubblewrap) with its own empty
/home/vpopmail, /var/qmail, /srv and /tmp, users vpopmail (89) and qmail's, processes of its own and
no network. The checkout can be written, the rest of the machine is seen as it is and can't.
VPOPMAIL_TEST_ROOT tells what COMMAND is there: root, or userns: a root that has this one id and
can't give files to others. --check exits 0 where a container can be made, else tells why not.

--with shows an installation of vpopmail and its qmail, which are to be copied, as
/srv/installation/home and /srv/installation/qmail; they can't be written.
EOF
}

top=$(cd "$(dirname "$0")/.." && pwd -P)
cwd=$(pwd -P)
case $cwd/ in "$top"/*) ;; *) cwd=$top ;; esac

read -r -d '' passwd <<'EOF' || true
root:x:0:0:root:/root:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
vpopmail:x:89:89:vpopmail:/home/vpopmail:/bin/sh
alias:x:7790:2108:qmail alias:/var/qmail/alias:/bin/true
qmaild:x:7791:2108:qmail daemon:/var/qmail:/bin/true
qmaill:x:7792:2108:qmail logger:/var/qmail:/bin/true
qmailp:x:7793:2108:qmail passwd:/var/qmail:/bin/true
qmailq:x:7794:2107:qmail queue:/var/qmail:/bin/true
qmailr:x:7795:2107:qmail remote:/var/qmail:/bin/true
qmails:x:7796:2107:qmail send:/var/qmail:/bin/true
EOF
read -r -d '' group <<'EOF' || true
root:x:0:
nogroup:x:65534:
vchkpw:x:89:
qmail:x:2107:
nofiles:x:2108:
EOF

# The root is made of its parts, each bound by itself: bwrap would make /home/vpopmail and the rest
# on the machine if they were put into a bound / or /home.
parts=()
show() { # DIR NAME…: binds what is in DIR, save the names
    local dir=$1 path name
    shift
    for path in "$dir"/* "$dir"/.[!.]*; do
        name=${path##*/}
        if [[ " $* " == *" $name "* ]]; then
            continue
        elif [ -L "$path" ]; then
            parts+=(--symlink "$(readlink "$path")" "$path")
        elif [ -e "$path" ]; then
            parts+=(--ro-bind "$path" "$path")
        fi
    done
}
shopt -s nullglob
show "" proc sys dev tmp home var srv
parts+=(--tmpfs /home) && show /home vpopmail
parts+=(--tmpfs /var) && show /var qmail
parts+=(
    --proc /proc --dev /dev
    --dir /home/vpopmail --dir /var/qmail --tmpfs /srv --perms 1777 --tmpfs /tmp
    --perms 0644 --ro-bind-data 3 /etc/passwd --perms 0644 --ro-bind-data 4 /etc/group
)
# An environment's Python may be where a directory above is empty; the checkout may be anywhere.
[ -z "${VIRTUAL_ENV:-}" ] || [ ! -d "$VIRTUAL_ENV" ] || parts+=(--ro-bind "$VIRTUAL_ENV" "$VIRTUAL_ENV")
# In an empty directory, bwrap would make the way to it root's alone: servers run as others too.
parts+=(--perms 0755 --dir "${top%/*}/" --bind "$top" "$top" --chdir "$cwd" --unsetenv TMPDIR)
parts+=(--unshare-net --unshare-pid --unshare-ipc --die-with-parent)

contained() { # root|userns COMMAND [ARGUMENT…]
    local as=$1
    shift
    if [ "$as" = root ]; then
        set -- --cap-add ALL -- "$@"
    else
        set -- --unshare-user --uid 0 --gid 0 -- "$@"
    fi
    bwrap "${parts[@]}" --setenv VPOPMAIL_TEST_ROOT "$as" "$@" 3<<<"$passwd" 4<<<"$group"
}

# Sets `as` to what the command can be here; else tells why there is no container.
choose() {
    local ways=(userns) why
    command -v bwrap >/dev/null || {
        echo "bwrap is not there; install the Debian package bubblewrap"
        return 1
    }
    [ "$(id -u)" != 0 ] || ways=(root userns)
    for as in "${ways[@]}"; do
        why=$(contained "$as" true 2>&1) && return 0
    done
    echo "${why%%$'\n'*}"
    return 1
}

if [ "${1:-}" = --with ]; then
    parts+=(--ro-bind "$2" /srv/installation/home --ro-bind "$3" /srv/installation/qmail)
    shift 3
fi
case ${1:-} in
--check)
    choose
    ;;
'' | --help)
    usage
    ;;
*)
    choose >&2
    contained "$as" "$@"
    ;;
esac
