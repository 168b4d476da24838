"""The pytest plugin, and fake_reactor() as a plain object."""

import gc
import subprocess
import sys
import warnings

import pytest
import zmq

from reactor import Handler, PeriodicHandler, Reactor, StreamHandler
from reactor.testing import FakeLoop, FakeNetwork, FakeReactor, fake_reactor

# fake_reactor()


def test_it_is_a_real_reactor_that_runs():
    reactor = fake_reactor()
    assert isinstance(reactor, Reactor)
    assert type(reactor) is FakeReactor
    assert type(reactor.loop) is FakeLoop
    assert type(reactor.network) is FakeNetwork
    assert reactor.running
    assert reactor.loop.deadlines == ()
    reactor.close()


def test_a_periodic_handler_ticks_in_virtual_time():
    ticks = []

    class Heart(PeriodicHandler):
        interval = 1.0

        def on_tick(self):
            ticks.append(self.reactor.now())

    with fake_reactor() as reactor:
        reactor.register(Heart())
        reactor.loop.advance(3.5)
    assert ticks == [1.0, 2.0, 3.0]


def test_closing_runs_on_stop_and_closes_the_streams():
    ended = []

    class Goodbye(Handler):
        def on_stop(self):
            ended.append(True)

    reactor = fake_reactor()
    stream = reactor.open_stream(zmq.PULL)
    reactor.register(Goodbye())
    reactor.close()
    reactor.close()
    assert ended == [True]
    assert stream.closed
    assert not reactor.running
    assert reactor.loop.is_closed()


def test_a_loop_that_was_given_is_left_open(fake_network):
    with fake_reactor(fake_network) as reactor:
        assert reactor.loop is fake_network.loop
    assert not fake_network.loop.is_closed()


def test_a_strict_reactor_raises_what_a_hook_raised():
    class Broken(StreamHandler):
        def on_message(self, frames):
            raise LookupError("in a hook")

    reactor = fake_reactor(strict=True)
    stream = reactor.open_stream(zmq.PULL)
    reactor.register(Broken(stream))
    stream.deliver(b"x")
    reactor.loop.advance(1)
    with pytest.raises(LookupError, match="in a hook"):
        reactor.close()


def test_the_error_of_the_test_is_not_hidden_by_that_of_a_hook():
    class Broken(Handler):
        def on_stop(self):
            raise LookupError("in a hook")

    with pytest.raises(AssertionError), fake_reactor(strict=True) as reactor:
        reactor.register(Broken())
        raise AssertionError("in the test")


def test_options_reach_the_reactor():
    with fake_reactor(strict=True, stop_timeout=7.0, lag_interval=1.0) as reactor:
        assert reactor.strict
        assert reactor.stop_timeout == 7.0
        assert reactor.loop.deadlines == (1.0,)


def test_a_reactor_that_is_forgotten_leaves_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reactor = fake_reactor()
        reactor.register(PeriodicHandler())
        reactor.open_stream(zmq.PUSH, "@inproc://x").send(b"x")
        reactor.loop.advance(1)
        del reactor
        gc.collect()


# Fixtures


def test_the_fixtures_belong_together(fake_loop, fake_network, fake_reactor):
    assert fake_loop.time() == 0.0
    assert fake_network.loop is fake_loop
    assert fake_network.seed == 0
    assert fake_reactor.network is fake_network
    assert fake_reactor.running


async def test_they_work_in_a_coroutine_test(fake_reactor):
    inbox = []
    stream = fake_reactor.open_stream(zmq.PULL)
    stream.on_message(inbox.append)
    stream.deliver(b"x")
    fake_reactor.loop.run_pending()
    assert inbox == [[b"x"]]


@pytest.fixture
def run(pytester, monkeypatch):
    """Run a file of tests with the plugin, and without all others."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def run(source, *options):
        pytester.makepyfile(source)
        return pytester.runpytest_inprocess("-preactor.testing.plugin", *options)

    return run


def test_a_project_that_installs_us_has_the_fixtures(run):
    run(
        """
        import zmq

        def test_loop(fake_loop):
            fake_loop.advance(1)

        def test_network(fake_network):
            assert fake_network.dropped == 0

        def test_reactor(fake_reactor):
            stream = fake_reactor.open_stream(zmq.PUSH)
            stream.send(b"x")
            assert stream.take_sent() == [(b"x",)]
        """
    ).assert_outcomes(passed=3)


def test_the_fixtures_explain_themselves(run):
    result = run("def test_nothing(): pass", "--fixtures")
    for name in ("fake_loop", "fake_network", "fake_reactor"):
        result.stdout.re_match_lines([rf"{name} -- .*plugin.py:\d+", r"    A .*\."])


def test_the_reactor_is_stopped_when_the_test_is_over(run):
    run(
        """
        import pytest
        from reactor import Handler

        ended = []

        class Goodbye(Handler):
            def on_stop(self):
                ended.append(True)

        def test_first(fake_reactor):
            fake_reactor.register(Goodbye())
            assert ended == []

        def test_second():
            assert ended == [True]
        """
    ).assert_outcomes(passed=2)


def test_an_error_that_nobody_has_seen_fails_the_test(run):
    result = run(
        """
        def test_loop(fake_loop):
            fake_loop.call_exception_handler({"message": "left in the loop"})

        def test_reactor(fake_reactor):
            async def broken():
                raise LookupError("left in a task")
            fake_reactor.loop.create_task(broken())
        """
    )
    result.assert_outcomes(passed=2, errors=2)
    result.stdout.fnmatch_lines(["*RuntimeError: left in the loop*", "*LookupError: left in a*"])


def test_a_hook_that_never_ends_fails_no_test_and_leaves_no_warning(run):
    run(
        """
        import zmq
        from reactor import StreamHandler

        class Endless(StreamHandler):
            async def on_message(self, frames):
                await self.reactor.loop.create_future()

        def test_it(fake_reactor):
            stream = fake_reactor.open_stream(zmq.PULL)
            fake_reactor.register(Endless(stream))
            stream.deliver(b"x")
            fake_reactor.loop.run_pending()
        """
    ).assert_outcomes(passed=1)


@pytest.mark.parametrize("module", ["reactor.testing.plugin", "reactor.testing"])
def test_loading_the_plugin_imports_nothing_heavy(module):
    program = (
        f"import pytest, sys; before = set(sys.modules); import {module};"
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, check=True, text=True, timeout=50
    )
    loaded = done.stdout.split()
    assert set(loaded) <= {"reactor", "reactor.testing", "reactor.testing.plugin"}


def test_the_public_names_are_these():
    import reactor.testing

    assert sorted(reactor.testing.__all__) == [
        "FakeLoop",
        "FakeNetwork",
        "FakeReactor",
        "FakeStream",
        "Node",
        "Simulation",
        "fake_reactor",
    ]
    assert all(getattr(reactor.testing, name) for name in reactor.testing.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        reactor.testing.Nothing  # noqa: B018 - the look-up is the test
