"""A process that writes numbered updates at a steady rate, as a plain PUB does."""

import multiprocessing
import sys
import time
import uuid

import zmq

KEYS = 100


def write(collector: str, rate: int, seconds: float, written) -> None:
    """Send `rate` updates a second and count them in `written`; their bodies are 1, 2, 3 ..."""
    with zmq.Context() as context, context.socket(zmq.XPUB) as socket:
        socket.set(zmq.XPUB_NODROP, 1)
        socket.connect(collector)
        socket.recv()  # the collector has subscribed
        began = time.monotonic()
        for number in range(1, int(rate * seconds) + 1):
            while (time.monotonic() - began) * rate < number:
                time.sleep(0.002)  # noqa: TID251 - a process of its own, without a loop
            name = uuid.UUID(int=number).bytes
            socket.send_multipart([b"/%d" % (number % KEYS), bytes(8), name, b"", b"%d" % number])
            written.value = number
        socket.setsockopt(zmq.LINGER, 5000)


class Feed:
    """The process; `written` is how many updates it has sent so far."""

    def __init__(self, collector: str, rate: int, seconds: float):
        context = multiprocessing.get_context("spawn")
        self._written = context.Value("q", 0)
        arguments = (collector, rate, seconds, self._written)
        self._process = context.Process(target=write, args=arguments, daemon=True)

    def __enter__(self):
        # The tests' main module is pytest, which a spawned process must not run again.
        main, sys.modules["__main__"] = sys.modules["__main__"], sys.modules[__name__]
        try:
            self._process.start()
        finally:
            sys.modules["__main__"] = main
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.join()
        self._process.close()

    @property
    def written(self) -> int:
        return self._written.value

    @property
    def ended(self) -> bool:
        return not self._process.is_alive()
