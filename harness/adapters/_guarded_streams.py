"""Guarded streams: a generator, sync or async, is one call from its first item to its end.

In    how to get a lease; a generator function
Out   a generator function that yields the same, and takes what is sent and thrown into it
Rule  exhaustion is success, an error is judged, closing early proves nothing; each item renews the lease
Why   a model that dies in the middle of a reply has failed, however well the call began
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any, Protocol


class Held(Protocol):
    """What a stream needs of a lease."""

    def renew(self) -> None:
        """Report that the stream is alive."""

    def settle(self) -> None:
        """Report that it ended well."""

    def failed(self, error: BaseException) -> None:
        """Report how it broke."""


def guarded_generator(
    admit: Callable[[], Held], function: Callable[..., Generator[Any, Any, Any]]
) -> Callable[..., Generator[Any, Any, Any]]:
    """Guard a generator function; it is admitted when the first item is asked for."""

    def stream(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        lease = admit()
        try:
            result = yield from _alive(lease, function(*args, **kwargs))
        except BaseException as error:
            lease.failed(error)
            raise
        lease.settle()
        return result

    return stream


def _alive(lease: Held, inner: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
    try:
        item = next(inner)
        while True:
            lease.renew()
            try:
                sent = yield item
            except GeneratorExit:
                inner.close()
                raise
            except BaseException as thrown:  # noqa: BLE001  # it is the inner generator's to judge
                item = inner.throw(thrown)
            else:
                item = inner.send(sent)
    except StopIteration as end:
        return end.value


def guarded_async_generator(
    admit: Callable[[], Held], function: Callable[..., AsyncGenerator[Any, Any]]
) -> Callable[..., AsyncGenerator[Any, Any]]:
    """Guard an async generator function; it is admitted when the first item is asked for."""

    async def stream(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        lease = admit()
        try:
            inner = function(*args, **kwargs)
            item = await anext(inner)
            while True:
                lease.renew()
                try:
                    sent = yield item
                except GeneratorExit:
                    await inner.aclose()
                    raise
                except BaseException as thrown:  # noqa: BLE001  # it is the inner generator's to judge
                    item = await inner.athrow(thrown)
                else:
                    item = await inner.asend(sent)
        except StopAsyncIteration:
            lease.settle()
        except BaseException as error:
            lease.failed(error)
            raise

    return stream
