"""Any values of any types, given to any public function: an exception or an answer, and the
interpreter goes on. A child process makes the calls; what it was at is on its output.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import vpopmail_ext as v
from tests import torture

TOP = Path(__file__).parents[2]
CALLER = """
import inspect, math, os, resource, sys, warnings
from datetime import datetime, timezone

from hypothesis import HealthCheck, Phase, given, settings, seed, strategies as st

import vpopmail_ext as v
from vpopmail_ext import api, info

home, qmail, examples, seed_number = sys.argv[1:]
v.configure(home=home, qmail=qmail)
warnings.simplefilter("ignore")
# What a wild length would take is not this machine's memory; core files are no use here.
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
assert v.vpopmail_add_domain("example.com", home, os.getuid(), os.getgid())
assert v.vpopmail_add_user("alice", "example.com", "secret-1")

FUNCTIONS = {
    **{name: getattr(v, name) for name in v.__all__ if name.startswith("vpopmail_")},
    "auth_many": lambda *a, **k: list(zip(range(50), v.auth_many(*a, **k))),
    **{f"api.{name}": getattr(api, name) for name in api.__all__
       if inspect.isfunction(getattr(api, name))},
}
RECORDS = [getattr(api, name) for name in api.__all__ if inspect.isclass(getattr(api, name))]


class Odd:
    def __repr__(self): raise RuntimeError("no repr")
    def __str__(self): raise RuntimeError("no str")
    def __len__(self): return 1 << 62
    def __iter__(self): raise RuntimeError("no iteration")
    def __bool__(self): raise RuntimeError("no truth")
    def __index__(self): return 1 << 70
    def __int__(self): raise RuntimeError("no int")
    def __fspath__(self): return b"/no" + b"x" * 5000
    def __eq__(self, other): raise RuntimeError("no comparison")
    __hash__ = None


class Text(str):
    def encode(self, *a, **k): return 5
    def __contains__(self, other): return False


class Bytes(bytes):
    def __len__(self): return 1 << 40
    def __contains__(self, other): return False


class Number(int):
    def __lt__(self, other): return True
    def __le__(self, other): return True
    def __format__(self, spec): return "x" * 100


names = st.sampled_from(["alice", "example.com", "alice@example.com", "secret-1", "", "..", "info",
                         "a" * 64, "a" * 65, "a" * 100_000, "b.com", "1M", "&x@y.z", "postmaster"])
leaves = (names | st.text(max_size=200) | st.binary(max_size=200) | st.integers() | st.floats()
          | st.none() | st.booleans() | st.complex_numbers() | st.datetimes()
          | names.map(str.encode) | names.map(Text) | names.map(lambda n: Bytes(n.encode()))
          | st.integers().map(Number) | st.builds(Odd) | names.map(lambda n: bytearray(n.encode()))
          | names.map(lambda n: memoryview(n.encode())) | st.sampled_from(RECORDS)
          | st.sampled_from([len, Odd, NotImplemented, ..., sys, 2**31, 2**32, 2**63, 2**64, -1])
          | st.builds(lambda: api.User) | st.characters(categories=["Cs"]))
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.tuples(inner, inner, inner)
    | st.dictionaries(names, inner, max_size=3) | st.lists(inner, max_size=4).map(iter)
    | st.lists(st.tuples(inner, inner, inner), max_size=4),
    max_leaves=5,
)
records = st.one_of(*(st.builds(record, **{p: values for p in inspect.signature(record).parameters})
                      for record in RECORDS if not issubclass(record, (int, Exception))))
done = {name: 0 for name in FUNCTIONS}


def harmless(name, arguments):
    # The bundled library makes any directory that it is told to.
    return not (name in ("vpopmail_add_domain", "api.add_domain"))


# hypothesis remembers all that a run has tried, half a megabyte each.
ROUND = 1000


def run(test, count, *values):
    for first in range(0, count, ROUND):
        told = settings(max_examples=min(ROUND, count - first), database=None, deadline=None,
                        phases=[Phase.generate], suppress_health_check=list(HealthCheck))
        seed(int(seed_number) + first)(told(given(*values)(test)))()


def call(name, arguments, named, right_number):
    function = FUNCTIONS[name]
    if right_number:
        wanted = [p for p in inspect.signature(function).parameters.values()
                  if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        arguments = (arguments * 6)[: len(wanted)]
        if not harmless(name, arguments):
            arguments[1:2] = [home]
        named = {}
    os.pwrite(1, name.ljust(60).encode()[:60] + b"\\n", 0)
    try:
        result = function(*arguments, **named)
        if inspect.isgenerator(result) or hasattr(result, "__next__"):
            for _, each in zip(range(20), result):
                repr(each)
        else:
            repr(result)
    except Exception as error:
        type(error).__name__
    done[name] += 1


def configure(one, other):
    os.pwrite(1, b"configure".ljust(60) + b"\\n", 0)
    try:
        v.configure(home=one, qmail=other)
    except Exception:
        pass
    v.configure(home=home, qmail=qmail)


run(call, int(examples), st.sampled_from(sorted(FUNCTIONS)), st.lists(values | records, max_size=6),
    st.dictionaries(st.sampled_from(["name", "domain", "password", "user", "quota", "threads",
                                     "flags", "limits", "apop", "gecos", "uid", "lines"]),
                    values, max_size=2), st.booleans())
run(configure, int(examples) // 10, values, values)
# All the same it works.
assert v.info().home == home
v.vpopmail_del_domain("example.com")
assert v.vpopmail_add_domain("example.com", home, os.getuid(), os.getgid())
assert v.vpopmail_add_user("alice", "example.com", "secret-1")
assert v.vpopmail_auth_user("alice", "example.com", "secret-1")
never = [name for name, times in done.items() if not times]
assert not never or int(examples) < 1000, never
os.ftruncate(1, 0)
os.pwrite(1, f"{sum(done.values()):,} calls".encode(), 0)
"""


@pytest.mark.torture
def test_any_values(home: Any, tmp_path: Path) -> None:
    if v.info().library == "real":
        pytest.skip("a real library's home is compiled in")
    said = tmp_path / "said"
    examples = int(torture.amount(250, 25_000))
    if os.environ.get("VPOPMAIL_TEST_SANITIZED"):
        examples //= 4
    with said.open("w+b") as out:
        child = subprocess.run(
            [sys.executable, "-c", CALLER, home.path, home.qmail, str(examples), "1"],
            stdout=out,
            stderr=subprocess.PIPE,
            cwd=TOP,
            check=False,
            timeout=300 + torture.amount(0, 12_000),
        )
    assert child.returncode == 0, (said.read_text(), child.stderr.decode()[-3000:])
    torture.tell(said.read_text())
