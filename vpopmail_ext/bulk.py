"""Many users added at once: `vpopmail_ext.api.add_users` and the import of the command line."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import islice
from typing import TypeAlias

from vpopmail_ext import calls
from vpopmail_ext._binding import ffi
from vpopmail_ext.errors import Code, InvalidValue, RefusedUser, UsersRefused, error_of
from vpopmail_ext.info import info
from vpopmail_ext.linked import lib
from vpopmail_ext.records import NewUser, User, kind_of

AnyUser: TypeAlias = (
    NewUser | User | tuple[str, str] | tuple[str, str, str] | tuple[str, str, str, bool]
)
Progress: TypeAlias = Callable[[int, int], object]

_TAKEN = 1000  # rows at a time
_SLICE = 64  # users that a thread hashes passwords of and makes directories for at a time
LAST_FLAGS = 2**32 - 1


def new_user(user: AnyUser) -> NewUser:
    """Return what is to be added, from any of the forms that `api.add_users` takes."""
    if isinstance(user, NewUser):
        return user
    if isinstance(user, User):
        return NewUser(
            user.name,
            gecos=user.gecos,
            apop=user.apop,
            quota=user.quota,
            flags=user.flags,
            password_hash=user.password_hash,
        )
    return NewUser(*user)


def _packed(user: NewUser) -> bytes:
    if (user.password is None) == (user.password_hash is None):
        raise InvalidValue(
            Code.VA_BAD_CHAR, "Not a new user", f"{user.name}: give a password or a password_hash"
        )
    hashed = "" if user.password_hash is None else f"={user.password_hash}"
    fields = (
        calls.text("name", user.name),
        calls.text("password", user.password or ""),
        calls.text("password_hash", hashed),
        calls.text("gecos", user.gecos),
        b"%d" % kind_of(user.apop),
        b"%d" % calls.number("flags", user.flags, LAST_FLAGS),
        b"" if user.quota is None else str(user.quota).encode(),
    )
    return b"\0".join((*fields, b""))


# What stands for a user who is refused here already: nobody can have an empty name.
_REFUSED = b"\0".join((b"", b"", b"", b"", b"1", b"0", b"", b""))


class Addition:
    """Users on their way into a domain: none is there before `commit`, and all are after it.

    To be used in a ``with`` statement, whose end takes back what is not committed.
    """

    def __init__(self, domain: str, users: Iterable[AnyUser], threads: int | None) -> None:
        """Read the users; UsersRefused where some can't be added, NoSuchDomain, StorageFailed."""
        self.domain = domain
        self.count = 0
        if threads is not None and threads < 1:
            raise ValueError(f"add_users(): threads must be 1 or more, not {threads}")
        # A real library adds them where others are made, one after the other.
        one_by_one = info().library == "real"
        # One more than cores: while one waits for the disk or another, the cores are busy.
        self.threads = 1 if one_by_one else threads or len(os.sched_getaffinity(0)) + 1
        self._largest = 1 if one_by_one else _SLICE
        self._invalid: dict[int, RefusedUser] = {}
        self._open()
        try:
            self._take(users)
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        opened = ffi.new("struct vpx_bulk **")
        calls.check(lib.vpx_bulk_open(calls.text("domain", self.domain), opened), self.domain)
        self._bulk = ffi.gc(opened[0], lib.vpx_bulk_close)

    def _take(self, users: Iterable[AnyUser]) -> None:
        rows = enumerate(map(new_user, users), 1)
        while taken := [self._row(number, user) for number, user in islice(rows, _TAKEN)]:
            code = lib.vpx_bulk_take(self._bulk, b"".join(taken), len(taken))
            calls.check(code, self.domain)
            self.count += len(taken)
        calls.check(lib.vpx_bulk_check(self._bulk), self.domain)
        self._check_refused()

    def _row(self, number: int, user: NewUser) -> bytes:
        try:
            return _packed(user)
        except InvalidValue as error:
            self._invalid[number] = RefusedUser(number, user.name, error)
            return _REFUSED

    def _check_refused(self) -> None:
        data = calls.fetch(lib.vpx_bulk_refused, self.domain, self._bulk)
        if data:
            refused = [self._refused(*fields) for fields in calls.split(data, 4)]
            raise UsersRefused(sorted(refused, key=lambda user: user.row), self.domain)

    def _refused(self, row: bytes, name: bytes, code: bytes, text: bytes) -> RefusedUser:
        number, user = int(row) + 1, calls.decoded(name)
        error = error_of(int(code), calls.decoded(text), f"{user}@{self.domain}")
        return self._invalid.get(number) or RefusedUser(number, user, error)

    def make(self, progress: Progress) -> None:
        """Hash the passwords and make the directories; `progress` is told how many are done.

        With a real library this adds them; UsersRefused for the first one that can't be.
        """
        size = max(1, min(self._largest, self.count // (4 * self.threads)))
        done = 0
        progress(done, self.count)
        pool = ThreadPoolExecutor(self.threads, "add_users")
        try:
            slices = {
                pool.submit(lib.vpx_bulk_make, self._bulk, first, count): count
                for first in range(0, self.count, size)
                for count in (min(size, self.count - first),)
            }
            for future in as_completed(slices):
                calls.check(future.result(), self.domain)
                done += slices[future]
                self._check_refused()
                progress(done, self.count)
        finally:
            pool.shutdown(cancel_futures=True)

    def commit(self) -> None:
        """Make them users, synced; UsersRefused where others have changed the domain meanwhile."""
        calls.check(lib.vpx_bulk_commit(self._bulk), self.domain)
        self._check_refused()

    def close(self) -> None:
        """Remove what is not committed."""
        ffi.release(self._bulk)

    def __enter__(self) -> Addition:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
