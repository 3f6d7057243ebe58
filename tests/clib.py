"""The bundled library's inner functions, compiled once and called by cffi without the binding.

Functions answer as their headers say; `Any` stands for cffi's objects, which have no types.
"""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import cffi

from linking.extension import sanitizers

SOURCE = Path(__file__).parents[1] / "csrc/libvpopmail"
DECLARATIONS = """
struct buf { char *data; size_t len, cap; bool failed; };
struct span { const char *data; size_t len; };
void buf_free(struct buf *b);

struct writer { int fd; struct buf block; uint64_t done, sent; int error; };
void writer_add(struct writer *w, struct span data);
uint64_t writer_at(const struct writer *w);
int writer_end(struct writer *w);
struct lines { int fd; struct buf block; size_t from; bool ended; };
int lines_next(struct lines *l, struct span *line);
void lines_free(struct lines *l);
int fd_read_sized(int fd, long size, struct buf *out);

struct cdb_maker {
    struct writer file;
    struct cdb_record *records;
    size_t count, room;
    int error;
};
void cdb_begin(struct cdb_maker *m, int fd);
void cdb_add(struct cdb_maker *m, struct span key, struct span value);
int cdb_end(struct cdb_maker *m);
int cdb_find(int fd, struct span key, struct buf *value);

typedef bool linefile_test(struct span line, const void *arg);
int linefile_add(struct span text, struct span line, bool assign, struct buf *out);
long linefile_drop(struct span text, linefile_test *test, const void *arg, struct buf *out);

struct lock { int fd; bool of_dir; };
extern long lock_wait_seconds;
struct change_file;
struct change_dir;
struct journal {
    int dir;
    const char *prefix;
    const void *names;
    bool anywhere;
    unsigned int uid, gid;
    struct { const char *base, *name; } known[2];
};
struct change {
    struct change_file *files;
    size_t count;
    struct change_dir *dirs;
    size_t dir_count;
    struct journal journal;
    int *open;
    size_t open_count;
    struct change *whole;
    int fd;
    bool begun, decided, moved;
};
void change_drop(struct change *c);
int change_make(struct change *c);
struct dir_place { struct buf path; struct lock lock; };
void dir_place_end(struct dir_place *place);
int dir_control_add(int dir, unsigned int uid, unsigned int gid, bool with_free, struct change *c,
                    struct dir_place *place);
int dir_control_drop(int dir, unsigned int uid, unsigned int gid, struct span freed,
                     struct change *c, struct dir_place *place);

struct store { int dir; unsigned int uid, gid; };
struct change store_change(const struct store *s);
int quota_parse(const char *spelling, struct buf *out);
int maildir_size(const struct store *s, struct change *c, const char *domain_path,
                 struct span path, struct span quota);

struct home { char *path; char *qmail; unsigned long age; };
struct assign { const struct home *home; int users; struct lock lock; struct buf text; };
int assign_begin(const struct home *home, struct assign *a);
void assign_end(struct assign *a);
struct change assign_change(const struct assign *a);
int assign_drop(struct assign *a, struct change *c, const char *name, const char *real);
int password_hash(const char *password, struct buf *out);
int password_hash_many(const char *const *passwords, size_t count, struct buf *out);
bool password_matches(const char *password, const char *stored, bool equal_time);
int password_allowed(const struct home *home, const char *password);

int vpopmail_set_home(const char *home, const char *qmail);
struct vpopmail_postmaster { const char *password, *quota, *catchall; };
int vpopmail_add_domain(const char *domain, const char *dir, unsigned int uid, unsigned int gid,
                        const struct vpopmail_postmaster *postmaster, const char **step);
int vpopmail_set_catchall(const char *domain, const char *catchall);
struct vqpasswd {
    char *pw_name, *pw_passwd;
    unsigned int pw_uid, pw_gid, pw_flags;
    char *pw_gecos, *pw_dir, *pw_shell, *pw_clear_passwd;
};
struct vqpasswd *vauth_getall(char *domain, int first, int sortit);
int vauth_setpw(struct vqpasswd *pw, char *domain);
char *verror(int code);
"""

ffi: Any = cffi.FFI()
ffi.cdef(DECLARATIONS)
_kept: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()


@cache
def built() -> str:
    """Return the library's file, which is there as long as the process that compiled it."""
    if "VPOPMAIL_TEST_CLIB" in os.environ:
        return os.environ["VPOPMAIL_TEST_CLIB"]
    scratch = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, scratch, ignore_errors=True)
    made = f"{scratch}/libvpopmail.so"
    # Not -I for the sources' directory: its limits.h is not the system's <limits.h>.
    flags = ["-std=c11", "-D_GNU_SOURCE", "-O1", "-g", "-fPIC", "-shared", "-o", made]
    flags += [*sanitizers(os.environ), f"-I{SOURCE}/include"]
    sources = sorted(map(str, SOURCE.glob("*.c")))
    subprocess.run(
        ["gcc", *flags, *sources, "-lcrypt", "-lpthread"],
        check=True,
        env={name: value for name, value in os.environ.items() if name != "LD_PRELOAD"},
    )
    return made


@cache
def lib() -> Any:
    """Return the library; it is compiled for the first call."""
    return ffi.dlopen(built())


def span(data: bytes) -> Any:
    """Return a struct span of `data`."""
    held = ffi.from_buffer("char[]", data)
    made = ffi.new("struct span *", {"data": held, "len": len(data)})[0]
    _kept[made] = held
    return made


def content(buf_or_span: Any) -> bytes:
    """Return the bytes of a struct buf or struct span."""
    data: bytes = ffi.unpack(buf_or_span.data, buf_or_span.len) if buf_or_span.len else b""
    return data


@contextmanager
def buffer() -> Iterator[Any]:
    """Make an empty struct buf, and free it afterwards."""
    made = ffi.new("struct buf *")
    try:
        yield made
    finally:
        lib().buf_free(made)


def filled(function: Callable[..., int], *arguments: Any) -> tuple[int, bytes]:
    """Call a function whose last argument is a struct buf; return its answer and the bytes."""
    with buffer() as out:
        answer = function(*arguments, out)
        return answer, content(out)
