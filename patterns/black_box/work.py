"""What the user's work is: a function, or a handler, named so that another process finds it."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from reactor import Handler

WorkFunction = Callable[[list[bytes]], "Awaitable[None] | None"]
"""Handles the frames of one message; may be a coroutine function."""


# The program's own file: as it calls itself, and as multiprocessing calls it in a child.
_MAIN = ("__main__", "__mp_main__")
EX_CONFIG = 78  # the exit status of a worker that has no work, as sysexits.h has it
_ERROR_LOG_SECONDS = 1.0  # a feed of bad messages must not become a log of tracebacks


class NoSuchWork(ValueError):
    """The work cannot be found or is nothing that takes messages."""


class Work(Handler):
    """Work with a beginning and an end: one instance in each worker, on the worker's own reactor.

    Override `on_message`; `on_start` may open streams by `self.reactor.open_stream`, to send
    results. A message whose hook raises is counted as failed, and the next one comes.
    """

    shard: int = 0
    """The number of the shard that this worker serves; set before `on_start`."""

    _next_error_log = 0.0

    def on_message(self, frames: list[bytes]) -> Awaitable[None] | None:
        """One message of this shard, in order; the next one comes when this hook is done."""
        return None

    def on_error(self, error: Exception) -> Awaitable[None] | None:
        """A hook raised: log it with its traceback, at most once a second, and go on."""
        now = self.reactor.now()
        if now >= self._next_error_log:
            self._next_error_log = now + _ERROR_LOG_SECONDS
            self.log.error("work failed", shard=self.shard, errors=self.errors, exc_info=error)
        return None


class FunctionWork(Work):
    """Work that is one function."""

    def __init__(self, function: WorkFunction) -> None:
        self.on_message = function  # type: ignore[assignment, method-assign]


AnyWork = str | WorkFunction | type[Work]
"""An import path, a function or a subclass of Work."""


def make_work(work: AnyWork) -> Work:
    """Return an instance of the work; raises NoSuchWork."""
    found: Any = load(work) if isinstance(work, str) else work
    if inspect.isclass(found):
        if not issubclass(found, Work):
            raise NoSuchWork(f"{found.__name__} is no subclass of Work")
        return found()
    if not callable(found):
        raise NoSuchWork(f"{work!r} is {type(found).__name__}, and cannot be called")
    return FunctionWork(found)


def path_of(work: AnyWork) -> str:
    """Return the import path under which another process finds the work; raises NoSuchWork."""
    if isinstance(work, str):
        if not all(work.rpartition(":")[::2]):
            raise NoSuchWork(f"work is named `module:function`, not {work!r}")
        return work
    name = getattr(work, "__qualname__", "")
    if not name or "<" in name:
        raise NoSuchWork(f"{work!r} has no name in a module: a process worker cannot find it")
    return f"{_home_of(work.__module__)}:{name}"


def _home_of(module: str) -> str:
    """Return the name to import a module by; the program's own file has to be named as a file."""
    if module not in _MAIN:
        return module
    main = sys.modules[module]
    if main.__spec__ is not None and main.__spec__.name not in _MAIN:
        return main.__spec__.name
    if getattr(main, "__file__", None) is None:
        raise NoSuchWork("what is defined at a prompt cannot be found by another process")
    return str(Path(str(main.__file__)).resolve())


def load(path: str) -> Any:
    """Return what `module:name` or `/file.py:name` leads to; raises NoSuchWork."""
    module_name, _, name = path.rpartition(":")
    if not module_name or not name:
        raise NoSuchWork(f"work is named `module:function`, not {path!r}")
    try:
        found: Any = _module(module_name)
        for part in name.split("."):
            found = getattr(found, part)
    except Exception as error:  # a module of the user's: importing it may raise anything
        raise NoSuchWork(f"cannot find {path}: {error!r}") from error
    return found


def _module(name: str) -> ModuleType:
    if not name.endswith(".py"):
        return importlib.import_module(name)
    # As the main program of the box, but not as __main__: it must not run once more.
    spec = importlib.util.spec_from_file_location("__box_main__", name)
    if spec is None or spec.loader is None:
        raise ImportError(f"{name} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
