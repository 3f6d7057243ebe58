"""Installations of a vpopmail that is none: cage/library.c and headers made of the bundled."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
from pathlib import Path

from tests.conftest import domain_ids

TOP = Path(__file__).parents[1]
CAGE = TOP / "tests/cage"
# As hardened builds are: their import tables can't be written any more.
COMPILE_SHARED: list[str | Path] = [
    *["gcc", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-g", "-shared", "-fPIC", "-Wl,-z,relro,-z,now"]
]
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
# What 5.5 calls by pointers, or has in another form; and what it has besides.
OF_MODULE = re.compile(
    r"^.*\b(vauth_(getpw|getall|setpw)|vmkpasswd|valias_\w+|vset_lastauth|v\w+_dir_control"
    r"|readuserquota)\(.*\n",
    re.MULTILINE,
)
MORE_SHARED = {
    "vpopmail.h": "int readuserquota(const char *dir, long *bytes, int *messages);\n",
    "vauth.h": (
        '#define NULL_REMOTE_IP "0.0.0.0"\n'
        "const char *vauth_module_name(void);\nint vauth_module_feature(const char *);\n"
    ),
}


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


def lay_out_shared(home: Path, name: str = "mysql") -> Path:
    """Install it as vpopmail 5.5 is: a shared library, its auth module, other headers."""
    lay_out(home, version="5.5.0")
    include = home / "include"
    user = pwd.getpwuid(os.getuid()).pw_name
    for config in ("vpopmail_config.h", "config.h"):
        kept = re.sub(".*(USE_|VPOPMAIL).*\n", "", (include / config).read_text())
        own = f'#define VPOPMAIL_DIR_DOMAINS "{home}/domains"\n#define VPOPUSER "{user}"\n'
        (include / config).write_text(kept + own)
    for header, more in MORE_SHARED.items():
        text, end, _ = (include / header).read_text().rpartition("#endif")
        (include / header).write_text(OF_MODULE.sub("", text) + more + end + "\n")
    (include / "storage.h").write_text("")
    (home / "lib/libvpopmail.a").unlink()
    library = home / "lib/libvpopmail.so"
    flags = [f"-I{include}", f'-DVPOPMAILDIR="{home}"']
    subprocess.run([*COMPILE_SHARED, *flags, CAGE / "shared.c", "-o", library], check=True)
    (home / "etc/vpopmail.authmodule").symlink_to(module(home, name))
    return home


def lay_out_old(home: Path) -> Path:
    """Install it as vpopmail 5.4 is, with its cdb module: short names, passwords kept as given."""
    lay_out(home, version="5.4.33")
    for name in ("vpopmail_config.h", "config.h"):
        config = home / "include" / name
        of_cdb = "#define USE_CDB 1\n#define CLEAR_PASS 1\n#define MD5_PASSWORDS 1"
        config.write_text(config.read_text().replace("#define USE_MYSQL 1", of_cdb))
    header = home / "include/vpopmail.h"
    header.write_text(
        header.read_text().replace("#define MAX_PW_NAME 64", "#define MAX_PW_NAME 32")
    )
    return home


def module(home: Path, name: str, *flags: str) -> Path:
    """Make an auth module; return its file."""
    made = home / f"lib/v{name}.so"
    command = [*COMPILE_SHARED, f'-DNAME="{name}"', *flags, CAGE / "module.c", "-o", made]
    subprocess.run(command, check=True)
    return made


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
