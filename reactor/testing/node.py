"""Node: one simulated machine, with what runs on it, its clocks and what it has stored."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from reactor.errors import ReactorError
from reactor.handlers import Handler
from reactor.reactor import Reactor
from reactor.testing.chance import seeded
from reactor.testing.node_loop import NodeLoop

if TYPE_CHECKING:
    from reactor.testing.channels import FakeChannel
    from reactor.testing.simulation import Simulation

T = TypeVar("T")
Build = Callable[["Node"], "Handler | Iterable[Handler]"]

_WALL_BEGINNING = 1_800_000_000.0  # Unix time when a simulation begins; what it is says nothing
_BOOT_SECONDS = 100_000.0  # nodes have been up for up to so long when a simulation begins


class Node:
    """A machine of a `Simulation`, made by `Simulation.node()`.

    `build(node)` makes the handlers each time the node starts, as a new process would. `storage` is
    the disk: what is in it is there after a crash. `random` and `make_uuid` are this node's own
    chance, out of the simulation's seed. `drift` is how much too fast its clocks run: 1e-4 is a
    tenth of a second in 1000 s.
    """

    def __init__(self, simulation: Simulation, name: str, build: Build, drift: float) -> None:
        self.simulation = simulation
        self.name = name
        self.storage: dict[str, Any] = {}
        self.starts = 0
        self.random = seeded(f"{simulation.seed} node {name}")
        self._build = build
        self._drift = drift
        self._wall_offset = 0.0
        self._began = self.random.uniform(0.0, _BOOT_SECONDS)
        self._loop: NodeLoop | None = None
        self._reactor: Reactor | None = None
        self._handlers: tuple[Handler, ...] = ()
        self._paused = False
        self._dark: list[FakeChannel] = []  # of a process that ended with the machine's power

    # What runs

    @property
    def running(self) -> bool:
        """True from `start()` until `crash()` or `stop()`, also while paused."""
        return self._loop is not None

    @property
    def paused(self) -> bool:
        """True between `pause()` and `resume()`."""
        return self._paused

    @property
    def reactor(self) -> Reactor:
        """The real reactor of the running process; raises ReactorError if there is none."""
        if self._reactor is None:
            raise ReactorError(f"{self.name} is not running")
        return self._reactor

    @property
    def handlers(self) -> tuple[Handler, ...]:
        """What `build` made for the running process, empty until it has started."""
        return self._handlers

    @property
    def handler(self) -> Any:
        """The first of `handlers`; raises ReactorError if there is none."""
        if not self._handlers:
            raise ReactorError(f"{self.name} is not running")
        return self._handlers[0]

    def start(self) -> None:
        """Start a process on the machine: its handlers run from the next turn of the loop on."""
        if self._loop is not None:
            raise ReactorError(f"{self.name} is running already")
        self.starts += 1
        for channel in self._dark:
            channel.power_is_back()
        self._dark = []
        self.simulation.note(f"{self.name} starts")
        self._loop = loop = NodeLoop(
            self.simulation.loop, self.name, 1.0 + self._drift, self._began
        )
        if self._paused:
            loop.pause()
        self._reactor = Reactor(loop, network=self.simulation.network, lag_interval=None)
        loop.create_task(self._boot(self._reactor))

    async def _boot(self, reactor: Reactor) -> None:
        await reactor.start()
        built = self._build(self)
        self._handlers = (built,) if isinstance(built, Handler) else tuple(built)
        for handler in self._handlers:
            handler.name = handler.name or self.name
        await reactor.register(*self._handlers)

    def crash(self, *, power: bool = False) -> None:
        """End the process at once, without a hook; what it has sent still arrives.

        With `power` the machine fails: what is under way is lost, and its peers are not told until
        it starts again. Harmless if nothing runs.
        """
        if self._loop is None:
            return
        self.simulation.note(f"{self.name} crashes{' with its machine' if power else ''}")
        self._loop.kill()
        for channel in self._loop.channels:
            channel.lose_power() if power else channel.close(0)
        self._dark = self._loop.channels if power else []
        self._loop = self._reactor = None
        self._handlers = ()
        self._paused = False

    def restart(self, *, wipe: bool = False, power: bool = False) -> None:
        """Crash, if it runs, and start anew; `wipe` empties `storage` in between."""
        self.crash(power=power)
        if wipe:
            self.storage.clear()
        self.start()

    def stop(self) -> None:
        """Let the process end by its own will: hooks run, as at SIGTERM; time passes."""
        if self._loop is None:
            return
        self.simulation.note(f"{self.name} stops")
        reactor = self.reactor
        if reactor.running:
            self.run(_stop(reactor))
        self.crash()

    def pause(self) -> None:
        """Hold the machine's timers and inbox, as SIGSTOP or a long collection does; idempotent."""
        self.simulation.note(f"{self.name} pauses")
        self._paused = True
        if self._loop is not None:
            self._loop.pause()

    def resume(self) -> None:
        """Let come at once what was held since `pause()`; idempotent."""
        self.simulation.note(f"{self.name} resumes")
        self._paused = False
        if self._loop is not None:
            self._loop.resume()

    def call_soon(self, callback: Callable[..., Any], *args: Any) -> None:
        """Call `callback(*args)` on the node's loop when it runs next; never if nothing runs."""
        if self._loop is not None:
            self._loop.call_soon(callback, *args)

    def run(self, coroutine: Coroutine[Any, Any, T], timeout: float = 60.0) -> T:
        """Run a coroutine on the node, let time pass until it is done, and return its result.

        Raises what it raised, and errors as `FakeLoop.run_until` does; it is cancelled then.
        """
        if self._loop is None:
            coroutine.close()
            raise ReactorError(f"{self.name} is not running")
        task = self._loop.create_task(coroutine)
        try:
            self.simulation.loop.run_until(task.done, timeout)
        except BaseException:
            task.cancel()
            raise
        return task.result()

    # Its clocks and its chance

    def wall_clock(self) -> float:
        """Unix time in seconds as this node believes it to be."""
        now = self.simulation.loop.time()
        return _WALL_BEGINNING + now * (1.0 + self._drift) + self._wall_offset

    def set_clock_forward(self, seconds: float) -> None:
        """Let the wall clock jump, back if `seconds` is negative; monotonic time never does."""
        self.simulation.note(f"{self.name} sets its clock by {seconds:+.3f} s")
        self._wall_offset += seconds

    def make_uuid(self) -> bytes:
        """Return 16 bytes that no other call has returned."""
        return self.random.randbytes(16)


async def _stop(reactor: Reactor) -> None:
    reactor.stop()
    await reactor.stopped()
