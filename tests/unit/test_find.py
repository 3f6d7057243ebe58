"""Which libvpopmail is chosen to be linked with, and the sentences where there is none."""

from __future__ import annotations

import os
import pwd
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from linking import find, probe
from tests.installation import lay_out, lay_out_shared, module


@pytest.fixture(scope="module")
def vpopmail(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install a vpopmail that is only looked at."""
    return lay_out(tmp_path_factory.mktemp("find") / "vpopmail")


@pytest.fixture
def home(vpopmail: Path, tmp_path: Path) -> Path:
    """Install a vpopmail that may be changed."""
    return install(vpopmail, tmp_path / "vpopmail")


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the machine have nothing installed, and all usual places below a directory."""
    root = tmp_path / "machine"
    for name in ("HOMES", "INCLUDES", "LIBRARIES"):
        monkeypatch.setattr(find, name, [f"{root}{path}" for path in getattr(find, name)])
    monkeypatch.setattr(pwd, "getpwnam", {}.__getitem__)
    # Where the compiler looks, besides its own places.
    monkeypatch.setenv("LIBRARY_PATH", f"{root}/usr/lib")
    return root


def install(vpopmail: Path, home: Path) -> Path:
    """Install a copy in another home."""
    shutil.copytree(vpopmail, home)
    for path in [*home.glob("include/*config.h"), *home.glob("etc/*_deps")]:
        path.write_text(path.read_text().replace(str(vpopmail), str(home)))
    return home


def package(vpopmail: Path, include: Path, library: Path, home: Path) -> None:
    """Install it as a distribution does: only its account of itself is in its home."""
    install(vpopmail, home)
    include.parent.mkdir(parents=True, exist_ok=True)
    library.parent.mkdir(parents=True, exist_ok=True)
    (home / "include").rename(include)
    (home / "lib/libvpopmail.a").rename(library)


def user_home(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """Let there be a user vpopmail."""
    entry = pwd.struct_passwd(("vpopmail", "x", 89, 89, "", str(home), "/bin/sh"))
    monkeypatch.setattr(pwd, "getpwnam", {"vpopmail": entry}.__getitem__)


def refusal(environment: dict[str, str]) -> str:
    with pytest.raises(probe.Obstacle) as caught:
        find.find_library(environment)
    assert isinstance(caught.value.code, str)
    return caught.value.code


# --- the order ------------------------------------------------------------------------------------


def test_the_usual_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    homes = ["/home/vpopmail", "/usr/local/vpopmail", "/var/vpopmail", "/var/lib/vpopmail"]
    assert homes == find.HOMES
    assert find.INCLUDES[0] == "/usr/include/vpopmail"


def test_places_in_their_order(
    vpopmail: Path, machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user_home(monkeypatch, tmp_path / "user")
    named = install(vpopmail, tmp_path / "named")
    places = [install(vpopmail, Path(home)) for home in (tmp_path / "user", *find.HOMES)]
    library = machine / "usr/lib/libvpopmail.a"
    package(vpopmail, machine / "usr/include/vpopmail", library, tmp_path / "home")
    found = find.find_library({"VPOPMAIL_HOME": str(named), "VPOPMAIL_EXT_LIBRARY": "real"})
    assert found.path == f"{named}/lib/libvpopmail.a"
    for wanted in ("auto", "real"):
        for place in places:
            found = find.find_library({"VPOPMAIL_EXT_LIBRARY": wanted})
            assert found.path == f"{place}/lib/libvpopmail.a"
            place.rename(f"{place}.away")
        assert find.find_library({"VPOPMAIL_EXT_LIBRARY": wanted}).path == str(library)
        for place in places:
            Path(f"{place}.away").rename(place)
    for place in places:
        shutil.rmtree(place)
    library.unlink()
    shutil.rmtree(machine / "usr/include/vpopmail")
    assert find.find_library({}) == find.bundled()


def test_the_user_s_home_may_be_a_usual_one(monkeypatch: pytest.MonkeyPatch) -> None:
    user_home(monkeypatch, Path(find.HOMES[2]))
    assert find.homes() == [find.HOMES[i] for i in (2, 0, 1, 3)]


@pytest.mark.parametrize("environment", [{}, {"VPOPMAIL_HOME": "", "VPOPMAIL_EXT_LIBRARY": ""}])
def test_the_bundled_library_where_there_is_no_other(
    environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    library = find.find_library(environment)
    assert library.bundled
    assert "csrc/libvpopmail/domain.c" in library.sources
    assert not any("tools" in source for source in library.sources)
    assert "csrc/libvpopmail/include/vpopmail.h" in library.depends
    assert library.compile_flags == ["-Icsrc/libvpopmail/include", "-iquote", "csrc/libvpopmail"]
    assert (library.link_flags, library.path) == (["-lcrypt", "-lpthread"], "")
    assert capsys.readouterr().err == ""


def test_bundled_is_bundled(home: Path) -> None:
    asked = {"VPOPMAIL_EXT_LIBRARY": "bundled", "VPOPMAIL_HOME": str(home)}
    assert find.find_library(asked) == find.bundled()


def test_another_word() -> None:
    said = refusal({"VPOPMAIL_EXT_LIBRARY": "genuine"})
    assert "VPOPMAIL_EXT_LIBRARY (or -C library=…) is 'genuine'; it takes real (" in said


def test_an_incomplete_checkout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(find, "ROOT", tmp_path)
    monkeypatch.setattr(probe, "ROOT", tmp_path)
    said = refusal({"VPOPMAIL_EXT_LIBRARY": "bundled"})
    assert f"csrc/libvpopmail, is not in {tmp_path}. Build from a complete" in said


# --- what is linked with ------------------------------------------------------------------------


def test_an_installation(home: Path) -> None:
    (home / "etc/inc_deps").write_text(f"-I{home}/include  '-DA=b c' \n")
    deps = f"-L{home}/lib -lvpopmail -Xlinker -R -Xlinker /opt  -lcrypt -lm \n"
    (home / "etc/lib_deps").write_text(deps)
    assert find.find_library({"VPOPMAIL_HOME": str(home)}) == probe.Library(
        bundled=False,
        sources=[],
        depends=[f"{home}/lib/libvpopmail.a", f"{home}/etc/inc_deps", f"{home}/etc/lib_deps"],
        compile_flags=[f"-I{home}/include", "-DA=b c", f"-I{home}/include"],
        link_flags=[
            f"-L{home}/lib",
            f"-L{home}/lib",
            f"{home}/lib/libvpopmail.a",
            *["-Xlinker", "-R", "-Xlinker", "/opt", "-lcrypt", "-lm"],
        ],
        path=f"{home}/lib/libvpopmail.a",
        told_by=f"{home}/etc/lib_deps",
    )


def test_a_package_tells_what_it_links_with(vpopmail: Path, machine: Path, tmp_path: Path) -> None:
    include, library = machine / "usr/include/vpopmail", machine / "usr/lib/libvpopmail.a"
    home = tmp_path / "home"
    package(vpopmail, include, library, home)
    (home / "etc/lib_deps").write_text("-lvpopmail -lcrypt -lm\n")
    found = find.find_library({})
    assert found.compile_flags == [f"-I{include}"]
    assert found.link_flags == [str(library), "-lcrypt", "-lm"]
    assert found.depends == [str(library), f"{home}/etc/lib_deps"]
    assert found.told_by == f"{home}/etc/lib_deps"


def test_a_package_without_such_an_account(vpopmail: Path, machine: Path, tmp_path: Path) -> None:
    include, library = (
        machine / "usr/local/include/vpopmail",
        machine / "usr/local/lib/libvpopmail.a",
    )
    package(vpopmail, include, library, tmp_path / "home")
    (tmp_path / "home/etc/lib_deps").unlink()
    found = find.find_library({"VPOPMAIL_EXT_LIBRARY": "real"})
    assert found.link_flags == [str(library), "-lcrypt"]
    assert (found.depends, found.told_by) == ([str(library)], "")


# --- what is missing ------------------------------------------------------------------------------


def test_nothing_is_found() -> None:
    said = refusal({"VPOPMAIL_EXT_LIBRARY": "real"})
    assert said == (
        "vpopmail_ext: no installed libvpopmail that can be linked was found in "
        f"{', '.join([*find.HOMES, *find.INCLUDES])}. Set VPOPMAIL_HOME to the directory where "
        "vpopmail is installed (it holds include/, lib/libvpopmail.a, etc/inc_deps and "
        "etc/lib_deps), or set VPOPMAIL_EXT_LIBRARY=bundled to build the bundled library into the "
        "module."
    )


LACKS = [
    ("etc/inc_deps", "is not complete"),
    ("etc/lib_deps", "is not complete"),
    ("lib/libvpopmail.a", "has vpopmail's headers without its library"),
    ("include/vpopmail.h", "has vpopmail's library without its headers"),
]


@pytest.mark.parametrize(("missing", "what"), LACKS)
def test_an_installation_that_lacks_a_file(home: Path, missing: str, what: str) -> None:
    (home / missing).unlink()
    said = refusal({"VPOPMAIL_HOME": str(home)})
    assert said == (
        f"vpopmail_ext: {home} {what}: there is no {home}/{missing}. Install vpopmail there (make "
        f"install-strip in its source; or run ./build_libvpopmail.sh --prefix {home} --qmail DIR), "
        "set VPOPMAIL_HOME to the directory where it is, or set VPOPMAIL_EXT_LIBRARY=bundled to "
        "build the bundled library into the module."
    )


def test_a_shared_library_with_its_auth_module(tmp_path: Path) -> None:
    home = lay_out_shared(tmp_path / "vpopmail")
    found = find.find_library({"VPOPMAIL_HOME": str(home)})
    auth_module = f"{home}/etc/vpopmail.authmodule"
    assert (found.bundled, found.path) == (False, f"{home}/lib/libvpopmail.so")
    assert found.auth_module == auth_module
    assert found.link_flags[-1] == auth_module
    assert auth_module in found.depends
    defined = ["VPX_SHARED", 'AUTH_MODULE="mysql"', "USE_MYSQL", "ENABLE_AUTH_LOGGING"]
    defined += [f'VPOPMAILDIR="{home}"']
    assert found.compile_flags[-len(defined) :] == [f"-D{each}" for each in defined]


@pytest.mark.parametrize(("name", "defined"), list(find.MODULES.items()))
def test_an_auth_module_of_its_own(tmp_path: Path, name: str, defined: str) -> None:
    home = lay_out_shared(tmp_path / "vpopmail", name[1:-3])
    assert f"-D{defined}" in find.find_library({"VPOPMAIL_HOME": str(home)}).compile_flags


def test_an_auth_module_that_keeps_aliases(tmp_path: Path) -> None:
    home = lay_out_shared(tmp_path / "vpopmail")
    module(home, "mysql", "-Dalias_insert=alias_select")
    flags = find.installed(str(home)).compile_flags
    assert flags[-1] == "-DVALIAS"


def test_a_shared_library_without_a_known_auth_module(tmp_path: Path) -> None:
    home = lay_out_shared(tmp_path / "vpopmail")
    link = home / "etc/vpopmail.authmodule"
    cure = (
        " Install one of vcdb.so, vmysql.so, vpgsql.so, vldap.so, vopenldap.so (in vpopmail's "
        "source: cd backends/cdb, or another, then ./configure, make, make install), or set "
        "VPOPMAIL_EXT_LIBRARY=bundled to build the bundled library into the module."
    )
    link.unlink()
    has = f"vpopmail_ext: the vpopmail 5.5.0 in {home} has"
    assert refusal({"VPOPMAIL_HOME": str(home)}) == f"{has} no auth module {link}.{cure}"
    link.symlink_to(module(home, "other"))
    assert refusal({"VPOPMAIL_HOME": str(home)}) == f"{has} the auth module vother.so.{cure}"


@pytest.mark.parametrize(
    ("version", "told"), [("5.6.13", "version 5.6.13"), ("", "an unknown version")]
)
def test_a_shared_library_alone_of_another_version(home: Path, version: str, told: str) -> None:
    (home / "lib/libvpopmail.a").rename(home / "lib/libvpopmail.so")
    if not version:
        (home / "include/vpopmail_config.h").unlink()
    assert refusal({"VPOPMAIL_HOME": str(home)}) == (
        f"vpopmail_ext: {home} has only the shared {home}/lib/libvpopmail.so, not libvpopmail.a, "
        f"which is needed of every vpopmail but 5.5 (this one is of {told}). Install vpopmail "
        "again, or set VPOPMAIL_EXT_LIBRARY=bundled to build the bundled library into the module."
    )


def test_a_directory_that_is_no_installation(tmp_path: Path) -> None:
    said = refusal({"VPOPMAIL_HOME": str(tmp_path)})
    names = ("include/vpopmail.h", "lib/libvpopmail.a", "etc/inc_deps", "etc/lib_deps")
    lacks = ", no ".join(f"{tmp_path}/{name}" for name in names)
    assert f"{tmp_path} is no installation of vpopmail: there is no {lacks}. Install" in said


def test_a_relative_home() -> None:
    said = refusal({"VPOPMAIL_HOME": "home/vpopmail"})
    assert said == "vpopmail_ext: VPOPMAIL_HOME is 'home/vpopmail'; it takes an absolute path."


def break_home(vpopmail: Path, machine: Path) -> str:
    home = install(vpopmail, Path(find.HOMES[1]))
    (home / "lib/libvpopmail.a").unlink()
    return f"{home} has vpopmail's headers without its library: "


def break_archive(vpopmail: Path, machine: Path) -> str:
    home = install(vpopmail, Path(find.HOMES[0]))
    (home / "etc/lib_deps").write_text("-lvpopmail -lno-such-library")
    return f"{home}/lib/libvpopmail.a needs libno-such-library, "


def take_the_library(vpopmail: Path, machine: Path) -> str:
    include, library = machine / "usr/include/vpopmail", machine / "usr/lib/libvpopmail.a"
    package(vpopmail, include, library, machine / "home")
    library.unlink()
    return (
        f"{include} has vpopmail's headers without its library: {probe.compiler()[0]} finds no "
        "libvpopmail.a, which is needed (what the library prints is caught when it is linked). "
        "Install the package that has it, "
    )


def share_the_library(vpopmail: Path, machine: Path) -> str:
    include, library = machine / "usr/include/vpopmail", machine / "usr/lib/libvpopmail.a"
    package(vpopmail, include, library, machine / "home")
    library.rename(library.with_suffix(".so"))
    return f"finds only the shared {library.with_suffix('.so')}, not libvpopmail.a, which is needed"


def take_the_headers(vpopmail: Path, machine: Path) -> str:
    include, library = machine / "usr/include/vpopmail", machine / "usr/lib/libvpopmail.a"
    package(vpopmail, include, library, machine / "home")
    shutil.rmtree(include)
    return (
        f"{library} is vpopmail's library without its headers: there is no vpopmail.h in "
        f"{', '.join(find.INCLUDES)}. Install the package that has them, "
    )


@pytest.mark.parametrize(
    "break_it",
    [break_home, break_archive, take_the_library, share_the_library, take_the_headers],
)
def test_what_is_broken_is_said(
    vpopmail: Path,
    machine: Path,
    break_it: Callable[[Path, Path], str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """`real` takes nothing else; `auto` tells why it builds the bundled library."""
    reason = break_it(vpopmail, machine)
    said = refusal({"VPOPMAIL_EXT_LIBRARY": "real"})
    assert reason in said
    assert f"\n{find.nothing_found()}" in said
    assert find.find_library({}) == find.bundled()
    told = capsys.readouterr().err
    assert reason in told
    assert told.endswith("\nvpopmail_ext: the bundled library is built in.\n")
    assert told.count("\n") == 2


def test_a_broken_place_does_not_hide_the_next(vpopmail: Path, machine: Path) -> None:
    break_home(vpopmail, machine)
    home = install(vpopmail, Path(find.HOMES[2]))
    for wanted in ("auto", "real"):
        found = find.find_library({"VPOPMAIL_EXT_LIBRARY": wanted})
        assert found.path == f"{home}/lib/libvpopmail.a"


def test_a_named_home_that_is_broken_is_never_passed_over(vpopmail: Path, home: Path) -> None:
    install(vpopmail, Path(find.HOMES[0]))
    (home / "lib/libvpopmail.a").unlink()
    for wanted in ("auto", "real"):
        said = refusal({"VPOPMAIL_EXT_LIBRARY": wanted, "VPOPMAIL_HOME": str(home)})
        assert "without its library" in said


def test_what_may_not_be_read(
    vpopmail: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = install(vpopmail, Path(find.HOMES[0]))
    closed, look = f"{home}/lib/libvpopmail.a", os.stat

    def refuse(path: str, **options: bool) -> os.stat_result:
        if path == closed:
            raise PermissionError(13, "Permission denied")
        return look(path, **options)

    monkeypatch.setattr(os, "stat", refuse)
    reason = (
        f"vpopmail_ext: {closed} can't be read: Permission denied. Build as a user who may read "
        "it, such as root, or set VPOPMAIL_EXT_LIBRARY=bundled"
    )
    assert reason in refusal({"VPOPMAIL_EXT_LIBRARY": "real"})
    assert find.find_library({}) == find.bundled()
    assert reason in capsys.readouterr().err


def test_a_directory_is_no_file(home: Path) -> None:
    (home / "lib/libvpopmail.a").unlink()
    (home / "lib/libvpopmail.a").mkdir()
    assert "without its library" in refusal({"VPOPMAIL_HOME": str(home)})


@pytest.mark.parametrize("name", ["inc_deps", "lib_deps"])
@pytest.mark.parametrize(
    ("text", "why"), [(b"-I'a", "No closing quotation"), (b"-I\xff", "can't decode byte 0xff")]
)
def test_flags_that_can_t_be_understood(home: Path, name: str, text: bytes, why: str) -> None:
    (home / "etc" / name).write_bytes(text)
    said = refusal({"VPOPMAIL_HOME": str(home)})
    assert f"vpopmail_ext: {home}/etc/{name} can't be understood: " in said
    assert f"{why}" in said
    assert "correct it, install vpopmail again, or set VPOPMAIL_EXT_LIBRARY=bundled" in said


def own(home: Path) -> None:
    """Make it an installation of build_libvpopmail.sh, as far as its headers tell."""
    config = home / "include/vpopmail_config.h"
    config.write_text(config.read_text() + "#define VPOPMAIL_EXT_BUNDLED 1\n")


def test_real_is_not_one_of_our_own(vpopmail: Path, home: Path) -> None:
    own(home)
    said = refusal({"VPOPMAIL_EXT_LIBRARY": "real", "VPOPMAIL_HOME": str(home)})
    assert said == (
        f"vpopmail_ext: {home}/lib/libvpopmail.a is vpopmail_ext's own, which build_libvpopmail.sh "
        "installed, and not vpopmail's. Set VPOPMAIL_EXT_LIBRARY=auto to link it, or VPOPMAIL_HOME "
        "to the directory where vpopmail is installed."
    )
    own(install(vpopmail, Path(find.HOMES[0])))
    real = install(vpopmail, Path(find.HOMES[3]))
    found = find.find_library({"VPOPMAIL_EXT_LIBRARY": "real"})
    assert found.path == f"{real}/lib/libvpopmail.a"
