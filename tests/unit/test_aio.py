"""The same functions for asyncio."""

from __future__ import annotations

import asyncio
import inspect
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conftest import Home
from tests.unit.test_documents import blocks
from vpopmail_ext import aio, api, errors

STREAMS = {"aliases", "domains", "users"}


def functions() -> list[str]:
    return [name for name in api.__all__ if not name[0].isupper()]


def test_the_names_are_those_of_api() -> None:
    for name in functions():
        twin = getattr(aio, name)
        assert inspect.signature(twin) == inspect.signature(getattr(api, name))
        assert inspect.isasyncgenfunction(twin) == (name in STREAMS)
        assert inspect.iscoroutinefunction(twin) == (name not in STREAMS)


def test_a_day_s_work(home: Home) -> None:
    async def work() -> None:
        await aio.add_domain("example.com")
        await asyncio.gather(
            *(aio.add_user(f"user{n}", "example.com", "s3cret-PW") for n in range(4))
        )
        assert [user.name async for user in aio.users("example.com")] == [
            f"user{n}" for n in range(4)
        ]
        assert [domain.name async for domain in aio.domains()] == ["example.com"]
        user = await aio.authenticate("user1", "example.com", "s3cret-PW", equal_time=True)
        assert user is not None
        assert (await aio.quota_usage(user)).messages == 0
        with pytest.raises(errors.NoSuchUser):
            await aio.user("nobody", "example.com")
        with pytest.raises(errors.NoSuchDomain):
            async for _ in aio.users("nope.com"):
                pass

    asyncio.run(work())


def test_every_function(programs: Home) -> None:
    """The examples of docs/tasks/asyncio.md, with a real library too."""
    examples = "\n".join(blocks("docs/tasks/asyncio.md"))
    exec(compile(examples, "docs/tasks/asyncio.md", "exec"), {})
    assert [name for name in functions() if f"aio.{name}(" not in examples] == []


def test_more_users_than_one_batch(home: Home) -> None:
    api.add_domain("example.com")
    text = "".join(f"user{n:04}:x:1:0:g:/d:NOQUOTA\n" for n in range(1000))
    (home.path / "domains/example.com/vpasswd").write_text(text)

    async def names() -> list[str]:
        return [user.name async for user in aio.users("example.com")]

    assert asyncio.run(names()) == [f"user{n:04}" for n in range(1000)]


def test_a_task_that_waits_for_a_thread_is_cancelled_before_it_begins(home: Home) -> None:
    async def work() -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        busy = threading.Event()
        blocker = loop.run_in_executor(None, busy.wait)
        waiting = asyncio.create_task(aio.add_domain("example.com"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        busy.set()
        await blocker

    asyncio.run(work())
    assert list(api.domains()) == []


def test_a_cancelled_task_s_call_is_finished(home: Home) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow() -> None:
        begun.set()
        assert go_on.wait(30)
        api.add_domain("example.com")

    async def work() -> None:
        task = asyncio.create_task(aio._waiting(slow)())
        await asyncio.to_thread(begun.wait, 30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        go_on.set()

    asyncio.run(work())  # the loop waits for its threads
    assert [domain.name for domain in api.domains()] == ["example.com"]
