"""Strikes a process at one of its system calls: it dies there, or the call fails.

The kernel (seccomp) stops the process before each call that has to do with files and asks us what
is to become of it, so nothing that the process does can pass by unseen. What the files were at each
of these moments, and what was synced by then, is what a power cut is made of (power.py).
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import select
import signal
import socket
import struct
import subprocess
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import NamedTuple

import pytest

CHANGING = (
    "open",
    "openat",
    "openat2",
    "creat",
    "mkdir",
    "mkdirat",
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
    "rmdir",
    "link",
    "linkat",
    "symlink",
    "symlinkat",
    "write",
    "pwrite64",
    "writev",
    "ftruncate",
    "truncate",
    "fchmod",
    "fchmodat",
    "chmod",
    "fchown",
    "fchownat",
    "chown",
    "lchown",
    "fsync",
    "fdatasync",
    "syncfs",
    "utimensat",
    "fallocate",
    "copy_file_range",
    "sendfile",
)
"""What changes files, or waits until they are on the disk; of the opens those that make a file."""
OTHERS = (
    "read",
    "pread64",
    "newfstatat",
    "fstat",
    "statx",
    "lstat",
    "stat",
    "getdents64",
    "fcntl",
    "flock",
    "readlinkat",
    "readlink",
    "faccessat",
    "faccessat2",
    "sync_file_range",
    "lseek",
    "ioctl",
    "getrandom",
    "inotify_init1",
    "inotify_add_watch",
    # A sanitizer dies where it gets no memory, or can't tell a new thread's stack.
    *(
        ()
        if "VPOPMAIL_TEST_SANITIZED" in os.environ
        else ("mmap", "brk", "clone", "clone3", "sched_getaffinity")
    ),
)
"""What else can fail. Of close() nobody asks that: it has closed all the same."""

_libc = ctypes.CDLL(None, use_errno=True)
_ALLOW, _ASK = 0x7FFF0000, 0x7FC00000
_RECEIVE, _SEND, _SET_FLAGS = 0xC0502100, 0xC0182101, 0x40082104
_MAKING = os.O_CREAT | os.O_TRUNC


class Call(NamedTuple):
    """A system call that a process is about to make."""

    name: str
    pid: int
    arguments: tuple[int, ...]

    @property
    def changes(self) -> bool:
        """Whether it changes a file."""
        if self.name in ("open", "openat"):
            return bool(self._flags & _MAKING)
        return self.name in CHANGING

    @property
    def makes(self) -> bool:
        """Whether it opens a file that it may make, but not empty."""
        return self.name in ("open", "openat") and not self._flags & os.O_TRUNC

    @property
    def opens(self) -> bool:
        """Whether it opens a file or directory."""
        return self.name in ("open", "openat", "openat2")

    @property
    def _flags(self) -> int:
        return self.arguments[1 if self.name == "open" else 2]

    def file(self) -> os.stat_result | None:
        """Tell the file that its first argument is a descriptor of."""
        try:
            return os.stat(f"/proc/{self.pid}/fd/{self.arguments[0]}")
        except OSError:
            return None

    def paths(self) -> list[str]:
        """Tell the names it is given, from the root on where they are below a directory."""
        if self.name in ("renameat", "renameat2", "linkat"):
            pairs = [(0, 1), (2, 3)]
        elif self.name.endswith("at") and self.name != "symlinkat":
            pairs = [(0, 1)]
        else:
            return []
        return [self._path(*(self.arguments[at] for at in pair)) for pair in pairs]

    def _path(self, directory: int, name: int) -> str:
        with open(f"/proc/{self.pid}/mem", "rb", 0) as memory:
            text = os.fsdecode(os.pread(memory.fileno(), 4096, name).partition(b"\0")[0])
        at = "" if text.startswith("/") else os.readlink(f"/proc/{self.pid}/fd/{directory}")
        return os.path.normpath(os.path.join(at, text))


KILL = -1
"""What a judge answers to have the process die before the call."""
Judge = Callable[[Call], int]
"""Answers 0 to let a call be made, an errno to have it fail, or KILL."""


class Outcome(NamedTuple):
    """How a struck process ended."""

    code: int | None
    """What the function returned; None where the process died."""
    left: bool
    """Whether it left descriptors open, and with them perhaps locks."""


@cache
def numbers() -> dict[int, str]:
    """Return the numbers that this machine's kernel has for the calls."""
    source = "#include <sys/syscall.h>\n" + "".join(
        f"wanted {name} SYS_{name}\n" for name in (*CHANGING, *OTHERS, "seccomp")
    )
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    told = subprocess.run(
        ["gcc", "-E", "-P", "-"],
        input=source,
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    found = {}
    for line in told.stdout.splitlines():
        word, name, number = line.split()
        if word == "wanted" and number.isdigit():
            found[int(number)] = name
    return found


@cache
def _why_not() -> str:
    try:
        outcome = run(lambda: 0, lambda call: 0)
    except OSError as error:
        return f"seccomp tells nothing here: {error}"
    return "" if outcome == Outcome(0, False) else f"seccomp does not work here: {outcome}"


def skip_where_impossible() -> None:
    """Skip the test that calls this where nothing can be struck (.ci/run fails of it as root)."""
    if reason := _why_not():
        pytest.skip(reason)


def run(call: Callable[[], int], judge: Judge) -> Outcome:
    """Run a function, which returns 0 or a negative code above -128, in a process to be struck."""
    ours, theirs = socket.socketpair()
    known = numbers()
    with ours, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of fork() beside threads
        child = os.fork()
        if child == 0:
            _be_struck(call, theirs, ours)
        theirs.close()
        listener, poll = _listener(ours), select.poll()
        poll.register(listener, select.POLLIN)
        try:
            while _is_asked(poll):
                if _answer(listener, known, judge) is END:
                    judge = _pass
        finally:
            os.close(listener)
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status == -signal.SIGKILL:
        return Outcome(None, False)
    assert status >= 0, f"it died of signal {-status}"
    return Outcome(-(status & 0x7F), bool(status & 0x80))


def _listener(ours: socket.socket) -> int:
    message, descriptors, *_ = socket.recv_fds(ours, 64, 1)
    if not descriptors:
        raise OSError(int(message or b"0"), os.strerror(int(message or b"0")))
    with suppress(OSError):  # from Linux 6.6 on: each is woken on the core where the other waits
        fcntl.ioctl(descriptors[0], _SET_FLAGS, 1)
    return descriptors[0]


def _is_asked(poll: select.poll) -> bool:
    return any(event & select.POLLIN for _, event in poll.poll())


END = object()
"""Of what is to be struck: it is done, or it has been killed."""


def _pass(call: Call) -> int:
    return 0


def _answer(listener: int, known: dict[int, str], judge: Judge) -> object:
    block = bytearray(80)
    try:
        fcntl.ioctl(listener, _RECEIVE, block)
    except FileNotFoundError:  # it was killed meanwhile
        return None
    number, pid, _, which, _, _, *arguments = struct.unpack("QIIiIQ6Q", block)
    mark = known[which] == "ftruncate" and arguments[0] & 0xFFFFFFFF == 0xFFFFFFFF
    answer = 0 if mark else judge(Call(known[which], pid, tuple(arguments)))
    if answer == KILL:
        os.kill(pid, signal.SIGKILL)
        return END
    go_on = struct.pack("QqiI", number, 0, -answer, 0 if answer else 1)
    if answer and known[which] == "brk":
        # It tells no error but the end as it is; an errno is taken for an end far off.
        go_on = struct.pack("QqiI", number, _end_of_heap(pid), 0, 0)
    with suppress(FileNotFoundError):  # the same, by another thread's call
        fcntl.ioctl(listener, _SEND, go_on)
    return END if mark else None


def _end_of_heap(pid: int) -> int:
    with open(f"/proc/{pid}/maps") as maps:
        for line in maps:
            if line.endswith(" [heap]\n"):
                return int(line.partition("-")[2].partition(" ")[0], 16)
    return 0


def _be_struck(call: Callable[[], int], theirs: socket.socket, ours: socket.socket) -> None:
    """In the child: has the kernel ask, makes the call, exits with its code."""
    status = 0x7F
    try:
        ours.close()
        before = sorted(os.listdir("/proc/self/fd"))
        _filter(theirs)
        status = -call() & 0x7F
        _libc.ftruncate(-1, 0)  # the mark after which nothing is struck
        if sorted(os.listdir("/proc/self/fd")) != before:
            status |= 0x80
    finally:
        os._exit(status)


def _filter(theirs: socket.socket) -> None:
    asked = sorted(number for number, name in numbers().items() if name != "seccomp")
    install = next(number for number, name in numbers().items() if name == "seccomp")
    code = struct.pack("HBBI", 0x20, 0, 0, 0)  # the number of the call
    for place, number in enumerate(asked):
        code += struct.pack("HBBI", 0x15, len(asked) - place, 0, number)
    code += struct.pack("HBBI", 0x06, 0, 0, _ALLOW) + struct.pack("HBBI", 0x06, 0, 0, _ASK)
    held = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("HxxxxxxQ", len(code) // 8, ctypes.addressof(held))
    _libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
    # SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER
    listener = _libc.syscall(install, 1, 8, ctypes.create_string_buffer(program, 16))
    if listener < 0:
        theirs.send(str(ctypes.get_errno()).encode())
        os._exit(0)
    socket.send_fds(theirs, [b"0"], [listener])
    os.close(listener)
