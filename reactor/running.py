"""run(): a process of its own for handlers, ended by signals."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

from reactor.handlers import Handler
from reactor.reactor import Reactor

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run(
    *handlers: Handler,
    strict: bool = False,
    stop_timeout: float = 1.0,
    on_ready: Callable[[Reactor], None] | None = None,
) -> None:
    """Run `handlers` on a loop of their own until one calls `reactor.stop()` or a signal comes.

    The first SIGINT or SIGTERM stops gracefully, a second one at once. `on_ready(reactor)` is
    called when all have started. Raises what a handler's start raised, or a strict one's error.
    """
    asyncio.run(_serve(handlers, strict, stop_timeout, on_ready))


async def _serve(
    handlers: tuple[Handler, ...],
    strict: bool,
    stop_timeout: float,
    on_ready: Callable[[Reactor], None] | None,
) -> None:
    loop = asyncio.get_running_loop()
    async with Reactor(strict=strict, stop_timeout=stop_timeout) as reactor:
        restore = _install_signals(loop, lambda: reactor.stop(hard=reactor.stopping))
        try:
            await reactor.register(*handlers)
            if on_ready is not None:
                on_ready(reactor)
            await reactor.stopped()
        finally:
            restore()


def _install_signals(
    loop: asyncio.AbstractEventLoop, on_signal: Callable[[], None]
) -> Callable[[], None]:
    """Call `on_signal` on the loop at each signal; returns what undoes that."""
    try:
        for number in _SIGNALS:
            loop.add_signal_handler(number, on_signal)
    except (NotImplementedError, RuntimeError, ValueError):
        # Windows, or not the main thread: there KeyboardInterrupt ends the loop.
        return lambda: None

    def restore() -> None:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)

    return restore
