"""Makes calls that another process asks for, so that they can be made in valgrind while whoever
compares what comes of them is not.

    python -m tests.conformance.server

reads from standard input, pickled, a call's working directory, umask, function and arguments, or
the home and qmail directory of the trace that begins; it writes the call's outcome to standard
output.
"""

from __future__ import annotations

import os
import pickle
import queue
import sys
import threading
from typing import Any, BinaryIO

import vpopmail_ext
from tests.conformance.replay import Outcome, perform


class Elsewhere:
    """Performs the calls of traces in a server, each trace's in a thread of its own there."""

    def __init__(self, requests: BinaryIO, outcomes: BinaryIO) -> None:
        self.requests = requests
        self.outcomes = outcomes

    def send(self, *request: object) -> None:
        pickle.dump(request, self.requests)
        self.requests.flush()

    def begin(self, home: str, qmail: str) -> None:
        self.send(home, qmail)

    def perform(self, function: str, arguments: list[Any]) -> Outcome:
        umask = os.umask(0)
        os.umask(umask)
        self.send(os.getcwd(), umask, function, arguments)
        outcome: Outcome = pickle.load(self.outcomes)
        return outcome


def serve_trace(calls: queue.SimpleQueue[tuple[str, int, str, list[Any]] | None]) -> None:
    while call := calls.get():
        directory, umask, function, arguments = call
        os.chdir(directory)
        os.umask(umask)
        pickle.dump(perform(function, arguments), sys.stdout.buffer)
        sys.stdout.buffer.flush()


def main() -> None:
    calls: queue.SimpleQueue[Any] = queue.SimpleQueue()
    thread = threading.Thread()
    while sys.stdin.buffer.peek(1):
        request = pickle.load(sys.stdin.buffer)
        if len(request) == 4:
            calls.put(request)
            continue
        calls.put(None)
        if thread.ident:
            thread.join()
        vpopmail_ext.configure(*request)
        calls = queue.SimpleQueue()
        thread = threading.Thread(target=serve_trace, args=(calls,))
        thread.start()
    calls.put(None)


if __name__ == "__main__":
    main()
