"""A library that misbehaves (library.c), linked as a real one: nothing of it reaches the process.

Each test is a script in a process of its own, on a package that is linked with that library.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from setuptools import Extension

from linking import extension, find
from tests import cdb, torture
from tests.installation import TOP, copy_project, lay_out, lay_out_old, lay_out_shared, module

START = """\
import os, sys, threading, time
import vpopmail_ext as v
import warnings
warnings.simplefilter("ignore")
OPEN = "text of -4"  # the answer to `count`: nothing to read, what is printed twice, a lock

def call(what, password="password"):
    '''Makes the library do that; returns the text of its code.'''
    v.vpopmail_passwd(what, "example.com", password)
    return v.vpopmail_error()
"""


@pytest.fixture(scope="module", params=[lay_out, lay_out_shared], ids=["archive", "shared"])
def place(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """Install the library below a directory, and beside it the package that is linked with it."""
    top = tmp_path_factory.mktemp("cage")
    home: Path = request.param(top / "vpopmail")
    copy = copy_project(top / "copy")
    environment = {**os.environ, "VPOPMAIL_HOME": str(home), "VPOPMAIL_EXT_LIBRARY": "real"}
    subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", "--inplace"],
        cwd=copy,
        env=environment,
        check=True,
    )
    return top


of_5_5 = pytest.mark.parametrize("place", [lay_out_shared], ids=["shared"], indirect=True)
of_5_4 = pytest.mark.parametrize("place", [lay_out_old], ids=["old"], indirect=True)

Run = Callable[..., str]


@pytest.fixture
def run(place: Path) -> Run:
    """Return what runs a script on the linked package and returns what it prints."""

    def run_script(script: str, *, status: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-c", START + textwrap.dedent(script)],
            env={
                **os.environ,
                "PYTHONPATH": str(place / "copy"),
                "HOME_DIR": str(place),
                "VPOPMAIL_HOME": "",
                "QMAIL_HOME": "",
            },
            cwd=place,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == status, done.stdout
        return done.stdout

    yield run_script
    for name in ("server", "needed"):
        (place / "vpopmail" / name).unlink(missing_ok=True)


def test_it_is_linked(run: Run, place: Path) -> None:
    out = run("print(v.info().library, v.info().auth_module, v.info().library_path)")
    path = find.installed(str(place / "vpopmail")).path
    assert out == f"real mysql {path}\n"
    assert Path(path).parent == place / "vpopmail/lib"


def test_the_binding_compiles_without_a_warning(place: Path) -> None:
    made = Extension("module", [])
    extension.describe(made, find.installed(str(place / "vpopmail")), [])
    flags = [flag.replace("-I", "-isystem") for flag in made.extra_compile_args]
    flags += ["-Wall", "-Wextra", "-Wconversion", "-Werror", "-iquotecsrc/libvpopmail"]
    for source in [*made.sources, "csrc/binding/needed.c", "csrc/binding/policy.c"]:
        subprocess.run(["gcc", *flags, "-c", source, "-o", "/dev/null"], check=True, cwd=TOP)


def test_another_home_is_refused_with_both(run: Run, place: Path) -> None:
    out = run(
        """
        v.configure(home=os.environ["HOME_DIR"] + "/vpopmail/")
        try:
            v.configure(home="/elsewhere")
        except ValueError as error:
            print(error)
        """
    )
    assert f"{place}/vpopmail and {place}/vpopmail/qmail compiled" in out
    assert "cannot use /elsewhere and" in out


def test_threads_configure_at_once(run: Run) -> None:
    run(
        """
        def configure():
            for _ in range(300):
                v.configure(home=os.environ["HOME_DIR"] + "/vpopmail")
        threads = [threading.Thread(target=configure) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert call("wander") == "text of 0"
        """
    )


def test_the_working_directory_and_umask_stay(run: Run) -> None:
    run(
        """
        os.umask(0o27)
        before = os.getcwd()
        assert call("wander") == "text of 0", v.vpopmail_error()
        assert call("wander") == "text of 0", "not where it was for the library"
        assert os.getcwd() == before
        assert os.umask(0) == 0o27
        """
    )


def test_words_are_logged_and_not_printed(run: Run) -> None:
    out = run(
        """
        import logging
        lines = []
        class Keep(logging.Handler):
            def emit(self, record):
                lines.append((record.name, record.levelname, record.getMessage()))
        logging.getLogger("vpopmail_ext").addHandler(Keep())
        logging.getLogger("vpopmail_ext").setLevel(logging.INFO)
        call("print")
        sys.stdout.write(repr(lines))
        """
    )
    said = [
        "perror: No such file or directory",
        *["printf 1", "puts", "fputs", "c", "fwrite", "fprintf", "syslog line", "write", "program"],
        "complaint",
    ]
    assert out == repr([("vpopmail_ext", "INFO", f"libvpopmail: {line}") for line in said])


def test_descriptors_are_the_processs_own(run: Run) -> None:
    run(
        """
        before = sorted(os.listdir("/proc/self/fd"))
        count = call("count")
        for _ in range(50):
            call("leak")
        assert call("count") == count == OPEN, call("count")
        assert sorted(os.listdir("/proc/self/fd")) == before
        """
    )


def test_the_cage_holds_no_copy_of_a_descriptor(run: Run) -> None:
    run(
        """
        r, w = os.pipe()
        call("count")
        os.close(w)
        assert os.read(r, 1) == b""
        """
    )


def test_exit_is_an_error_of_the_call(run: Run) -> None:
    run(
        """
        assert call("exit") == "text of -23", v.vpopmail_error()
        assert call("count") == OPEN
        """
    )


@of_5_5
@pytest.mark.usefixtures("domain")
def test_what_the_auth_module_does_is_caught(run: Run) -> None:
    out = run(
        """
        import logging
        logging.basicConfig(level=logging.INFO, stream=sys.stdout)
        print(v.vpopmail_alias_add("info", "example.com", "&a@b.example"), v.vpopmail_error())
        print(call("wander"))
        """
    )
    assert out == (
        "INFO:vpopmail_ext:libvpopmail: alias_insert info example.com &a@b.example\n"
        "False text of -23\ntext of 0\n"
    )


@of_5_5
def test_another_auth_module_than_that_it_was_built_for(run: Run, place: Path) -> None:
    link = place / "vpopmail/etc/vpopmail.authmodule"
    was = link.readlink()
    other = module(place / "vpopmail", "pgsql")
    link.unlink()
    link.symlink_to(other)
    script = """
        import logging
        logging.basicConfig(level=logging.INFO, stream=sys.stdout)
        print(v.vpopmail_add_domain("example.com", "/srv", 1, 1), v.vpopmail_error())
        """
    try:
        out = run(script)
    finally:
        link.unlink()
        link.symlink_to(was)
    assert out == (
        f"INFO:vpopmail_ext:libvpopmail: {link} is no longer mysql: build vpopmail_ext again\n"
        "False text of -23\n"
    )


def test_the_librarys_child_ends_as_itself(run: Run) -> None:
    out = run(
        """
        import atexit
        atexit.register(print, "at exit", os.getpid() == int(sys.argv[1]) if sys.argv[1:] else "")
        sys.stdout.write("once ")
        assert call("child") == "text of 0", v.vpopmail_error()
        """
    )
    assert out == "once at exit \n"


def test_arguments_may_be_written_over(run: Run) -> None:
    run(
        """
        domain, password = "example.com", "password"
        assert v.vpopmail_passwd("overwrite", domain, password)
        assert (domain, password) == ("example.com", "pass" + "word")
        """
    )


def test_no_process_but_qmail_send_is_signalled(run: Run) -> None:
    run('assert call("signal") == "text of 0"')


def test_the_processs_random_numbers_are_its_own(run: Run) -> None:
    run(
        """
        import ctypes
        libc = ctypes.CDLL(None)
        libc.srand(7)
        first = [libc.rand() for _ in range(4)]
        libc.srand(7)
        call("seed")
        assert [libc.rand() for _ in range(4)] == first
        """
    )


def test_others_see_nothing_while_it_is_called(run: Run) -> None:
    out = run(
        """
        looks, changes, done = 0, set(), False
        fd = os.open("/proc/self/status", os.O_RDONLY)
        def umask():
            text = os.pread(fd, 4096, 0)
            return text[text.index(b"Umask"):].split()[1]
        def look():
            return os.getcwd(), umask(), tuple(sorted(os.listdir("/proc/self/fd")))
        before = look()
        # Python opens what it imports with the first words, in this thread.
        call("wander"), call("leak"), call("print"), call("exit")
        assert look() == before
        def poll():
            global looks
            while not done:
                now = look()
                looks += 1
                if now != before:
                    changes.add(now)
        thread = threading.Thread(target=poll)
        thread.start()
        for _ in range(600):
            call("wander"), call("leak"), call("print"), call("exit")
        done = True
        thread.join()
        print(looks > 100, changes)
        """
    )
    assert out == "True set()\n"


def test_any_number_of_threads(run: Run) -> None:
    run(
        """
        wrong = []
        def work(base):
            for i in range(base, base + 300):
                if call("number", str(i)) != f"text of {-i}":
                    wrong.append(i)
        threads = [threading.Thread(target=work, args=(1000 * n,)) for n in range(1, 9)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        assert not wrong, wrong[:9]
        """
    )


def test_threads_come_and_go(run: Run) -> None:
    run(
        """
        for _ in range(200):
            thread = threading.Thread(target=call, args=("count",))
            thread.start()
            thread.join()
        # One that has been joined may be on its way out yet.
        end = time.monotonic() + 10
        while len(os.listdir("/proc/self/task")) > 2:
            assert time.monotonic() < end
        """
    )


def test_the_text_of_a_policy_code_is_the_threads(run: Run) -> None:
    run(
        """
        def add():
            v.vpopmail_add_user("unwanted", "example.com", "pw")
            assert v.vpopmail_error() == "text of -70"
        add()
        thread = threading.Thread(target=add)
        thread.start()
        thread.join()
        """
    )


def test_authentication(run: Run) -> None:
    run(
        """
        assert v.vpopmail_auth_user("joe", "example.com", "right") is True
        assert v.vpopmail_auth_user("joe", "example.com", "wrong") is False
        """
    )


def test_ctrl_c_is_seen_when_the_call_ends(run: Run) -> None:
    run(
        """
        import signal
        signal.signal(signal.SIGINT, signal.default_int_handler)  # else not in the background
        started = time.monotonic()
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            call("sleep")
            raise SystemExit("no interrupt")
        except KeyboardInterrupt:
            pass
        assert time.monotonic() - started >= 0.4
        assert call("count") == OPEN
        """
    )


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_forked_child_has_a_cage_of_its_own(run: Run, when: str) -> None:
    run(
        f"""
        if {when == "after"}:
            call("count")
        children = []
        for _ in range(4):
            child = os.fork()
            if not child:
                fine = call("count") == OPEN and call("wander") == call("wander")
                os._exit(0 if fine and call("number", "9") == "text of -9" else 1)
            children.append(child)
        assert call("count") == OPEN
        assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
        """
    )


def test_a_fork_while_others_call(run: Run) -> None:
    run(
        """
        done = False
        def work():
            while not done:
                call("number", "5")
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads: thread.start()
        for _ in range(20):
            child = os.fork()
            if not child:
                os._exit(0 if call("number", "9") == "text of -9" else 1)
            assert os.waitpid(child, 0)[1] == 0
        done = True
        for thread in threads: thread.join()
        """
    )


SERVER = """
import socket
path = os.environ["HOME_DIR"] + "/vpopmail/server"
log = []
def serve():
    '''Answers an A, and keeps what it is asked by each connection.'''
    while True:
        try:
            connection = listener.accept()[0]
        except OSError:
            return
        log.append([])
        threading.Thread(target=talk, args=(connection, log[-1]), daemon=True).start()
def talk(connection, said):
    connections.append(connection)
    while byte := connection.recv(1):
        said.append(byte)
        if byte == b"A":
            connection.sendall(b"a")
    said.append(b"")
def start():
    global listener, connections
    connections = []
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    threading.Thread(target=serve, daemon=True).start()
def stop():
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    os.unlink(path)
    for connection in connections:
        connection.shutdown(socket.SHUT_RDWR)
def wait(condition):
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, log
        time.sleep(0.01)
"""


def with_server(script: str) -> str:
    return SERVER + textwrap.dedent(script)


def test_a_connection_is_kept(run: Run) -> None:
    run(
        with_server(
            """
            start()
            assert [call("ask") for _ in range(5)] == ["text of 0"] * 5
            assert log == [[b"A"] * 5]
            """
        )
    )


def test_a_lost_connection_is_made_again(run: Run) -> None:
    run(
        with_server(
            """
            open(os.environ["HOME_DIR"] + "/vpopmail/needed", "w").close()
            assert call("ask") == "text of -23", v.vpopmail_error()
            start()
            assert call("ask") == "text of 0", v.vpopmail_error()
            stop()
            assert call("ask") == "text of -23", v.vpopmail_error()
            assert v.vpopmail_auth_user("joe", "example.com", "right") is False
            start()
            assert call("ask") == "text of 0"
            assert v.vpopmail_auth_user("joe", "example.com", "right") is True
            """
        )
    )


def test_a_forked_child_leaves_the_parents_connection_alone(run: Run) -> None:
    run(
        with_server(
            """
            start()
            call("ask")
            child = os.fork()
            if not child:
                os._exit(0 if call("ask") == call("ask") == "text of 0" else 1)
            assert os.waitpid(child, 0)[1] == 0
            assert call("ask") == "text of 0"
            wait(lambda: len(log) == 2 and log[1][-1] == b"")
            assert log == [[b"A", b"A"], [b"A", b"A", b""]], log
            """
        )
    )


def test_the_connection_is_closed_at_exit(run: Run, place: Path) -> None:
    out = run(
        with_server(
            """
            import subprocess
            start()
            script = "import vpopmail_ext as v; v.vpopmail_passwd('ask', 'example.com', 'p')"
            subprocess.run([sys.executable, "-c", script], check=True)
            wait(lambda: log and log[0][-1] == b"")
            print(log)
            """
        )
    )
    assert out == "[[b'A', b'Q', b'']]\n"


def test_a_subinterpreter_is_refused(run: Run) -> None:
    out = run(
        """
        try:
            import _interpreters as interpreters
        except ImportError:
            import _xxsubinterpreters as interpreters
        there = interpreters.create()
        script = (
            "try:\\n import vpopmail_ext\\nexcept ImportError as error:\\n"
            " import sys; sys.stderr.write(str(error))"
        )
        interpreters.run_string(there, script)
        """
    )
    assert "can't be imported in a subinterpreter" in out
    assert "WSGIApplicationGroup %{GLOBAL}" in out


def test_a_system_that_refuses_the_cage(run: Run) -> None:
    out = run(
        """
        import ctypes, platform, struct
        number = {"x86_64": 272, "aarch64": 97}[platform.machine()]
        # unshare() is EPERM from here on, as in a container with a strict seccomp profile.
        program = b"".join(
            struct.pack("HBBI", *one)
            for one in (
                (0x20, 0, 0, 0), (0x15, 0, 1, number), (6, 0, 0, 0x50001), (6, 0, 0, 0x7FFF0000)
            )
        )
        code = ctypes.create_string_buffer(program)
        filter = ctypes.create_string_buffer(struct.pack("HxxxxxxP", 4, ctypes.addressof(code)))
        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, filter) == 0
        for name in ("vpopmail_passwd", "vpopmail_auth_user"):
            try:
                getattr(v, name)("joe", "example.com", "password")
            except OSError as error:
                print(error)
        """
    )
    assert out.count("the system refuses unshare(CLONE_FS | CLONE_FILES)") == 2
    assert "VPOPMAIL_EXT_LIBRARY=bundled" in out


# --- many users -----------------------------------------------------------------------------------

ADD = """
import logging
from vpopmail_ext import api, errors
from vpopmail_ext.records import NewUser, Quota
logging.getLogger("vpopmail_ext").setLevel(logging.INFO)
logging.basicConfig(format="%(message)s", stream=sys.stdout)

def add(*users, **more):
    try:
        print(api.add_users("Example.com", users, **more))
    except errors.UsersRefused as error:
        for refused in error.refused:
            print(refused.row, refused.name, refused.error.code)
"""


@pytest.fixture
def domain(place: Path) -> Iterator[None]:
    """Have example.com in the installation's files; its accounts are the library's."""
    home = place / "vpopmail"
    directory = home / "domains/example.com"
    assign = f"+example.com-:example.com:{os.getuid()}:{os.getgid()}:{directory}:-::\n.\n".encode()
    directory.mkdir()
    (home / "qmail/users").mkdir()
    (home / "qmail/users/assign").write_bytes(assign)
    (home / "qmail/users/cdb").write_bytes(cdb.of("assign", assign))
    yield
    shutil.rmtree(directory)
    shutil.rmtree(home / "qmail/users")


@pytest.mark.usefixtures("domain")
@pytest.mark.parametrize(
    "change",
    [
        'call("alone")',
        '(v.vpopmail_add_domain("alone.example", "/", 0, 0), v.vpopmail_error())',
    ],
    ids=["users", "domains"],
)
def test_processes_change_one_after_the_other(run: Run, change: str) -> None:
    run(
        f"""
        call("exit")  # keeps nobody waiting
        children = []
        for _ in range(4):
            child = os.fork()
            if not child:
                os._exit(any("text of 0" not in str({change}) for _ in range(20)))
            children.append(child)
        assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
        """
    )


@pytest.mark.torture
@pytest.mark.parametrize("place", [lay_out], ids=["archive"], indirect=True)
@pytest.mark.skipif(torture.SANITIZED, reason="waits for 20 s: once is enough")
@pytest.mark.usefixtures("domain")
def test_a_process_that_does_not_let_go(run: Run) -> None:
    out = run(
        """
        import fcntl, logging
        logging.basicConfig(format="%(message)s", level=logging.INFO, stream=sys.stdout)
        path = os.environ["HOME_DIR"] + "/vpopmail/domains/example.com"
        fcntl.flock(os.open(path, os.O_RDONLY), fcntl.LOCK_EX)
        assert call("alone") == "text of -17", v.vpopmail_error()
        """
    )
    assert out.count("domains/example.com: another process holds its lock") == 1
    torture.tell("a change waited for 20 s")


@of_5_4
@pytest.mark.usefixtures("domain")
def test_a_line_that_the_library_does_not_read_whole(run: Run, place: Path) -> None:
    """FAULTS.md, row 11: before 5.6 a line of vpasswd has 254 bytes at most."""
    most = 254 - len(
        f"ann:{'h' * 34}:1:0:Ann:{place}/vpopmail/domains/example.com/0/0/0/ann:{'q' * 20}:"
    )
    out = run(
        f"""{ADD}
def tell(*arguments):
    v.vpopmail_add_user("ann", "example.com", *arguments)
    print(v.vpopmail_error())

tell("p" * {most + 1}, "Ann")
tell("p" * {most}, "Ann!")
tell("secret-1", "Ann")
"""
    )
    assert [line for line in out.splitlines() if line.startswith("text")] == [
        *["text of -27"] * 2,
        "text of 0",
    ]


@pytest.mark.usefixtures("domain")
def test_users_are_added_one_after_the_other(run: Run) -> None:
    out = run(
        f"""{ADD}
add(
    ("Ann", "secret-1"),
    NewUser("bob", "secret-2", "Bob B.", True, Quota(1000), api.UserFlags.NO_POP),
    NewUser("eve", password_hash="$1$x"),
)
"""
    )
    assert out.splitlines() == [
        "libvpopmail: vadduser ann ann 0 secret-1",
        "libvpopmail: vadduser bob Bob B. 1 secret-2",
        "libvpopmail: vsetuserquota bob 1000S",
        "libvpopmail: vauth_setpw bob <secret-2> 2 secret-2",
        # With a password that nobody knows, which goes again.
        "libvpopmail: vadduser eve eve 0 ?",
        "libvpopmail: vauth_setpw eve $1$x 0 ",
        "3",
    ]


@pytest.mark.usefixtures("domain")
@pytest.mark.parametrize(
    ("user", "code"), [('("unwanted", "p")', -70), ('NewUser("bob", "p", quota=Quota(13))', -29)]
)
def test_those_added_go_again_where_one_is_refused(run: Run, user: str, code: int) -> None:
    out = run(f"{ADD}\nadd(('ann', 'p'), {user}, ('carol', 'p'))")
    lines = [line.removeprefix("libvpopmail: ") for line in out.splitlines()]
    deleted = ["vdeluser bob"] if code == -29 else []
    assert lines[-len(deleted) - 3 :] == [
        *deleted,
        "vdeluser ann",
        "vwrite_dir_control 0 first",
        f"2 {'bob' if deleted else 'unwanted'} {code}",
    ]
    assert not [line for line in lines if "carol" in line]


@pytest.mark.usefixtures("domain")
def test_all_that_can_be_known_before_is_told_before(run: Run) -> None:
    users = "('ann', 'p'), ('x', 'p'), ('bob', 'p'), ('BOB', 'p'), ('eve', 'p', 'g' * 65)"
    out = run(f"{ADD}\nadd(('ann', 'p'))\nadd({users})")
    assert out.splitlines()[1:] == ["1", "1 ann -2", "2 x -1", "4 bob -2", "5 eve -28"]


@pytest.mark.usefixtures("domain")
def test_a_child_takes_nothing_back(run: Run) -> None:
    out = run(
        f"""{ADD}
from vpopmail_ext import bulk
with bulk.Addition("example.com", [("ann", "p")], None) as addition:
    addition.make(lambda done, count: None)
    child = os.fork()
    if not child:
        addition.close()
        os._exit(0)
    os.waitpid(child, 0)
    addition.commit()
"""
    )
    assert out == "libvpopmail: vadduser ann ann 0 p\n"


# --- what is looked at before the call ------------------------------------------------------------

LOOK = """
import logging
logging.getLogger("vpopmail_ext").setLevel(logging.INFO)
logging.basicConfig(format="%(message)s", stream=sys.stdout)

def add():
    v.vpopmail_add_user("ann", "example.com", "secret-1")
    print(v.vpopmail_error())
"""
DAMAGED = b"../../..\n" * 8


def home_of(place: Path) -> tuple[Path, Path]:
    """The domain's directory, and qmail's."""
    return place / "vpopmail/domains/example.com", place / "vpopmail/qmail"


@pytest.mark.usefixtures("domain")
@pytest.mark.parametrize(
    "name", [".dir-control", ".dir_control_free", ".vpasswd.lock", ".qmailadmin-limits"]
)
def test_a_file_of_the_domain_that_is_a_link(
    run: Run, place: Path, tmp_path: Path, name: str
) -> None:
    outside = tmp_path / "outside"
    outside.write_text("others'\n")
    (home_of(place)[0] / name).symlink_to(outside)
    assert run(f"{LOOK}add()") == "text of -1\n"
    assert outside.read_text() == "others'\n"


@pytest.mark.usefixtures("domain")
def test_a_damaged_count_leads_nobody_out_of_the_domain(run: Run, place: Path) -> None:
    control = home_of(place)[0] / ".dir-control"
    control.write_bytes(DAMAGED)
    assert run(f"{LOOK}add()") == "libvpopmail: vadduser ann  0 secret-1\ntext of 0\n"
    assert control.read_text().splitlines()[1:] == [
        *["0", "3", "0 0 0", "61 61 61", "0 2 4", "0 0 0", ""]
    ]


@pytest.mark.usefixtures("domain")
def test_a_malformed_line_of_assign(run: Run, place: Path) -> None:
    assign = home_of(place)[1] / "users/assign"
    assign.write_bytes(b"=rubbish\n" + assign.read_bytes())
    script = """
        for name in ("new.example", "example.com"):
            v.vpopmail_add_domain(name, os.environ["HOME_DIR"], os.getuid(), os.getgid())
            print(v.vpopmail_error())
        v.vpopmail_add_alias_domain("example.com", "al.example")
        print(v.vpopmail_error())
        v.vpopmail_del_domain("example.com")
        print(v.vpopmail_error())
        """
    said = f"libvpopmail: {assign}: line 1 is malformed; correct or delete it"
    assert run(f"{LOOK}{textwrap.dedent(script)}").splitlines() == [
        *[said, "text of -17", "text of -13", said, "text of -17", said, "text of -17"]
    ]


@of_5_4
@pytest.mark.usefixtures("domain")
@pytest.mark.parametrize("last", [b"ann:x:1:0:g:/d\n", b"\0" * (2 << 20)], ids=["short", "hole"])
def test_a_malformed_line_of_a_large_vpasswd(run: Run, place: Path, last: bytes) -> None:
    """It has more users than fit in what is read of a file at once."""
    vpasswd = home_of(place)[0] / "vpasswd"
    lines = [f"user{n}:x:1:0:{'g' * 200}:/d:NOQUOTA\n".encode() for n in range(80_000)]
    vpasswd.write_bytes(b"".join(lines))
    assert vpasswd.stat().st_size > 17 << 20
    assert run(f"{LOOK}add()") == "libvpopmail: vadduser ann  0 secret-1\ntext of 0\n"
    with vpasswd.open("ab") as file:
        file.write(last)
    assert run(f"{LOOK}add()") == (
        f"libvpopmail: {vpasswd}: line 80001 is malformed, or longer than the 254 bytes that "
        "libvpopmail reads; correct or delete it\ntext of -17\n"
    )


@pytest.mark.usefixtures("domain")
def test_a_control_file_that_is_a_directory(run: Run, place: Path) -> None:
    control = home_of(place)[1] / "control/virtualdomains"
    control.mkdir(parents=True)
    out = run('v.vpopmail_del_domain("example.com")\nprint(v.vpopmail_error())')
    control.rmdir()
    assert out == "text of -17\n"


@pytest.mark.usefixtures("domain")
@pytest.mark.parametrize("below", ["", "/sub"])
def test_a_domain_over_what_holds_links(run: Run, place: Path, below: str) -> None:
    there = place / "vpopmail/domains/new.example"
    (place / f"vpopmail/domains/new.example{below}").mkdir(parents=True)
    (place / f"vpopmail/domains/new.example{below}/link").symlink_to("/etc/passwd")
    script = 'v.vpopmail_add_domain("new.example", f"{os.environ[\'HOME_DIR\']}/vpopmail", 1, 1)'
    out = run(f"{script}\nprint(v.vpopmail_error())")
    shutil.rmtree(there)
    assert out == "text of -1\n"
