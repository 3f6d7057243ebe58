"""Whether a libvpopmail can be linked with, and the sentences where it can't."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from linking import find, probe
from tests.installation import TOP, archive, lay_out


@pytest.fixture(scope="module")
def vpopmail(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install a vpopmail that is only looked at."""
    return lay_out(tmp_path_factory.mktemp("probe") / "vpopmail")


@pytest.fixture
def home(vpopmail: Path, tmp_path: Path) -> Path:
    """Install a vpopmail that may be changed."""
    home = tmp_path / "vpopmail"
    shutil.copytree(vpopmail, home)
    for path in [*home.glob("include/*config.h"), *home.glob("etc/*_deps")]:
        path.write_text(path.read_text().replace(str(vpopmail), str(home)))
    return home


@pytest.fixture(autouse=True)
def _no_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CC", "CFLAGS", "LDFLAGS"):
        monkeypatch.delenv(name, raising=False)


def refusal(home: Path, wanted: str = "real") -> str:
    """Return why it can't be linked, without what is always added."""
    with pytest.raises(probe.Obstacle) as caught:
        find.find_library({"VPOPMAIL_EXT_LIBRARY": wanted, "VPOPMAIL_HOME": str(home)})
    said = caught.value.code
    assert isinstance(said, str)
    added = f", or {probe.BUNDLED}"
    assert said.startswith("vpopmail_ext: ")
    assert said.endswith(added)
    return said.removeprefix("vpopmail_ext: ").removesuffix(added)


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_one_that_links(home: Path) -> None:
    found = find.find_library({"VPOPMAIL_HOME": str(home)})
    assert not found.bundled
    assert probe.link(found, "policy.c") == ""
    archive(home, "-fPIC", "-Dpw_strength=absent")
    assert "undefined reference to `pw_strength'" in probe.link(found, "policy.c")


# --- versions -------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["5.4.33", "5.5.0", "5.6.13-rc1"])
def test_versions_that_are_taken(home: Path, version: str) -> None:
    for name in ("config.h", "vpopmail_config.h"):
        change(home / "include" / name, "5.6.13", version)
    assert not find.find_library({"VPOPMAIL_HOME": str(home)}).bundled


@pytest.mark.parametrize("version", ["5.4.9", "4.10.35"])
def test_a_version_that_is_too_old(home: Path, version: str) -> None:
    change(home / "include/vpopmail_config.h", "5.6.13", version)
    assert refusal(home) == (
        f"the vpopmail of {home}/lib/libvpopmail.a is of version {version}; 5.4.33 or a later one "
        "is needed. Install one"
    )


def test_a_version_that_is_not_told(home: Path) -> None:
    (home / "include/vpopmail_config.h").unlink()
    assert "is of an unknown version; 5.4.33 or a later one is needed" in refusal(home)


# --- position-independent code ------------------------------------------------------------------


@pytest.mark.parametrize("flags", [["-fno-pic", "-no-pie"], ["-fPIE"]])
def test_a_library_that_is_not_position_independent(home: Path, flags: list[str]) -> None:
    archive(home, *flags)
    assert refusal(home) == (
        f"{home}/lib/libvpopmail.a is not position-independent code, so no Python module can be "
        "linked with it. Build vpopmail again so that it is: in its source `make clean`, then "
        '`CFLAGS="-g -O2 -fPIC" ./configure` with the options that it was configured with, `make` '
        "and `make install-strip`"
    )


def client(home: Path, *flags: str) -> None:
    """Let the library need libclient, and make that one an archive."""
    need = home / "need.h"
    need.write_text(
        "extern int client(void);\n"
        "static int (*const needed)(void) __attribute__((used)) = client;\n"
    )
    archive(home, "-fPIC", "-include", str(need))
    if flags:
        made = home / "lib/client.o"
        text = "#include <stdio.h>\nint client(void) { return fputc('c', stderr); }\n"
        command = ["gcc", *flags, "-xc", "-c", "-", "-o", made]
        subprocess.run(command, input=text, text=True, check=True)
        subprocess.run(["ar", "rcs", home / "lib/libclient.a", made], check=True)
        (home / "etc/lib_deps").write_text("-lvpopmail -lclient -lcrypt\n")


def test_a_client_library_that_is_not(home: Path) -> None:
    client(home, "-fno-pic")
    assert refusal(home) == (
        f"{home}/lib/libvpopmail.a needs {home}/lib/libclient.a ({home}/etc/lib_deps: -L{home}/lib "
        f"{home}/lib/libvpopmail.a -lclient -lcrypt), which is not position-independent code, so "
        "no Python module can be linked with it. Install that library as a shared one (.so), or "
        "build it with -fPIC"
    )


# --- what it needs ----------------------------------------------------------------------------


def test_a_client_library_that_is_missing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(probe.PACKAGES, "no-such-client", "libno-such-dev")
    monkeypatch.setitem(probe.PACKAGES, "no-such-client-r", "libno-such-dev")
    needs = f"{home}/lib/libvpopmail.a needs "
    told = f"which the linker does not find ({home}/etc/lib_deps: -L{home}/lib {home}/lib/"
    (home / "etc/lib_deps").write_text("-lvpopmail -lno-such-client-r -lno-such-client\n")
    assert refusal(home) == (
        f"{needs}libno-such-client, libno-such-client-r, {told}libvpopmail.a -lno-such-client-r "
        "-lno-such-client). Install the Debian package libno-such-dev (apt-get install "
        "libno-such-dev)"
    )
    (home / "etc/lib_deps").write_text("-lvpopmail -lno-such\n")
    assert refusal(home) == (
        f"{needs}libno-such, {told}libvpopmail.a -lno-such). Install the package that has it, with "
        "what is for developers"
    )


@pytest.mark.parametrize(
    ("names", "packages"),
    [
        (["mysqlclient"], "default-libmysqlclient-dev"),
        (["pq"], "libpq-dev"),
        (["ldap", "lber"], "libldap-dev"),
        (["z", "mysqlclient", "other"], "default-libmysqlclient-dev zlib1g-dev"),
    ],
)
def test_debian_s_packages(names: list[str], packages: str) -> None:
    library = probe.Library(False, [], [], [], ["-l"], "/lib/libvpopmail.a")
    # As Debian's ld says it.
    said = "".join(
        f"/usr/bin/ld: cannot find -l{name}: No such file or directory\n" for name in names
    )
    said += "collect2: error: ld returned 1 exit status\n"
    assert f" (apt-get install {packages})" in probe._reason(said, library, "5.6.13")


def test_a_client_library_that_is_not_told(home: Path) -> None:
    client(home)
    assert refusal(home) == (
        f"{home}/lib/libvpopmail.a needs client, which no library has that it is linked with "
        f"({home}/etc/lib_deps: -L{home}/lib -L{home}/lib {home}/lib/libvpopmail.a -lcrypt). Add "
        "the one that has it to vpopmail's etc/lib_deps"
    )


def test_the_environment_s_flags_count(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They do when the module is built."""
    client(home, "-fPIC")
    (home / "lib/libclient.a").rename(tmp_path / "libclient.a")
    assert "needs libclient," in refusal(home)
    monkeypatch.setenv("LDFLAGS", f"-L{tmp_path}")
    assert not find.find_library({"VPOPMAIL_HOME": str(home)}).bundled
    archive(home)
    (home / "include/vlimits.h").rename(tmp_path / "vlimits.h")
    assert "does not compile" in refusal(home)
    monkeypatch.setenv("CFLAGS", f"-I{tmp_path} -DA='b c'")
    assert not find.find_library({"VPOPMAIL_HOME": str(home)}).bundled


# --- its functions ----------------------------------------------------------------------------


def test_functions_that_are_not_in_the_library(home: Path) -> None:
    archive(home, "-fPIC", "-Dvauth_open=absent", "-Dvget_limits=missing")
    assert refusal(home) == (
        f"the vpopmail 5.6.13 of {home}/lib/libvpopmail.a lacks vauth_open, vget_limits, which "
        "vpopmail_ext calls. 5.4.33 and 5.6.13 have it all: install one of these"
    )


def test_functions_that_are_not_in_the_headers(home: Path) -> None:
    change(home / "include/vpopmail.h", "domain_entry *get_domain_entries(", "void *other(")
    change(home / "include/vpopmail.h", "typedef struct {", "struct none {")
    change(home / "include/vpopmail.h", "} domain_entry;", "};")
    assert "libvpopmail.a lacks get_domain_entries, which vpopmail_ext calls. " in refusal(home)


def test_other_arguments(home: Path) -> None:
    header = home / "include/vpopmail.h"
    change(header, "vaddaliasdomain(char *alias_domain,", "vaddaliasdomain(int x, char *alias,")
    change(header, "int vdeldomain(char *", "char *vdeldomain(char *")
    assert refusal(home) == (
        f"the vpopmail 5.6.13 of {home}/lib/libvpopmail.a has other arguments for vaddaliasdomain, "
        "vdeldomain than 5.4.33 and 5.6.13 have and vpopmail_ext gives. Install one of these"
    )


def test_anything_else_is_told_in_the_compiler_s_words(home: Path) -> None:
    change(home / "include/vauth.h", "#ifndef VAUTH_H", "#error no such thing\n#ifndef VAUTH_H")
    said = refusal(home)
    first, complaint = said.splitlines()[:2]
    assert first == (
        f"what vpopmail_ext calls does not compile or link with {home}/lib/libvpopmail.a:"
    )
    assert complaint.startswith("In file included from")
    assert "error: #error no such thing" in said
    assert said.splitlines()[-1] == (
        "Its headers and the library must be of one installation. Install vpopmail again"
    )


def test_a_compiler_that_says_nothing(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler = tmp_path / "cc"
    compiler.write_text('#!/bin/sh\ncase $* in *-shared*) exit 1;; esac\nexec gcc "$@"\n')
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))
    assert "libvpopmail.a:\nfailed\n" in refusal(home)


def test_one_of_our_own_of_another_release(home: Path) -> None:
    config = home / "include/vpopmail_config.h"
    config.write_text(config.read_text() + "#define VPOPMAIL_EXT_BUNDLED 1\n")
    archive(home, "-fPIC", "-include", str(config))
    said = refusal(home, "auto")
    lacks = r"valias_delete_domain, (\w+, )*vpopmail_aliases, .*\w"
    again = f"Run ./build_libvpopmail.sh --prefix {home} --qmail DIR again"
    assert re.fullmatch(
        f"{home}/lib/libvpopmail.a lacks {lacks}: it is of another release. {again}", said
    )
    (home / "include/vauth.h").write_text("#error\n")
    assert refusal(home, "auto").endswith(f"must be of one installation. {again}")


@pytest.mark.parametrize("define", [[], ["VALIAS", "ENABLE_AUTH_LOGGING"]])
def test_all_that_is_called_is_looked_for(home: Path, tmp_path: Path, define: list[str]) -> None:
    header = home / "include/vauth.h"
    change(
        header,
        "int vauth_open(",
        '#define NULL_REMOTE_IP "0.0.0.0"\n#include <time.h>\n'
        "time_t vget_lastauth(struct vqpasswd *pw, char *domain);\n"
        "char *vget_lastauthip(struct vqpasswd *pw, char *domain);\nint vauth_open(",
    )
    flags = [*probe.CFLAGS, f"-I{home}/include", '-DVPX_LIBRARY=""', "-DVPX_HAS_POLICY=0"]
    flags += [f"-D{name}" for name in define]
    open_names = {}
    for source in ("real", "real_records", "real_bulk", "needed"):
        made = tmp_path / f"{source}.o"
        file = TOP / f"csrc/binding/{source}.c"
        subprocess.run(["gcc", *flags, "-c", file, "-o", made], check=True)
        listed = subprocess.run(["nm", "-u", made], check=True, capture_output=True, text=True)
        open_names[source] = set(re.findall(r" U (\w+)$", listed.stdout, re.MULTILINE))
    declared = set()
    for header in (home / "include").glob("v*.h"):
        declared |= set(re.findall(r"\b(\w+)\(", header.read_text()))
    needed = open_names.pop("needed")
    called = set().union(*open_names.values()) & declared
    assert len(called) > 25
    assert called == needed
    for name in define:
        extra = {"VALIAS": "valias_delete_domain", "ENABLE_AUTH_LOGGING": "vget_lastauthip"}[name]
        assert extra in called


# --- the compiler ---------------------------------------------------------------------------------


def test_no_compiler(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler -pthread")
    with pytest.raises(SystemExit) as caught:
        find.find_library({"VPOPMAIL_HOME": str(home)})
    assert caught.value.code == (
        "vpopmail_ext: there is no C compiler 'no-such-compiler'. Install the Debian package gcc "
        "(apt-get install gcc), or set CC to a compiler that is there."
    )


def test_the_compiler_s_words_are_c_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    print_it = "import os; print(os.environ['LC_ALL'], os.getcwd())"
    assert probe.run([sys.executable, "-c", print_it]).stdout == f"C {TOP}\n"
