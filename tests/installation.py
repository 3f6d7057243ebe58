"""Installations of a vpopmail that is none: cage/library.c and headers made of the bundled."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.conftest import domain_ids

TOP = Path(__file__).parents[1]
CONFIG = """\
#define VERSION "{version}"
#define USE_MYSQL 1
#define VPOPMAILDIR "{home}"
#define QMAILDIR "{home}/qmail"
#define DOMAINS_DIR "domains"
#define VPOPMAILUID {uid}
#define VPOPMAILGID {gid}
"""
MORE = """\
#include <stdint.h>
typedef uint64_t storage_t;
struct vlimits;
char *default_domain(void);
void lowerit(char *);
int readuserquota(const char *dir, storage_t *bytes, storage_t *messages);
int vlimits_get_flag_mask(struct vlimits *limits);
typedef struct { unsigned long cur_users; char the_dir[300]; } vdir_type;
int vread_dir_control(vdir_type *places, char *domain, uid_t uid, gid_t gid);
int vwrite_dir_control(vdir_type *places, char *domain, uid_t uid, gid_t gid);
#endif
"""


def lay_out(home: Path, *flags: str, version: str = "5.6.13") -> Path:
    """Install it in `home`, compiled with `flags` (-fPIC if there are none)."""
    for name in ("include", "lib", "etc", "domains", "qmail"):
        (home / name).mkdir(parents=True)
    config = CONFIG.format(home=home, uid=os.getuid(), gid=os.getgid(), version=version)
    for name in ("vpopmail_config.h", "config.h"):
        (home / "include" / name).write_text(config)
    bundled = TOP / "csrc/libvpopmail/include"
    for name in ("vpopmail.h", "vauth.h", "vlimits.h"):
        shutil.copy(bundled / name, home / "include")
    header = home / "include/vpopmail.h"
    header.write_text(header.read_text().rsplit("#endif", 1)[0] + MORE)
    (home / "etc/inc_deps").write_text(f"-I{home}/include\n")
    (home / "etc/lib_deps").write_text(f"-L{home}/lib -lvpopmail  -lcrypt\n")
    archive(home, *flags)
    return home


def archive(home: Path, *flags: str) -> None:
    """Make the library anew, compiled with other flags."""
    source, built = TOP / "tests/cage/library.c", home / "lib/a.o"
    command = ["gcc", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-g", f"-I{home}/include"]
    subprocess.run([*command, *(flags or ["-fPIC"]), "-c", source, "-o", built], check=True)
    library = home / "lib/libvpopmail.a"
    library.unlink(missing_ok=True)
    subprocess.run(["ar", "rcs", library, built], check=True)


def build_library(prefix: Path, *options: str) -> None:
    """Install the bundled library in `prefix`, for ids that there are here."""
    uid, gid = map(str, domain_ids())
    command = [TOP / "build_libvpopmail.sh", "--prefix", prefix, "--qmail", "/no/qmail"]
    command += ["--uid", uid, "--gid", gid, *options]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def copy_project(to: Path) -> Path:
    """Copy what the package is built from: in a copy, a module is not taken for the checkout's."""
    for name in ("csrc", "docs", "linking", "vpopmail_ext"):
        shutil.copytree(TOP / name, to / name, ignore=shutil.ignore_patterns("*.so", "_binding.c"))
    for name in ("setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(TOP / name, to)
    return to
