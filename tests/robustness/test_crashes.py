"""After a crash at any point, and after any failing system call, a change is made wholly or not.

docs/durability.md tells what is promised; `make torture` makes its figures.
"""

from __future__ import annotations

import errno
import itertools
import os
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path

import pytest

import vpopmail_ext as v
from tests import torture
from tests.conftest import domain_ids
from tests.robustness import strike
from tests.robustness.installations import (
    MEMORY,
    SCENARIOS,
    Entry,
    Installation,
    Scenario,
    Tree,
    difference,
    make_users,
    settle_domain,
    to_be_struck,
    whole,
)
from tests.robustness.power import Power
from vpopmail_ext import chown
from vpopmail_ext._binding import ffi, lib
from vpopmail_ext.errors import Code, VpopmailError

ERRNOS = [
    errno.ENOSPC,
    errno.EIO,
    errno.EMFILE,
    errno.EACCES,
    errno.EINTR,
    errno.ENOMEM,
    errno.EDQUOT,
]

by_name = pytest.mark.parametrize(
    "scenario", [pytest.param(each, id=each.name) for each in SCENARIOS]
)


@pytest.fixture(scope="module")
def together() -> Iterator[Installation]:
    with to_be_struck() as made:
        yield made


@pytest.fixture(scope="module")
def apart(together: Installation) -> Iterator[Installation | None]:
    """The same on two file systems; None where there is but one."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as one, tempfile.TemporaryDirectory() as other:
        if os.stat(one).st_dev == os.stat(other).st_dev:
            yield None
        else:
            yield Installation(Path(one) / "top", *domain_ids(), Path(other) / "qmail")


@pytest.fixture
def place(
    scenario: Scenario, together: Installation, apart: Installation | None
) -> Iterator[Installation]:
    installation = apart if scenario.apart else together
    if installation is None:
        pytest.skip("there is one file system here")
    with installation.used():
        yield installation


class References:
    """What a scenario may leave: nothing done, done, done twice."""

    def __init__(self, place: Installation, scenario: Scenario) -> None:
        self.scenario = scenario
        self.states: list[Tree] = []
        self.unsettled: list[Tree] = []
        self.codes: list[int] = []
        self.seen: dict[frozenset[tuple[str, Entry]], int] = {}
        self.others = {"alice@ex.com", *scenario.others}
        for times in range(3):
            place.lay_out(scenario)
            self.codes = [scenario.call(place) for _ in range(times)]
            self.unsettled.append(self._state(place))
            place.settle()
            self.states.append(self._state(place))
            # If the call is about her, as set_flags is, she may sign in all the same.
            if not signs_in("alice@ex.com"):
                self.others.discard("alice@ex.com")
        assert self.codes[0] == 0

    def _state(self, place: Installation) -> Tree:
        state = place.state()
        taken = self.scenario.taken
        return {
            path: (what[0], 0, 0, what[3]) if taken and path.startswith(taken) else what
            for path, what in state.items()
        }

    def check(
        self,
        place: Installation,
        where: str,
        *,
        times: tuple[int, ...],
        stays: Collection[str] = (),
    ) -> int:
        """Check that it is one of those states; return how often the call was made."""
        state = {path: what for path, what in self._state(place).items() if path not in stays}
        without = {path: what for path, what in state.items() if path not in self.scenario.left}
        for made in times:
            if self.states[made] in ([state] if 2 in times else [state, without]):
                return made
        nearest = min(
            (difference(state, self.states[made]) for made in times), key=lambda text: len(text)
        )
        raise AssertionError(f"{where}: {nearest}")

    def check_told(self, place: Installation, where: str, *, removal: bool) -> None:
        """Check that a call that told an error left nothing to be done, if no journal says so.

        Where what failed is a `removal`, its temporary file may be there still.
        """
        state = self._state(place)
        if any(path.endswith((":ready", ":paths")) for path in state):
            return
        if removal:
            state = {path: what for path, what in state.items() if is_settled([path])}
        without = {path: what for path, what in state.items() if path not in self.scenario.left}
        if state in self.unsettled[:2] or without in self.unsettled[:2]:
            return
        left = difference(state, self.unsettled[0])
        raise AssertionError(f"{where}, it told an error: {left}")

    def check_failed(
        self,
        place: Installation,
        outcome: strike.Outcome,
        before: Tree,
        where: str,
        *,
        removal: bool,
    ) -> Tree:
        """Check a call in which something failed, by what it told and by what it left.

        The state before it is laid out again where it is another now, and returned.
        """
        assert outcome.code is not None, f"{where}: it died"
        assert not outcome.left, f"{where}: a descriptor is left"
        if outcome.code != 0:
            self.check_told(place, where, removal=removal)
        after, known = place.tree(), len(self.seen)
        made = self.check_left(place, after, where)
        assert made or outcome.code != 0, f"{where}: nothing was done"
        if after == before and len(self.seen) == known:
            return before
        place.lay_out(self.scenario)
        return place.tree()

    def check_left(self, place: Installation, tree: Tree, where: str) -> int:
        """Check what a call left, then take each lock; return how often the call was made.

        The same files are checked once: what comes of them is known by then. A journal tells its
        files by their inodes, so no two of those are the same.
        """
        key = frozenset(tree.items())
        if key not in self.seen:
            self.check_readers(place, where)
            place.settle()
            made = self.check(place, where, times=(1, 0))
            if is_settled(tree):
                self.seen[key] = made
            return made
        return self.seen[key]

    def check_readers(self, place: Installation, where: str) -> None:
        """Check that each file is whole and that who signs in before and after does so now."""
        damages = list(whole(place.tree()))
        assert damages == [], where
        for other in self.others:
            assert signs_in(other), f"{where}: {other} does not sign in"


def signs_in(address: str) -> bool:
    return v.vpopmail_auth_user(*address.split("@"), "secret-1")


@pytest.mark.torture
@by_name
def test_killed_before_any_call_that_changes_files(place: Installation, scenario: Scenario) -> None:
    references = References(place, scenario)
    step = torture.step(12 if torture.SANITIZED else 3)
    point, last = 0, False
    while not last:
        # Once the next calls are others, once the one that was interrupted.
        for again in (False, True) if step == 1 else (point // step % 2 == 1,):
            where = f"killed at {point}" + (", then again" if again else "")
            place.lay_out(scenario)
            outcome = strike.run(lambda: scenario.call(place), killing(point))
            last = outcome.code is not None
            references.check_readers(place, where)
            if again and not last:
                code = scenario.call(place)
                assert code in (0, references.codes[1]), (where, code)
                place.settle()
                references.check(place, where, times=(1, 2))
            else:
                place.settle()
                made = references.check(place, where, times=(1, 0))
                assert made or not last
        point += step
    torture.tell(f"{point // step - 1}")


def killing(point: int) -> strike.Judge:
    count = -1

    def judge(call: strike.Call) -> int:
        nonlocal count
        count += call.changes
        return strike.KILL if call.changes and count == point else 0

    return judge


class Failing:
    """Has one call fail, of all or of those that open something; or so many in a row."""

    def __init__(
        self, point: int, error: int, *, opens: bool = False, renames: bool = False, calls: int = 1
    ) -> None:
        self.left, self.error, self.calls = point + 1, error, calls
        self.opens, self.renames = opens, renames
        self.failed = ""

    def __call__(self, call: strike.Call) -> int:
        if (self.opens and not call.opens) or (self.renames and not call.name.startswith("rename")):
            return 0
        self.left -= 1
        if not self.left:
            self.failed = call.name
        return self.error if -self.calls < self.left <= 0 else 0


def fail(
    place: Installation,
    scenario: Scenario,
    step: int,
    errors: Callable[[int], Sequence[int]],
    *,
    opens: bool = False,
) -> str:
    """Have each call fail, or each that opens something, with the errors for it."""
    references = References(place, scenario)
    faults = told = point = 0
    reached = True
    place.lay_out(scenario)
    before = place.tree()
    while reached:
        for error in errors(point // step):
            where = f"{errno.errorcode[error]} at {point}"
            judge = Failing(point, error, opens=opens)
            outcome = strike.run(lambda: scenario.call(place), judge)
            reached = judge.left <= 0
            if not reached:
                break
            faults += 1
            told += outcome.code != 0
            removal = judge.failed in ("unlinkat", "unlink", "rmdir")
            before = references.check_failed(place, outcome, before, where, removal=removal)
        point += step
    return f"{faults:,}, of which {told:,} told"


@pytest.mark.torture
@by_name
def test_any_call_fails(place: Installation, scenario: Scenario) -> None:
    step = torture.step(23 if torture.SANITIZED else 7)
    each = step == 1
    torture.tell(
        fail(place, scenario, step, lambda tried: ERRNOS if each else [ERRNOS[tried % len(ERRNOS)]])
    )


@pytest.mark.torture
@by_name
def test_two_calls_in_a_row_fail(place: Installation, scenario: Scenario) -> None:
    """What is to undo a change that could not be made fails, too: the next call does it."""
    references = References(place, scenario)
    all_of_them = torture.step(2) == 1  # else renames alone
    point, told, reached = 0, 0, True
    place.lay_out(scenario)
    before = place.tree()
    while reached:
        for error in (errno.ENOSPC, errno.EIO) if all_of_them else (errno.ENOSPC,):
            where = f"{errno.errorcode[error]} at {point} and the next"
            judge = Failing(point, error, renames=not all_of_them, calls=2)
            outcome = strike.run(lambda: scenario.call(place), judge)
            reached = judge.left <= 0
            before = references.check_failed(place, outcome, before, where, removal=True)
            told += outcome.code != 0
        point += 1
    torture.tell(f"two at {point - 1:,} places, of which {told:,} told")


HALF_WAY = {
    "alias_del_domain": ("/.new:ready", 1),
    "del_user, freed places": ("/.tmp:ready", 1),
    "add_domain": ("/.tmp:ready", 1),
    "add_users": ("/ex.com/0/dan3", 0),
    "add_user": ("/.tmp:vpasswd.cdb", 0),
}
"""What is there when a call is killed half way, and how often it has been made in the end."""

by_half_way = pytest.mark.parametrize(
    "scenario", [pytest.param(each, id=each.name) for each in SCENARIOS if each.name in HALF_WAY]
)


def kill_once(place: Installation, call: Callable[[], int], there: str) -> int:
    """Kill a call once it has made what ends so; return the point."""
    point = -1

    def judge(call: strike.Call) -> int:
        nonlocal point
        point += call.changes
        made = call.changes and any(path.endswith(there) for path in place.tree())
        return strike.KILL if made else 0

    assert strike.run(call, judge).code is None
    return point


def half_way(place: Installation, scenario: Scenario) -> tuple[References, int, tuple[int]]:
    """Return where the call is to be killed, and how often it has been made in the end."""
    references, (there, times) = References(place, scenario), HALF_WAY[scenario.name]
    place.lay_out(scenario)
    return references, kill_once(place, lambda: scenario.call(place), there), (times,)


def repair(
    place: Installation, scenario: Scenario, half: int, judge: strike.Judge
) -> strike.Outcome:
    """Kill the call half way, then strike one that is to complete or undo it."""
    place.lay_out(scenario)
    assert strike.run(lambda: scenario.call(place), killing(half)).code is None
    return strike.run(lambda: struck(place, scenario), judge)


@pytest.mark.torture
@by_half_way
def test_the_repair_meets_an_error(place: Installation, scenario: Scenario) -> None:
    """A call that is to complete or undo a change fails, too: the next one does it all the same."""
    references, half, times = half_way(place, scenario)
    step = torture.step(23 if torture.SANITIZED else 7)
    point, reached = 0, True
    while reached:
        for error in ERRNOS if step == 1 else (errno.EIO,):
            if error == errno.EACCES:  # what may not be removed keeps nobody from the rest
                continue
            where = f"{errno.errorcode[error]} at {point} of the repair"
            judge = Failing(point, error)
            outcome = repair(place, scenario, half, judge)
            reached = judge.left <= 0
            assert (outcome.code is None, outcome.left) == (False, False), where
            place.settle()
            references.check(place, where, times=times)
        point += step
    torture.tell(f"an error at {point // step - 1} places, nothing lost")


@pytest.mark.torture
@by_half_way
def test_the_repair_is_killed(place: Installation, scenario: Scenario) -> None:
    references, half, times = half_way(place, scenario)
    step = torture.step(17 if torture.SANITIZED else 5)
    point, last = 0, False
    while not last:
        where = f"killed at {point} of the repair"
        last = repair(place, scenario, half, killing(point)).code is not None
        references.check_readers(place, where)
        place.settle()
        references.check(place, where, times=times)
        point += step
    torture.tell(f"killed at {point // step - 1} places, nothing lost")


def struck(place: Installation, scenario: Scenario) -> int:
    """Make a call that takes the scenario's lock, and changes nothing else."""
    if scenario.name.startswith("alias"):
        return lib.vpx_alias_del(b"none", b"ex.com")
    if scenario.name == "add_domain":
        return lib.vpx_del_domain(b"none.org")
    return lib.vpx_rebuild(b"ex.com")


@pytest.mark.torture
@pytest.mark.parametrize(
    "scenario",
    [
        pytest.param(each, id=each.name)
        for each in SCENARIOS
        if each.name == "alias_del_domain" or "domain" not in each.name
    ],
)
def test_killed_as_root_the_owner_goes_on(place: Installation, scenario: Scenario) -> None:
    """Some of what root made the owner may not remove: it stays, and is in nobody's way."""
    place.let_the_owner_in()
    references = References(place, scenario)
    step = torture.step(29 if torture.SANITIZED else 11)
    point, last = 0, False
    while not last:
        where = f"killed at {point}"
        place.lay_out(scenario)
        last = strike.run(lambda: scenario.call(place), killing(point)).code is not None
        assert place.as_owner(lambda: settle_domain(b"ex.com")) == 0, where
        references.check_readers(place, where)
        assert not any(path.endswith(":ready") for path in place.tree()), where
        if any("/.adding:" in path for path in place.tree()):  # it goes with root's next call
            place.settle()
        made = references.check(place, where, times=(1, 0), stays=what_stays(place))
        assert made or not last
        point += step
    torture.tell(f"killed at {point // step - 1} places, nothing lost")


def what_stays(place: Installation) -> set[str]:
    """Return what the domains' owner may not remove."""
    tree = place.tree()
    begun = {path for path in tree if "/.tmp::" in path}
    assert not begun or any(tree[path][1] != place.uid for path in begun)
    # Emptied: it stands in a directory of root's.
    elsewhere = {path for path in tree if path.startswith("/qmail/srv/alice")}
    return begun | elsewhere if len(elsewhere) == 1 else begun


@pytest.mark.parametrize("killed", ["root", "the owner"])
def test_what_add_users_left_goes_with_the_next_call_of_the_same_user(
    together: Installation, killed: str
) -> None:
    """Until then the other can't add a user whose directory is there."""
    scenario = next(each for each in SCENARIOS if each.name == "add_users")

    def as_it_was(call: Callable[[], int]) -> int:
        return call() if killed == "root" else together.as_owner(call)

    def as_the_other(call: Callable[[], int]) -> int:
        return together.as_owner(call) if killed == "root" else call()

    def add_users() -> int:
        if killed == "the owner":
            together.be_the_owner()
        return scenario.call(together)

    def add(name: bytes) -> int:
        return lib.vpx_add_user(name, b"ex.com", b"secret-2", b"", 0)

    with together.used():
        together.let_the_owner_in()
        together.lay_out(scenario)
        kill_once(together, add_users, "/ex.com/0/dan3")
        assert as_the_other(lambda: settle_domain(b"ex.com")) == 0
        assert as_the_other(lambda: add(b"dan0")) == Code.VA_EXIST_U_DIR
        assert as_the_other(lambda: add(b"dan4")) == 0
        assert (together.domain / "dan0").exists()
        assert as_it_was(lambda: settle_domain(b"ex.com")) == 0
        assert is_settled(together.tree())
        assert [path.name for path in together.domain.rglob("dan*")] == ["dan4"]
        assert as_the_other(lambda: add(b"dan0")) == 0


@pytest.mark.parametrize(
    "scenario",
    [each for each in SCENARIOS if each.name in ("del_domain", "del_user")],
    ids=lambda each: each.name,
)
def test_what_can_not_be_opened_is_not_taken_for_missing(
    place: Installation, scenario: Scenario
) -> None:
    fail(place, scenario, 1, lambda tried: [errno.EIO], opens=True)


OF_PASSWORDS = {
    "passwd": lambda: lib.vpx_passwd(b"alice", b"ex.com", b"short", 0),
    "add_user": lambda: lib.vpx_add_user(b"dave", b"ex.com", b"short", b"", 0),
    "add_users": lambda: lib.vpx_bulk_open(b"ex.com", ffi.new("struct vpx_bulk **")),
}


@pytest.mark.parametrize("call", OF_PASSWORDS)
def test_a_policy_that_can_not_be_read_allows_nothing(together: Installation, call: str) -> None:
    with together.used():
        together.lay_out(NOTHING)
        (together.home / "etc/password_strength.conf").write_text("Length >= 20\n")
        before, point, reached = together.state(), 0, True
        while reached:
            judge = Failing(point, errno.EMFILE, opens=True)
            code = strike.run(OF_PASSWORDS[call], judge).code
            reached = judge.left <= 0
            assert code or not reached, f"{call}: the password was allowed, without open {point}"
            point += 1
        assert together.state() == before


def test_what_is_made_of_many_users_can_not_be_synced(together: Installation) -> None:
    syncs = []

    def judge(call: strike.Call) -> int:
        syncs.append(call.name == "syncfs")
        return errno.EIO if syncs[-1] else 0

    with together.used():
        together.lay_out(NOTHING)
        before = together.tree()
        # It is synced for each 2,048 that were made.
        assert strike.run(lambda: make_users(2047, 2040), judge).code == 0
        assert not any(syncs)
        outcome = strike.run(lambda: make_users(2050, 2040), judge)
        assert (outcome.code, outcome.left) == (Code.VA_COULD_NOT_UPDATE_FILE, False)
        assert together.tree() == before


WAITS = {
    "add_domain": (11, 2),
    "add_alias_domain": (7, 2),
    "del_domain": (9, 2),
    "add_user": (11, 2),
    "add_user, the hundredth": (12, 2),
    "del_user": (5, 2),
    "passwd": (4, 2),
    "set_user_quota": (7, 3),
    "alias_add": (2, 2),
}
"""How many files and directories a call syncs, and in how many waves."""


def test_how_often_it_waits_for_the_disk(together: Installation) -> None:
    found = {}
    for scenario in SCENARIOS:
        if scenario.name in WAITS:
            made: list[bool] = []

            def judge(call: strike.Call, made: list[bool] = made) -> int:
                if call.changes:
                    made.append(call.name == "fsync")
                return 0

            with together.used():
                together.lay_out(scenario)
                assert strike.run(lambda call=scenario.call: call(together), judge).code == 0
            waves = sum(now and not before for before, now in itertools.pairwise([False, *made]))
            found[scenario.name] = made.count(True), waves
    assert found == WAITS


CUTS = [(True, True), (False, False), (True, False), (False, True)]
"""Whether vpopmail's home and qmail's directory are as early, or as late, as they can be."""


@pytest.mark.torture
@by_name
def test_the_power_is_cut(place: Installation, scenario: Scenario) -> None:
    references = References(place, scenario)
    step = torture.step(23 if torture.SANITIZED else 7)
    cuts = point = 0
    last = False
    while not last:
        ways: list[tuple[bool, ...]] = [*CUTS] if scenario.apart else [(True,), (False,)]
        for early in ways if step == 1 else (ways[point // step % len(ways)],):
            where = f"the power cut at {point}, {early}"
            place.lay_out(scenario)
            power = Power(place.home, place.qmail, point)
            outcome = strike.run(lambda: scenario.call(place), power.judge)
            last = outcome.code is not None
            power.cut(early)
            cuts += 1
            references.check_readers(place, where)
            place.settle()
            made = references.check(place, where, times=(1, 0))
            assert made or not last, f"{where}: it was told to be done"
        point += step
    torture.tell(f"{cuts}")


NOTHING = Scenario("nothing", lambda place: 0)


@pytest.fixture(params=["killed", "the power cut", "the power cut, on two file systems"])
def chowned(
    request: pytest.FixtureRequest, together: Installation, apart: Installation | None
) -> Iterator[tuple[Installation, list[tuple[float, ...]]]]:
    """What is given to others, and the ways of cutting its power."""
    place = apart if request.param.endswith("two file systems") else together
    if os.environ.get("VPOPMAIL_TEST_ROOT") != "root":
        pytest.skip("only root can give files away")
    if place is None:
        pytest.skip("there is one file system here")
    ways: list[tuple[float, ...]] = [(1,), (0,)]
    if place is apart:
        # Some have their owners by the second, some have not: those of the domains first.
        ways = [*CUTS, (0.5, 0)]
    with place.used():
        yield place, [] if request.param == "killed" else ways


@pytest.mark.torture
def test_chown_is_interrupted(chowned: tuple[Installation, list[tuple[float, ...]]]) -> None:
    place, ways = chowned
    short = {0: 5, 2: 13, 5: 31}[len(ways)]
    step = torture.step(3 * short if torture.SANITIZED else short)
    place.lay_out(NOTHING)
    assert give(place) == 0
    expected, point, last = given(place), 0, False
    assert {what[1] for path, what in expected.items() if "/alice" in path} == {8089}
    while not last:
        for early in ways or [()]:
            where = f"interrupted at {point}, {early}"
            place.lay_out(NOTHING)
            power = Power(place.home, place.qmail, point) if early else None
            outcome = strike.run(lambda: give(place), power.judge if power else killing(point))
            last = outcome.code is not None
            if power:
                power.cut(early)
            if last:
                assert given(place) == expected, f"{where}: it was told to be done"
            check_chown_goes_on(place, expected, where)
        point += step
    torture.tell(f"{point // step - 1} places, nothing lost")


@pytest.mark.torture
def test_chown_s_calls_fail(together: Installation) -> None:
    """It tells it, and the same call finishes it; or it was done all the same."""
    if os.environ.get("VPOPMAIL_TEST_ROOT") != "root":
        pytest.skip("only root can give files away")
    step = torture.step(199 if torture.SANITIZED else 67)
    faults = told = point = 0
    reached = True
    with together.used():
        together.lay_out(NOTHING)
        assert give(together) == 0
        expected = given(together)
        while reached:
            for error in ERRNOS if step == 1 else [ERRNOS[point // step % len(ERRNOS)]]:
                where = f"{errno.errorcode[error]} at {point}"
                together.lay_out(NOTHING)
                judge = Failing(point, error)
                outcome = strike.run(lambda: give(together), judge)
                reached = judge.left <= 0
                if not reached:
                    break
                assert outcome.code is not None, where
                assert not outcome.left, f"{where}: a descriptor is left"
                faults += 1
                told += outcome.code != 0
                if outcome.code == 0:
                    assert given(together) == expected, where
                check_chown_goes_on(together, expected, where)
            point += step
    torture.tell(f"{faults:,}, of which {told:,} told; nothing lost")


def give(place: Installation) -> int:
    """Make the change of owners, or go on with it; it may have been made."""
    try:
        chown.chown(8089, 8090)
    except chown.Refused as refused:
        return 0 if "belongs to 8089:8090 already" in str(refused) else -2
    except (OSError, VpopmailError):
        return -3
    return 0


def check_chown_goes_on(place: Installation, expected: Tree, where: str) -> None:
    """Check that all is whole and that the same call ends with what is expected."""
    assert list(whole(place.tree())) == [], where
    for user, domain in (("bob", "al.com"), ("carol", "other.com")):
        assert v.vpopmail_auth_user(user, domain, "secret-1"), where
    assert give(place) == 0, where
    assert given(place) == expected, f"{where}: {difference(given(place), expected)}"


def given(place: Installation) -> Tree:
    """Return all there is without the backups, of which a run that was interrupted makes one."""
    state = place.state()
    return {path: what for path, what in state.items() if "/before-chown-" not in path}


def is_settled(tree: Iterable[str]) -> bool:
    """Tell whether nothing is there that a journal is, or may be, about."""
    return not any("/.tmp:" in path or "/.new:" in path or "/.adding:" in path for path in tree)
