"""Many sign-ins: looked up and hashed in batches, by as many threads as there are cores."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from queue import Empty, SimpleQueue
from time import monotonic, perf_counter, thread_time

from vpopmail_ext._binding import ffi
from vpopmail_ext.linked import Caged, lib
from vpopmail_ext.php import Value, _credentials

# A batch is to keep a thread busy for so long (seconds): handing it over costs some 50 µs, and
# nobody waits longer for an answer that is there. They are the thread's own, whatever else the
# machine does, unless a real library's work is done for it in the cage's.
_clock = perf_counter if isinstance(lib, Caged) else thread_time
_SHORT, _LONG = 0.004, 0.016
_SMALLEST = 8  # credentials: as many as SHA-512 has lanes
_LARGEST = 4096  # credentials
_TEXT = 1 << 18  # bytes
_PATIENCE = 0.01  # seconds for which credentials are gathered
_AHEAD = 2  # batches for each thread


def auth_many(
    credentials: Iterable[tuple[Value, Value, Value]],
    *,
    threads: int | None = None,
    equal_time: bool = False,
) -> Iterator[bool]:
    """Tell for each user, domain and password whether the password is the user's.

    The answers come in the order of `credentials`, and are those of `vpopmail_auth_user`; what
    `vpopmail_error` tells stays as it is. `threads` of them are used, as many as this process has
    cores to run on if it is None; a number below 1 is a ValueError. `equal_time` is that of
    `vpopmail_auth_user`.

    `credentials` is read as answers are asked for, in the thread that asks, and never to its end
    beforehand: a few at first, then up to 4096 times twice `threads` beyond the answer given last,
    as the time they take allows. So any number of them takes the same few megabytes. Where reading
    them raises an exception, or one holds a value that `vpopmail_auth_user` would not take, the
    answers for those before it come first and then the exception, which ends the iteration.

    Closing the iterator, or letting go of it, ends its threads after the batch that each has in
    hand. In a process that is forked meanwhile the iterator is a RuntimeError; a new one works.
    libvpopmail's vauth_user(), over and over.
    """
    if threads is None:
        threads = len(os.sched_getaffinity(0))
    if threads < 1:
        raise ValueError(f"auth_many(): threads must be 1 or more, not {threads}")
    return _answers(_Source(iter(credentials), equal_time), threads)


class _Batch:
    """Some credentials, and once a thread has worked on it their answers."""

    def __init__(self, text: bytes, count: int, equal_time: bool = False) -> None:
        self.text, self.count, self.equal_time = text, count, equal_time
        self.answers = b""
        self.seconds = 0.0
        self.failure: Exception | None = None
        self.done = threading.Lock()
        self.done.acquire()

    def work(self) -> None:
        started = _clock()
        try:
            matches = ffi.new("char[]", self.count)
            if lib.vpx_auth_many(self.text, self.count, self.equal_time, matches) != 0:
                raise MemoryError
            self.answers = ffi.unpack(matches, self.count)
        except Exception as failure:
            self.failure = failure
        self.seconds = _clock() - started
        self.done.release()

    def is_done(self) -> bool:
        return not self.done.locked()

    def wait(self) -> Iterator[bool]:
        self.done.acquire()
        if self.failure is not None:
            raise self.failure
        return map(bool, self.answers)


class _Source:
    """Credentials, taken in batches until there are no more or one can't be had."""

    def __init__(
        self, credentials: Iterator[tuple[Value, Value, Value]], equal_time: bool = False
    ) -> None:
        self.credentials, self.equal_time = credentials, equal_time
        self.size = _SMALLEST
        self.ended = False
        self.failure: Exception | None = None

    def take(self) -> _Batch | None:
        texts: list[bytes] = []
        try:
            if not self.ended:
                self._gather(texts)
        except Exception as failure:
            self.failure = failure
            self.ended = True
        return _Batch(b"\0".join(texts), len(texts), self.equal_time) if texts else None

    def _gather(self, texts: list[bytes]) -> None:
        length, end = 0, monotonic() + _PATIENCE
        for credential in islice(self.credentials, self.size):
            text = _packed(credential)
            texts.append(text)
            length += len(text)
            if length > _TEXT or monotonic() > end:
                return
        self.ended = len(texts) < self.size

    def learn(self, batch: _Batch) -> None:
        """Make batches larger or smaller by how long one of this size took."""
        if batch.seconds < _SHORT and batch.count == self.size < _LARGEST:
            self.size *= 2
        elif batch.seconds > _LONG and self.size > _SMALLEST:
            self.size //= 2


def _packed(credential: tuple[Value, Value, Value]) -> bytes:
    user, domain, password = credential
    try:
        text = "\0".join((user, domain, password)).encode()  # type: ignore[arg-type]
        if text.count(b"\0") == 2:
            return text
    except (TypeError, UnicodeEncodeError):
        pass
    return b"\0".join(_credentials(user, domain, password))


def _work(batches: SimpleQueue[_Batch | None]) -> None:
    while (batch := batches.get()) is not None:
        batch.work()


class _Workers:
    """Threads that work on batches in the order in which they were put."""

    def __init__(self, threads: int) -> None:
        self.batches: SimpleQueue[_Batch | None] = SimpleQueue()
        self.threads = threads
        self.started = 0
        self.process = os.getpid()

    def put(self, batch: _Batch) -> None:
        self.batches.put(batch)
        if self.started < self.threads:
            # A daemon: an iterator that nobody closed must not keep the program from ending.
            threading.Thread(target=_work, args=(self.batches,), daemon=True).start()
            self.started += 1

    def check(self) -> None:
        if os.getpid() != self.process:
            raise RuntimeError(
                "auth_many(): this process was forked after the iterator was made, whose threads "
                "are the parent's; call auth_many() in the child"
            )

    def end(self) -> None:
        with suppress(Empty):
            while True:
                self.batches.get_nowait()
        for _ in range(self.started):
            self.batches.put(None)


def _answers(source: _Source, threads: int) -> Iterator[bool]:
    workers = _Workers(threads)
    waiting: deque[_Batch] = deque()
    try:
        while True:
            workers.check()
            # Reading goes on until the batches are enough, or there are answers to give.
            while len(waiting) < _AHEAD * threads and not (waiting and waiting[0].is_done()):
                batch = source.take()
                if batch is None:
                    break
                waiting.append(batch)
                workers.put(batch)
            if not waiting:
                break
            batch = waiting.popleft()
            yield from batch.wait()
            source.learn(batch)
    finally:
        workers.end()
    if source.failure is not None:
        raise source.failure
