"""A spawner whose workers a test plays: they say and do what they are told."""

import zmq

from patterns.black_box.messages import READY, STOP, Done, decode_work, encode_done
from patterns.black_box.worker_handlers import Worker
from reactor.testing import FakeReactor


class ScriptedWorker:
    """A worker on a stream of its own, which keeps what it is given."""

    pid = None

    def __init__(self, reactor, post, on_exit):
        self.post = post
        self.messages = []
        self.stopping = False
        self.killed = False
        self._done = 0
        self._on_exit = on_exit
        self._stream = reactor.open_stream(
            zmq.DEALER,
            post.box,
            unmarked="connect",
            name=f"worker-{post.worker.identity.decode()}",
            options={zmq.IDENTITY: post.worker.identity},
        )
        self._stream.on_message(self._receive)

    def _receive(self, frames):
        if frames == [STOP]:
            self.stopping = True
        else:
            self.messages += decode_work(frames)[1]

    @property
    def bodies(self):
        return b"".join(frames[1] for frames in self.messages)

    def ready(self):
        self._stream.send(READY)

    def report(self, done, failed=0):
        self._stream.send(*encode_done(Done(done, failed)))

    def send(self, *frames):
        self._stream.send(*frames)

    def end(self, cause="signal 9"):
        self._stream.close()
        self._on_exit(cause)

    def kill(self):
        if not self.killed:
            self.killed = True
            self.end()


class ScriptedSpawner:
    """Starts scripted workers; those with `ready=True` get ready by themselves."""

    def __init__(self, reactor, ready=True):
        self._reactor = reactor
        self._ready = ready
        self.workers = []

    def start(self, post, on_exit):
        worker = ScriptedWorker(self._reactor, post, on_exit)
        self.workers.append(worker)
        if self._ready:
            worker.ready()
        return worker

    def of(self, shard):
        """The newest worker of a shard."""
        return [worker for worker in self.workers if worker.post.worker.shard == shard][-1]


class FakeSpawner:
    """Starts real workers on fake reactors of the same network."""

    def __init__(self, reactor, make_work):
        self._network = reactor.network
        self._make_work = make_work
        self.works = []

    def start(self, post, on_exit):
        return _FakeRunning(self, post, on_exit)

    def run(self, post):
        reactor = FakeReactor(self._network.loop, network=self._network, lag_interval=None)
        self.works.append(self._make_work())
        reactor.register(Worker(post, self.works[-1]))
        return reactor


class _FakeRunning:
    pid = None

    def __init__(self, spawner, post, on_exit):
        self._reactor = spawner.run(post)
        self._on_exit = on_exit
        self._task = spawner._network.loop.create_task(self._run())

    async def _run(self):
        await self._reactor.start()
        await self._reactor.stopped()
        self._on_exit("ended")

    def kill(self):
        self._reactor.stop(hard=True)
