"""Tasks: how one waits for others, and which of a group's errors is the one to tell."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Any, NoReturn

PATIENCE_S = 10.0
"""How long others are waited for that are ending: saying goodbye to a broker takes two seconds at most."""


async def after(ending: Collection["asyncio.Task[Any]"], then: Callable[[], Awaitable[NoReturn]]) -> NoReturn:
    """Do something once others have ended, so that it finds the port or the name at a broker free."""
    if ending:
        await asyncio.wait(ending, timeout=PATIENCE_S)
    await then()


def first_of(group: BaseExceptionGroup[BaseException], kind: type[BaseException]) -> BaseException:
    """Return the first error of a kind that ended a group of tasks; or the group, when there is more in it than that.

    `except*` cannot serve here: what is raised from it is wrapped in a group again.
    """
    found, others = group.split(kind)
    if found is None or others is not None:
        return group
    error: BaseException = found
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
