"""Many passwords hashed at once: on every kernel that the processor has, what crypt_r gives."""

from __future__ import annotations

import os
import random
from itertools import islice, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.crypt_pairs import (
    ALPHABET,
    SIMDS,
    Pair,
    batch,
    differences,
    ffi,
    lib,
    one,
    random_pairs,
    simds,
)

SANITIZED = "VPOPMAIL_TEST_SANITIZED" in os.environ
LONGER = b"a very much longer text to encrypt.  This one even stretches over morethan one line."
SHORT_SALT = b"we have a short salt string but not a short password"
# Setting, password, hash: those of Drepper's "Unix crypt using SHA-256 and SHA-512", and FreeBSD's.
PUBLISHED = [
    (
        b"$6$saltstring",
        b"Hello world!",
        b"$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEd"
        b"FCoEOfaS35inz1",
    ),
    (
        b"$6$rounds=10000$saltstringsaltstring",
        b"Hello world!",
        b"$6$rounds=10000$saltstringsaltst$OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0D"
        b"p8vOuZeHBy/YTBmSK6H9qs/y3RnOaw5v.",
    ),
    (
        b"$6$rounds=5000$toolongsaltstring",
        b"This is just a test",
        b"$6$rounds=5000$toolongsaltstrin$lQ8jolhgVRVhY4b5pZKaysCLi0QBxGoNeKQzQ3glMhwllF7oGDZxUh"
        b"x1yxdYcz/e1JSbq3y6JMxxl8audkUEm0",
    ),
    (
        b"$6$rounds=1400$anotherlongsaltstring",
        LONGER,
        b"$6$rounds=1400$anotherlongsalts$POfYwTEok97VWcjxIiSOjiykti.o/pQs.wPvMxQ6Fm7I6IoYN3CmLs"
        b"66x9t0oSwbtEW7o7UmJEiDwGqd8p4ur1",
    ),
    (
        b"$6$rounds=77777$short",
        SHORT_SALT,
        b"$6$rounds=77777$short$WuQyW2YR.hBNpjjRhpYD/ifIw05xdfeEyQoMxIXbkvr0gge1a1x3yRULJ5CCaUeO"
        b"xFmtlcGZelFl5CxtgfiAc0",
    ),
    (
        b"$6$rounds=123456$asaltof16chars..",
        b"a short string",
        b"$6$rounds=123456$asaltof16chars..$BtCwjqMJGx5hrJhZywWvt0RLE8uZ4oPwcelCjmw2kSYu.Ec6ycUL"
        b"evoBK25fs2xXgMNrCzIMVcgEJAstJeonj1",
    ),
    (
        b"$5$saltstring",
        b"Hello world!",
        b"$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5",
    ),
    (
        b"$5$rounds=10000$saltstringsaltstring",
        b"Hello world!",
        b"$5$rounds=10000$saltstringsaltst$3xv.VbSHBb41AL9AvLeujZkZRBAwqFMz2.opqey6IcA",
    ),
    (
        b"$5$rounds=5000$toolongsaltstring",
        b"This is just a test",
        b"$5$rounds=5000$toolongsaltstrin$Un/5jzAHMgOGZ5.mWJpuVolil07guHPvOW8mGRcvxa5",
    ),
    (
        b"$5$rounds=1400$anotherlongsaltstring",
        LONGER,
        b"$5$rounds=1400$anotherlongsalts$Rx.j8H.h8HjEDGomFU8bDkXm3XIUnzyxf12oP84Bnq1",
    ),
    (
        b"$5$rounds=77777$short",
        SHORT_SALT,
        b"$5$rounds=77777$short$JiO1O3ZpDAxGJeaDIuqCoEFysAe1mZNJRs3pw0KQRd/",
    ),
    (
        b"$5$rounds=123456$asaltof16chars..",
        b"a short string",
        b"$5$rounds=123456$asaltof16chars..$gP3VQ/6X7UUEW3HkBn2w1/Ptq2jxPyzV/cZKmF/wJvD",
    ),
    (b"$1$deadbeef", b"0.s0.l33t", b"$1$deadbeef$0Huu6KHrKLVWfqa4WljDE0"),
    (b"$1$deadbeef$0Huu", b"0.s0.l33t", b"$1$deadbeef$0Huu6KHrKLVWfqa4WljDE0"),
]
# What is crypt_r's, with what it does not take at all.
OTHERS = [
    *(b"", b"x", b"*0", b"*1", b"!", b"ab", b"ab.cd", b"_J9..rasm", b"$", b"$6", b"$6$", b"$7$x"),
    *(b"$6$rounds=", b"$6$rounds=1000", b"$6$rounds=$a", b"$6$rounds=999$a", b"$6$rounds=01000$a"),
    *(b"$6$rounds=1000000000$a", b"$6$rounds=99999999999999999999$a", b"$6$rounds=-1$a"),
    *(b"$6$rounds=+1000$a", b"$6$rounds= 1000$a", b"$6$rounds=1000 $a", b"$6$rounds=1e3$a"),
    *(b"$6$rounds=10$roundstoolow", b"$5$rounds=10$roundstoolow", b"$1$rounds=1000$a"),
    *(b"$6$Rounds=1000$a", b"$6$round=1000$a", b"$6$rounds=1000$rounds=1000$a", b"$6$a=b"),
    *(b"$6$a:b", b"$6$a\nb", b"$6$a b", b"$6$a!b", b"$6$a*", b"$6$a\\", b"$6$a\x80b", b"$6$a\x01"),
    *(b"$6$a$b:c", b"$6$a$b$c", b"$6$a$b\xff", b"$6$$", b"$6$$$", b"$6$a,b", b"$6$a-b$c", b"$5$a;"),
    *(b"$1$a:", b"$1$", b"$1$$x", b"$1$toolongasalt$", b"$2b$04$abcdefghijklmnopqrstuu", b"$sha1$"),
]


@pytest.fixture(params=range(len(SIMDS)), ids=SIMDS)
def simd(request: pytest.FixtureRequest) -> int:
    number: int = request.param
    if number not in simds():
        pytest.skip(f"the processor has no {SIMDS[number]}")
    return number


def test_the_published_hashes(simd: int) -> None:
    # Twice, since one alone has kernels of its own.
    pairs = [(password, setting) for setting, password, _ in PUBLISHED] * 2
    hashes = [hashed for *_, hashed in PUBLISHED] * 2
    assert batch(pairs, simd) == hashes
    assert [batch([pair], simd)[0] for pair in pairs] == hashes


@pytest.mark.parametrize("method", [b"$6$rounds=1000$", b"$5$rounds=1000$", b"$1$"])
def test_lengths(method: bytes) -> None:
    password = bytes(range(1, 256)) * 3
    lengths = product(range(301), range(17))
    # A tenth of them where every byte that is read is looked at.
    pairs = [
        (password[:length], method + ALPHABET[:salt] + b"$"[: length % 2])
        for length, salt in islice(lengths, 0, None, 11 if SANITIZED else 1)
    ]
    pairs += [(password[-length:], method + ALPHABET[-17:]) for length in (509, 510, 511, 512, 600)]
    assert differences(pairs) == []


def test_other_settings() -> None:
    assert differences([(b"password", setting) for setting in OTHERS] * 2) == []
    assert differences([(b"p" * 512, b"$6$rounds=1000$a"), (b"", b"$6$rounds=1000$a")] * 2) == []


@pytest.mark.skipif(SANITIZED, reason="the sanitizer's own crypt_r reads both")
def test_no_password_and_no_setting(simd: int) -> None:
    hashed = ffi.new("char[]", 384)
    for password, setting in ((ffi.NULL, b"$6$a"), (b"a", ffi.NULL)):
        held = [ffi.new("char[]", text) if text else ffi.NULL for text in (password, setting)]
        job = ffi.new("struct crypt_job *", [*held, hashed])
        assert lib().crypt_batch_by(simd, ffi.new("struct crypt_job *[]", [job] * 2), 2) == 0
        assert ffi.string(hashed) == b"*0"


def test_every_size_of_a_batch() -> None:
    source = random.Random(1)
    method = (b"$6$rounds=1000$", b"$1$")
    pairs = [(b"%d" % number, method[number % 2] + b"salt") for number in range(40)]
    wanted = dict(zip(pairs, map(one, pairs), strict=True))
    for simd in simds():
        for size in range(len(pairs) + 1):
            chosen = source.sample(pairs, size)
            assert batch(chosen, simd) == [wanted[pair] for pair in chosen]


def test_few_and_many_rounds_together() -> None:
    rounds = (1000, 1001, 1041, 1042, 1043, 4999, 5000, 5001, 9999, 200_000)
    for method in (b"$6$", b"$5$"):
        pairs = [(b"password", method + b"rounds=%d$salt" % number) for number in rounds]
        assert differences([*pairs, (b"another", method + b"salt")]) == []


def test_thousands_of_random_pairs() -> None:
    source = random.Random(2)
    # A tenth of them where every byte that is read is looked at.
    for _ in range(4 if SANITIZED else 40):
        assert differences(random_pairs(source, 50)) == []


passwords = st.binary(max_size=520).map(lambda password: password.replace(b"\0", b"\xff"))
salts = st.lists(st.sampled_from(ALPHABET), max_size=18).map(bytes)
methods = st.sampled_from((b"$6$rounds=1000$", b"$6$rounds=1001$", b"$5$rounds=1000$", b"$1$"))
pairs = st.tuples(passwords, st.builds(lambda method, salt: method + salt, methods, salts))


@settings(deadline=None, max_examples=60)
@given(st.lists(pairs, max_size=40))
def test_every_mixture_in_a_batch(pairs: list[Pair]) -> None:
    assert differences(pairs) == []
