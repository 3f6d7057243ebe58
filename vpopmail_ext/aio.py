"""`vpopmail_ext.api` for asyncio: the same names as coroutines, over the event loop's threads.

What gives an iterator there gives an asynchronous one here, and errors come with its first step. A
task that waits may be cancelled at any time: the call that is under way is finished by its thread
(nothing is left half done), one that still waits for a thread is not begun.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from itertools import islice
from typing import Any, ParamSpec, TypeVar

from vpopmail_ext import api

_P = ParamSpec("_P")
_T = TypeVar("_T")

_BATCH = 256


def _waiting(function: Callable[_P, _T]) -> Callable[_P, Coroutine[Any, Any, _T]]:
    @functools.wraps(function)
    async def call(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        return await asyncio.to_thread(function, *args, **kwargs)

    return call


def _streaming(function: Callable[_P, Iterator[_T]]) -> Callable[_P, AsyncIterator[_T]]:
    @functools.wraps(function)
    async def give(*args: _P.args, **kwargs: _P.kwargs) -> AsyncIterator[_T]:
        found = await asyncio.to_thread(function, *args, **kwargs)

        def batch() -> list[_T]:
            return list(islice(found, _BATCH))

        while items := await asyncio.to_thread(batch):
            for item in items:
                yield item

    return give


add_alias = _waiting(api.add_alias)
add_alias_domain = _waiting(api.add_alias_domain)
add_alias_domain_ex = _waiting(api.add_alias_domain_ex)
add_domain = _waiting(api.add_domain)
add_domain_ex = _waiting(api.add_domain_ex)
add_user = _waiting(api.add_user)
add_users = _waiting(api.add_users)
alias = _waiting(api.alias)
aliases = _streaming(api.aliases)
authenticate = _waiting(api.authenticate)
default_domain = _waiting(api.default_domain)
delete_alias = _waiting(api.delete_alias)
delete_domain = _waiting(api.delete_domain)
delete_domain_ex = _waiting(api.delete_domain_ex)
delete_user = _waiting(api.delete_user)
domain = _waiting(api.domain)
domains = _streaming(api.domains)
last_auth = _waiting(api.last_auth)
limits = _waiting(api.limits)
quota_usage = _waiting(api.quota_usage)
rebuild = _waiting(api.rebuild)
remove_alias_line = _waiting(api.remove_alias_line)
set_alias = _waiting(api.set_alias)
set_flags = _waiting(api.set_flags)
set_last_auth = _waiting(api.set_last_auth)
set_limits = _waiting(api.set_limits)
set_password = _waiting(api.set_password)
set_quota = _waiting(api.set_quota)
sign_in = _waiting(api.sign_in)
split_address = _waiting(api.split_address)
user = _waiting(api.user)
users = _streaming(api.users)
