"""build_libvpopmail.sh, and the programs that it makes: vadddomain, vdeldomain, vaddaliasdomain."""

from __future__ import annotations

import os
import pty
import pwd
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import vpopmail_ext as v
from tests.conformance import hashes
from tests.conftest import Home

TOP = Path(__file__).parents[2]
SCRIPT = TOP / "build_libvpopmail.sh"
TOOLS = ["vadddomain", "vdeldomain", "vaddaliasdomain"]


class Done(NamedTuple):
    """What came of a program: its exit status, with the code where that is one, and its words."""

    status: int
    out: str
    err: str

    @property
    def code(self) -> int:
        return self.status - 256 if self.status > 128 else self.status


def environment(**changes: str) -> dict[str, str]:
    """Return this process's environment without what loads a sanitizer into every program."""
    return {k: val for k, val in os.environ.items() if k != "LD_PRELOAD"} | changes


def build(
    *arguments: str | Path, umask: int = 0o022, environ: dict[str, str] | None = None
) -> Done:
    done = subprocess.run(
        [SCRIPT, *arguments],
        capture_output=True,
        text=True,
        check=False,
        umask=umask,
        env=environ or environment(),
    )
    return Done(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="session")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the script installs, for a qmail that is beside it."""
    made = tmp_path_factory.mktemp("installed")
    flags = []
    if sanitizers := os.environ.get("VPOPMAIL_EXT_SANITIZE"):
        flags = ["--sanitize", sanitizers]
    ids = ["--uid", str(os.getuid()), "--gid", str(os.getgid())]
    # Whatever umask root has: others are to read the headers and run the programs.
    done = build("--prefix", made / "home", "--qmail", made / "qmail", *ids, *flags, umask=0o077)
    assert (done.status, done.err) == (0, "")
    assert done.out == f"libvpopmail is in {made}/home; qmail's directory is {made}/qmail\n"
    return made / "home"


@pytest.fixture
def tools(prefix: Path, home: Home) -> Home:
    """An installation of its own for each test, with the programs in it."""
    (home.path / "bin").mkdir()
    for tool in TOOLS:
        (home.path / "bin" / tool).symlink_to(prefix / "bin" / tool)
    return home


def run(home: Home, tool: str, *arguments: str, stdin: str = "") -> Done:
    done = subprocess.run(
        [home.path / "bin" / tool, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        env=environment(VPOPMAIL_HOME=str(home.path), QMAIL_HOME=str(home.qmail)),
    )
    return Done(done.returncode, done.stdout, done.stderr)


def domains(home: Home) -> dict[str, str]:
    """Return the real domain of each name in users/assign."""
    assign = home.qmail / "users/assign"
    lines = assign.read_text().splitlines() if assign.exists() else []
    fields = [line.split(":") for line in lines if line.startswith("+")]
    return {name[1:-1]: real for name, real, *_ in fields}


def account(home: Home, name: str = "example.com") -> list[str]:
    """Return the fields of the postmaster's line."""
    (line,) = (home.path / "domains" / name / "vpasswd").read_text().splitlines()
    return line.split(":")


# --- the script ----------------------------------------------------------------------------------


def layout(prefix: Path) -> dict[str, str]:
    return {
        os.fspath(path.relative_to(prefix)): f"{path.stat().st_mode & 0o7777:04o}"
        for path in sorted(prefix.rglob("*"))
    }


LAYOUT = {
    "bin": "0755",
    **{f"bin/{tool}": "0755" for tool in TOOLS},
    "include": "0755",
    **{f"include/{name}.h": "0644" for name in ("vpopmail", "vauth", "vlimits", "vpopmail_config")},
    "lib": "0755",
    "lib/libvpopmail.a": "0644",
    "etc": "0755",
    **{f"etc/{name}": "0644" for name in ("inc_deps", "lib_deps")},
    **{f"etc/{name}": "0644" for name in ("vlimits.default", "password_strength.conf")},
    "domains": "0700",
}


def test_what_is_installed(prefix: Path) -> None:
    assert layout(prefix) == LAYOUT
    assert (prefix / "etc/inc_deps").read_text() == f"-I{prefix}/include\n"
    lib_deps = (prefix / "etc/lib_deps").read_text()
    assert lib_deps.startswith(f"-L{prefix}/lib -lvpopmail  -lcrypt")
    assert lib_deps.count("\n") == 1
    policy = (prefix / "etc/password_strength.conf").read_text()
    assert policy == "Policy = at least one character\nLength >= 1\n"
    assert (prefix / "etc/vlimits.default").read_text() == "maxpopaccounts -1\n"
    config = (prefix / "include/vpopmail_config.h").read_text()
    for name, value in {
        "VERSION": '"5.6.13"',
        "VPOPMAILDIR": f'"{prefix}"',
        "QMAILDIR": f'"{prefix.parent}/qmail"',
        "DOMAINS_DIR": '"domains"',
        "VPOPMAILUID": str(os.getuid()),
        "VPOPMAILGID": str(os.getgid()),
    }.items():
        assert re.search(rf"^ *#define {name} {re.escape(value)}$", config, re.MULTILINE), name


def test_the_library_can_be_linked_by_what_it_says(prefix: Path, tmp_path: Path) -> None:
    program = tmp_path / "program.c"
    program.write_text(
        "#include <stdio.h>\n#include <vpopmail.h>\n#include <vauth.h>\n"
        'int main(void) { printf("%s %s", VERSION, verror(VA_BAD_CHAR)); vclose(); return 0; }\n'
    )
    deps = [(prefix / f"etc/{name}_deps").read_text().split() for name in ("inc", "lib")]
    # Position-independent, so that a module can be linked with it too.
    for flags in (["-o", f"{tmp_path}/program"], ["-shared", "-fPIC", "-o", f"{tmp_path}/lib.so"]):
        command = ["gcc", *flags, str(program), *deps[0], *deps[1]]
        subprocess.run(command, check=True, env=environment())
    told = subprocess.run(
        [tmp_path / "program"], capture_output=True, text=True, check=True, env=environment()
    )
    assert told.stdout == "5.6.13 bad character"


def test_a_second_time_what_is_the_administrator_s_is_kept(tmp_path: Path) -> None:
    prefix = tmp_path / "home"
    for directory in ("etc", "domains/example.com", "bin"):
        (prefix / directory).mkdir(parents=True)
    own = {
        "etc/vlimits.default": "quota 5\n",
        "etc/password_strength.conf": "Length >= 8\n",
        "etc/open-smtp": "mine\n",
        "domains/example.com/vpasswd": "mine\n",
        "bin/vdominfo": "mine\n",
    }
    for name, text in own.items():
        (prefix / name).write_text(text)
        (prefix / name).chmod(0o600)
    old = {"etc/inc_deps": "-I/old\n", "bin/vadddomain": "old\n", "lib/libvpopmail.a": "old\n"}
    (prefix / "lib").mkdir()
    for name, text in old.items():
        (prefix / name).write_text(text)
    (prefix / "domains").chmod(0o755)
    done = build("--prefix", prefix, "--qmail", tmp_path / "qmail", "--debug")
    assert (done.status, done.err) == (0, "")
    for name, text in own.items():
        assert (prefix / name).read_text() == text
        assert (prefix / name).stat().st_mode & 0o7777 == 0o600
    for name, text in old.items():
        assert (prefix / name).read_bytes() != text.encode()
    assert (prefix / "domains").stat().st_mode & 0o7777 == 0o755
    assert layout(prefix).keys() == LAYOUT.keys() | own.keys() | {"domains/example.com"}


def test_help() -> None:
    done = build("--help")
    assert (done.status, done.err) == (0, "")
    for word in (
        *("--prefix", "--qmail", "--uid", "--gid", "--sanitize", "--debug", "--help", "usage"),
        *("gcc", "libc6-dev", "libcrypt-dev", "libvpopmail.a", "vlimits.default"),
    ):
        assert word in done.out


def test_help_comes_before_complaints() -> None:
    assert build("--prefix", "relative", "--help").status == 0


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("", "--prefix DIR is missing; --help tells more"),
        ("--prefix /p", "--qmail DIR is missing; --help tells more"),
        ("--qmail /q", "--prefix DIR is missing; --help tells more"),
        ("--prefix", "--prefix needs a value; --help tells more"),
        ("--prefix /p --qmail", "--qmail needs a value; --help tells more"),
        ("--prefix /p --qmail /q --uid", "--uid needs a value; --help tells more"),
        ("--prefix /p --qmail /q --gid", "--gid needs a value; --help tells more"),
        ("--prefix /p --qmail /q --sanitize", "--sanitize needs a value; --help tells more"),
        ("--prefix /p --qmail /q --frob", "unknown option --frob; --help tells which there are"),
        ("--prefix /p --qmail /q more", "unknown option more; --help tells which there are"),
        ("--prefix p --qmail /q", "--prefix p: must be an absolute path"),
        ("--prefix /p --qmail q", "--qmail q: must be an absolute path"),
        ("--prefix /p|x --qmail /q", "--prefix /p|x: only letters"),
        ('--prefix /p --qmail /q"x', '--qmail /q"x: only letters'),
        ("--prefix /p --qmail /q --uid me", "--uid and --gid take numbers, not 'me'"),
        ("--prefix /p --qmail /q --gid -1", "--uid and --gid take numbers, not '-1'"),
        ("--prefix /p --qmail /q --sanitize all", "--sanitize takes address,undefined or thread"),
    ],
)
def test_a_complaint_about_arguments(arguments: str, complaint: str) -> None:
    done = build(*arguments.split())
    assert (done.status, done.out) == (1, "")
    assert done.err.startswith(f"build_libvpopmail.sh: {complaint}")
    assert done.err.count("\n") == 1


NEEDED = ["sh", "cat", "dirname", "id", "mktemp", "rm", "mkdir", "cp", "sed", "getconf", "xargs"]


@pytest.fixture
def bare_path(tmp_path: Path) -> Path:
    """A directory for PATH with what a system has that has no compiler."""
    made = tmp_path / "bin"
    made.mkdir()
    for name in NEEDED:
        (made / name).symlink_to(str(shutil.which(name)))
    return made


def install_nothing(tmp_path: Path, name: str, value: str | Path) -> str:
    """Run the script in an environment where it is to fail, and return its complaint."""
    place = "--prefix", tmp_path / "p", "--qmail", tmp_path / "q"
    done = build(*place, environ=environment(**{name: str(value)}))
    assert (done.status, done.out) == (1, "")
    assert done.err.count("\n") == 1
    assert not (tmp_path / "p").exists()
    return done.err.removeprefix("build_libvpopmail.sh: ")


def test_no_compiler(tmp_path: Path, bare_path: Path) -> None:
    complaint = install_nothing(tmp_path, "PATH", bare_path)
    assert complaint.startswith("there is no C compiler 'gcc'. Install the Debian package gcc ")
    assert "apt-get install gcc" in complaint


def test_another_compiler_that_is_not_there(tmp_path: Path) -> None:
    assert "there is no C compiler 'no-such-cc -m64'" in install_nothing(
        tmp_path, "CC", "no-such-cc -m64"
    )


def test_no_ar(tmp_path: Path, bare_path: Path) -> None:
    (bare_path / "gcc").symlink_to(str(shutil.which("gcc")))
    complaint = install_nothing(tmp_path, "PATH", bare_path)
    assert complaint.startswith("there is no 'ar'. Install the Debian package binutils ")


@pytest.mark.parametrize(
    ("header", "package"), [("stdio.h", "libc6-dev"), ("crypt.h", "libcrypt-dev")]
)
def test_no_header(tmp_path: Path, header: str, package: str) -> None:
    compiler = tmp_path / "cc"
    compiler.write_text(f'#!/bin/sh\n! grep -q "{header}"\n')
    compiler.chmod(0o755)
    complaint = install_nothing(tmp_path, "CC", compiler)
    assert complaint.startswith(f"the compiler finds no {header}. Install the Debian package ")
    assert f"apt-get install {package}" in complaint


# --- vadddomain ----------------------------------------------------------------------------------


@pytest.mark.parametrize("tool", TOOLS)
def test_version(tools: Home, tool: str) -> None:
    assert run(tools, tool, "-v") == (0, "version: 5.6.13\n", "")
    assert run(tools, tool, "-v", "example.com", "other.com").out == "version: 5.6.13\n"
    assert domains(tools) == {}


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("arguments", [[], ["-h"]])
def test_usage(tools: Home, tool: str, arguments: list[str]) -> None:
    done = run(tools, tool, *arguments)
    assert done.status == (255 if tool == "vaddaliasdomain" else 0)
    assert done.out.startswith(f"{tool}: usage: ")
    options = {"vadddomain": "vqbeudigOr", "vdeldomain": "vf", "vaddaliasdomain": "v"}
    for option in options[tool]:
        assert f"-{option}" in done.out


def test_a_domain_and_its_postmaster(tools: Home) -> None:
    assert run(tools, "vadddomain", "Example.com", "pmpass12") == (0, "", "")
    assert domains(tools) == {"example.com": "example.com"}
    directory = tools.path / "domains/example.com"
    name, hashed, kind, flags, gecos, place, quota = account(tools)
    assert hashes.FORM.fullmatch(hashed.encode())
    assert (name, kind, flags, gecos) == ("postmaster", "1", "0", "Postmaster")
    assert (place, quota) == (f"{directory}/postmaster", "NOQUOTA")
    assert v.vpopmail_auth_user("postmaster", "example.com", "pmpass12")
    default = (directory / ".qmail-default").read_text()
    assert default == f"| {tools.path}/bin/vdelivermail '' delete\n"
    assert (directory.stat().st_uid, directory.stat().st_gid) == (tools.uid, tools.gid)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["example.com", "pw"], -13),
        (["bad_name.com", "pw"], -12),
        (["d" * 93 + ".com", "pw"], -26),
        (["-d", "/no/such", "new.com", "pw"], -6),
    ],
)
def test_a_domain_that_cannot_be_added(tools: Home, arguments: list[str], code: int) -> None:
    run(tools, "vadddomain", "example.com", "pmpass12")
    text = {-13: "Domain already exists", -12: "Invalid domain name"}.get(code, "")
    done = run(tools, "vadddomain", *arguments)
    assert (done.code, done.err) == (code, "")
    assert done.out.startswith(f"Error: {text}")
    assert domains(tools) == {"example.com": "example.com"}


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["new.com", "short"], -70, "(vadduser) password requires more characters"),
        (["new.com", ""], -70, "(vadduser) password requires more characters"),
        (["-q", "-5", "new.com", "longenough"], -29, "(vsetuserquota) quota too long (max=20)"),
        (["-e", "a:b", "new.com", "longenough"], -20, "bad character"),
    ],
)
@pytest.mark.parametrize("there", [False, True])
def test_what_is_refused_of_the_postmaster_leaves_no_domain(
    tools: Home, arguments: list[str], code: int, words: str, there: bool
) -> None:
    (tools.path / "etc/password_strength.conf").write_text("Length >= 8\n")
    if there:
        (tools.path / "domains/new.com").mkdir(parents=True)
        (tools.path / "domains/new.com/mail").write_text("kept")
    done = run(tools, "vadddomain", *arguments)
    assert (done.code, done.err) == (code, "")
    assert done.out.startswith("Error: ")
    assert words in done.out
    assert domains(tools) == {}
    left = [path for path in (tools.path / "domains").rglob("*") if path.suffix != ".lock"]
    assert [path.name for path in left] == (["new.com", "mail"] if there else [])
    assert not (tools.qmail / "control/rcpthosts").exists()


def test_a_postmaster_who_is_there_already_keeps_his_directory(tools: Home) -> None:
    assert run(tools, "vadddomain", "example.com", "pmpass12") == (0, "", "")
    kept = tools.path / "domains/example.com"
    (tools.path / "kept").mkdir()
    kept.rename(tools.path / "kept/example.com")
    assert run(tools, "vdeldomain", "example.com").code in (0, -3, -5)
    (tools.path / "kept/example.com").rename(kept)
    before = {path: path.is_file() and path.read_bytes() for path in kept.rglob("*")}
    done = run(tools, "vadddomain", "example.com", "otherpass")
    assert (done.code, done.out, done.err) == (-2, "Error: (vadduser) Username exists\n", "")
    assert {path: path.is_file() and path.read_bytes() for path in kept.rglob("*")} == before
    assert domains(tools) == {}


@pytest.mark.parametrize(
    ("quota", "stored"), [("5M", "5242880S"), ("10C", "10C"), ("NOQUOTA",) * 2]
)
def test_q_is_the_postmaster_s_quota(tools: Home, quota: str, stored: str) -> None:
    assert run(tools, "vadddomain", "-q", quota, "example.com", "pw") == (0, "", "")
    assert account(tools)[6] == stored


@pytest.mark.parametrize(
    ("arguments", "recipient"),
    [
        ([], "delete"),
        (["-b"], "delete"),
        (["-e", "catch@elsewhere.com"], "catch@elsewhere.com"),
        (["-e", "postmaster@example.com"], "postmaster@example.com"),
        (["-e", "postmaster"], "{domain}/postmaster"),
        (["-b", "-e", "catch@elsewhere.com"], "catch@elsewhere.com"),
    ],
)
def test_e_is_where_other_mail_goes(tools: Home, arguments: list[str], recipient: str) -> None:
    assert run(tools, "vadddomain", *arguments, "example.com", "pw") == (0, "", "")
    directory = tools.path / "domains/example.com"
    default = directory / ".qmail-default"
    recipient = recipient.format(domain=directory)
    assert default.read_text() == f"| {tools.path}/bin/vdelivermail '' {recipient}\n"
    assert default.stat().st_mode & 0o7777 == 0o600


def test_d_is_the_directory(tools: Home, tmp_path: Path) -> None:
    (tmp_path / "mail").mkdir()
    done = run(tools, "vadddomain", "-d", f"{tmp_path}/mail", "example.com", "pw")
    assert done == (0, "", "")
    assert (tmp_path / "mail/domains/example.com/postmaster/Maildir/new").is_dir()
    assert v.vpopmail_auth_user("postmaster", "example.com", "pw")


def test_i_and_g_are_the_owner(tools: Home, tmp_path: Path) -> None:
    try:
        os.chown(tmp_path, 7, 8)
    except OSError:
        pytest.skip("only root can give a domain away")
    assert run(tools, "vadddomain", "-i", "7", "-g", "8", "example.com", "pw") == (0, "", "")
    line = (tools.qmail / "users/assign").read_text().splitlines()[0]
    assert line.startswith("+example.com-:example.com:7:8:")
    for path in (".", "vpasswd", "postmaster/Maildir"):
        status = (tools.path / "domains/example.com" / path).stat()
        assert (status.st_uid, status.st_gid) == (7, 8)


def test_u_is_a_user_of_the_system(tools: Home, tmp_path: Path) -> None:
    user = pwd.getpwuid(os.geteuid())
    (tmp_path / "mail").mkdir()
    arguments = "-u", user.pw_name, "-d", f"{tmp_path}/mail", "example.com", "pw"
    assert run(tools, "vadddomain", *arguments) == (0, "", "")
    line = (tools.qmail / "users/assign").read_text().splitlines()[0]
    place = f"{tmp_path}/mail/domains/example.com"
    assert line == f"+example.com-:example.com:{user.pw_uid}:{user.pw_gid}:{place}:-::"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-u", "no-such-user"], "user no-such-user not found in /etc/passwd"),
        (["-i", "root"], "-i takes a number, not root"),
        (["-g", "-1"], "-g takes a number, not -1"),
        (["-i", "4294967296"], "-i takes a number, not 4294967296"),
        (["-r0"], "-r takes a length from 1 to 128, not 0"),
        (["-r129"], "-r takes a length from 1 to 128, not 129"),
        (["-rx"], "-r takes a length from 1 to 128, not x"),
    ],
)
def test_a_value_that_makes_no_sense(tools: Home, arguments: list[str], words: str) -> None:
    done = run(tools, "vadddomain", *arguments, "example.com", "pw")
    assert done.code < 0
    assert done.out == f"Error: {words}\n"
    assert domains(tools) == {}


@pytest.mark.parametrize("option", ["-q", "-e", "-u", "-d", "-i", "-g"])
def test_an_option_without_its_value(tools: Home, option: str) -> None:
    done = run(tools, "vadddomain", option)
    assert "requires an argument" in done.err
    assert done.out.startswith("vadddomain: usage: ")
    assert domains(tools) == {}


@pytest.mark.parametrize("option", ["-O", "-a"])
def test_an_option_that_changes_nothing(tools: Home, option: str) -> None:
    done = run(tools, "vadddomain", option, "example.com", "pw")
    assert done.status == 0
    # 5.6.13 knows no -a (which the PHP extension gives it): it complains and goes on.
    assert ("invalid option" in done.err) == (option == "-a")
    assert v.vpopmail_auth_user("postmaster", "example.com", "pw")


@pytest.mark.parametrize(("option", "length"), [("-r", 12), ("-r20", 20), ("-r128", 128)])
def test_r_is_a_random_password(tools: Home, option: str, length: int) -> None:
    said = []
    for name in ("one.com", "two.com"):
        done = run(tools, "vadddomain", option, name)
        assert (done.status, done.err) == (0, "")
        told = re.fullmatch(r"Random password: ([A-Za-z0-9.!]+)\n", done.out)
        assert told is not None
        assert len(told[1]) == length
        assert v.vpopmail_auth_user("postmaster", name, told[1])
        said.append(told[1])
    assert said[0] != said[1]


@pytest.mark.parametrize("stdin", ["pm pass\npm pass\n", "pm pass\npm pass"])
def test_the_password_is_asked_for(tools: Home, stdin: str) -> None:
    done = run(tools, "vadddomain", "example.com", stdin=stdin)
    prompts = "Please enter password for postmaster: enter password again: "
    assert done == (0, prompts, "")
    assert v.vpopmail_auth_user("postmaster", "example.com", "pm pass")


@pytest.mark.parametrize(
    "stdin", ["", "one\n", "one\nother\n", "p" * 200 + "\n" + "p" * 200 + "\n"]
)
def test_no_password_is_given(tools: Home, stdin: str) -> None:
    done = run(tools, "vadddomain", "example.com", stdin=stdin)
    assert done.code < 0
    assert "Error: " in done.out
    assert domains(tools) == {}


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    ends = pty.openpty()
    yield ends
    for end in ends:
        os.close(end)


def test_a_terminal_shows_no_password(tools: Home, terminal: tuple[int, int]) -> None:
    ours, its = terminal
    process = subprocess.Popen(
        [tools.path / "bin/vadddomain", "example.com"],
        stdin=its,
        stdout=its,
        stderr=its,
        env=environment(VPOPMAIL_HOME=str(tools.path), QMAIL_HOME=str(tools.qmail)),
    )
    shown = b""
    for prompt in (b"for postmaster: ", b"again: "):
        while not shown.endswith(prompt):
            shown += os.read(ours, 1000)
        os.write(ours, b"hidden password\n")
    assert process.wait(timeout=20) == 0
    shown += os.read(ours, 1000)
    assert b"hidden" not in shown
    assert v.vpopmail_auth_user("postmaster", "example.com", "hidden password")


def test_what_follows_two_dashes_is_no_option(tools: Home) -> None:
    done = run(tools, "vadddomain", "--", "-b.com", "pw")
    assert done.code == -12
    assert run(tools, "vadddomain", "--", "example.com", "-b").status == 0
    assert v.vpopmail_auth_user("postmaster", "example.com", "-b")


def test_the_directories_of_the_build_are_the_default(prefix: Path, home: Home) -> None:
    left_out = {"VPOPMAIL_HOME", "QMAIL_HOME"}
    bare = {name: value for name, value in environment().items() if name not in left_out}
    for directory in ("users", "control"):
        (prefix.parent / "qmail" / directory).mkdir(parents=True)
    for tool, arguments in (("vadddomain", ["example.com", "pw"]), ("vdeldomain", ["example.com"])):
        done = subprocess.run([prefix / "bin" / tool, *arguments], env=bare, check=True)
        assert done.returncode == 0
        assert (prefix / "domains/example.com").exists() == (tool == "vadddomain")
    assert domains(home) == {}
    shutil.rmtree(prefix.parent / "qmail")
    (prefix / "domains/.dir-control").unlink()


# --- vdeldomain ----------------------------------------------------------------------------------


@pytest.fixture
def example(tools: Home) -> Home:
    """A domain of two alias domains, and one of none."""
    for name in ("example.com", "other.com"):
        assert v.vpopmail_add_domain(name, str(tools.path), tools.uid, tools.gid)
    for name in ("al1.example", "al2.example"):
        assert v.vpopmail_add_alias_domain("example.com", name)
    return tools


ALL = {
    **dict.fromkeys(["al1.example", "al2.example", "example.com"], "example.com"),
    "other.com": "other.com",
}


def test_delete_a_domain(example: Home) -> None:
    assert run(example, "vdeldomain", "Other.com") == (0, "", "")
    assert domains(example) == {name: real for name, real in ALL.items() if name != "other.com"}
    assert not (example.path / "domains/other.com").exists()


def test_delete_an_alias_domain(example: Home) -> None:
    assert run(example, "vdeldomain", "al1.example") == (0, "", "")
    assert domains(example) == {name: real for name, real in ALL.items() if name != "al1.example"}
    assert (example.path / "domains/example.com").is_dir()


def test_a_domain_with_alias_domains_stays(example: Home) -> None:
    done = run(example, "vdeldomain", "EXAMPLE.com")
    assert (done.status, done.err) == (0, "")
    warning, *names, advice = done.out.splitlines()
    assert warning == "Warning: Alias domains exist:"
    assert [name.strip() for name in names] == ["al1.example", "al2.example"]
    assert "-f" in advice
    assert domains(example) == ALL
    assert (example.path / "domains/example.com").is_dir()


def test_f_deletes_it_with_them(example: Home) -> None:
    done = run(example, "vdeldomain", "-f", "example.com")
    assert (done.status, done.err) == (0, "")
    assert "al1.example" in done.out
    assert "al2.example" in done.out
    assert domains(example) == {"other.com": "other.com"}
    assert not (example.path / "domains/example.com").exists()
    assert run(example, "vdeldomain", "-f", "other.com") == (0, "", "")


def test_delete_what_is_not_there(example: Home) -> None:
    for arguments in (["none.com"], ["-f", "none.com"], ["--", "-f"], ["e" * 97], ["e" * 500]):
        done = run(example, "vdeldomain", *arguments)
        assert (done.code, done.out, done.err) == (-11, "Error: Domain does not exist\n", "")
    assert domains(example) == ALL


def test_delete_without_assign(tools: Home) -> None:
    for arguments in (["example.com"], ["-f", "example.com"]):
        done = run(tools, "vdeldomain", *arguments)
        words = "Error: Can't get domain entries - can't read users/assign file\n"
        assert (done.code, done.out, done.err) == (-37, words, "")


# --- vaddaliasdomain -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [["other.com", "new.net"], ["new.net", "other.com"], ["OTHER.com", "New.Net"]],
)
def test_an_alias_domain_in_either_order(example: Home, arguments: list[str]) -> None:
    assert run(example, "vaddaliasdomain", *arguments) == (0, "", "")
    assert domains(example) == ALL | {"new.net": "other.com"}


def test_an_alias_domain_of_an_alias_domain(example: Home) -> None:
    assert run(example, "vaddaliasdomain", "al1.example", "new.net") == (0, "", "")
    assert domains(example) == ALL | {"new.net": "example.com"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["example.com", "other.com"], "Error: Both 'example.com' and 'other.com' exist"),
        (["al1.example", "other.com"], "Error: Both 'al1.example' and 'other.com' exist"),
        (["no.com", "none.com"], "Error: Neither 'no.com' or 'none.com'"),
        (["other.com", "other.com"], "Error: real domain and alias domain are the same!"),
        (["other.com", "Other.COM"], "Error: real domain and alias domain are the same!"),
        (["none.com", "none.com"], "Error: real domain and alias domain are the same!"),
        (["other.com"], "vaddaliasdomain: usage: "),
        (["other.com", "new.net", "more.net"], "vaddaliasdomain: usage: "),
    ],
)
def test_no_alias_domain(example: Home, arguments: list[str], words: str) -> None:
    done = run(example, "vaddaliasdomain", *arguments)
    assert (done.status, done.err) == (255, "")
    assert done.out.startswith(words)
    assert domains(example) == ALL


@pytest.mark.parametrize(
    ("name", "code", "text"),
    [
        ("a_b.net", -12, "Invalid domain name"),
        ("d" * 97, -26, "domain name too long (max=96)"),
    ],
)
def test_a_name_that_is_refused(example: Home, name: str, code: int, text: str) -> None:
    for arguments in ([name, "other.com"], ["other.com", name]):
        done = run(example, "vaddaliasdomain", *arguments)
        assert (done.code, done.out, done.err) == (code, f"Error: {text}\n", "")
    assert domains(example) == ALL


# --- and the functions that run them -------------------------------------------------------------


def test_the_functions_run_them(example: Home) -> None:
    with pytest.warns(v.VpopmailWarning, match=r"^vpopmail_add_domain_ex error: 243$"):
        assert v.vpopmail_add_domain_ex("example.com", "pw") is False
    assert v.vpopmail_error() == "Unknown error"
    assert v.vpopmail_add_domain_ex("new.com", "a pass word", "5M", "a@b.com", True) is True
    assert v.vpopmail_auth_user("postmaster", "new.com", "a pass word")
    assert v.vpopmail_del_domain_ex("example.com") is True
    assert v.vpopmail_add_alias_domain_ex("al.net", "new.com") is True
    with pytest.warns(v.VpopmailWarning, match=r"^vpopmail_addaliasdomain error: 255$"):
        assert v.vpopmail_add_alias_domain_ex("al.net", "new.com") is False
    assert v.vpopmail_del_domain_ex("other.com") is True
    assert domains(example) == {
        **{name: real for name, real in ALL.items() if real != "other.com"},
        **{"new.com": "new.com", "al.net": "new.com"},
    }
