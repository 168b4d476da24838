"""The operator's port: what is asked, what is ordered, and what is neither."""

import json

import pytest
import zmq

from patterns.binary_star.control import ControlPort, decode_answer
from patterns.binary_star.handlers import BinaryStar
from patterns.binary_star.messages import Role


class Server:
    """Notes its orders; refuses what it is told to refuse."""

    def __init__(self):
        self.orders = []
        self.refuses = ""

    def describe(self):
        return {"state": "active", "orders": len(self.orders)}

    def switchover(self):
        self.orders.append("switchover")
        return self.refuses

    def promote(self, *, force=False):
        self.orders.append("force" if force else "promote")
        return self.refuses


@pytest.fixture
def port(fake_reactor):
    """A control port on one stream, and its server."""
    port = ControlPort(fake_reactor.open_stream(zmq.ROUTER), Server())
    fake_reactor.register(port)
    return port


def ask(port, *frames):
    port.stream.deliver(b"operator", *frames)
    port.reactor.loop.run_pending()
    return [answer[1:] for answer in port.stream.take_sent()]


@pytest.mark.parametrize(
    ("order", "followed"),
    [
        ((b"STATUS",), []),
        ((b"SWITCHOVER",), ["switchover"]),
        ((b"PROMOTE",), ["promote"]),
        ((b"PROMOTE", b"force"), ["force"]),
    ],
)
def test_an_order_is_followed_and_answered_with_the_status_after_it(port, order, followed):
    (answer,) = ask(port, *order)
    assert port._server.orders == followed
    assert decode_answer(list(answer)) == ("", {"state": "active", "orders": len(followed)})


def test_a_refusal_carries_its_reason(port):
    port._server.refuses = "the peer is not heard"
    (answer,) = ask(port, b"SWITCHOVER")
    assert decode_answer(list(answer))[0] == "the peer is not heard"


@pytest.mark.parametrize(
    "frames", [(), (b"",), (b"status",), (b"ICANHAZ?", b""), (b"STATUS", b"x"), (b"PROMOTE", b"x")]
)
def test_anything_else_is_refused_counted_and_not_answered(port, frames):
    assert ask(port, *(frames or (b"\xff",))) == []
    assert port.refused == 1 and port._server.orders == []


@pytest.mark.parametrize(
    "frames", [[], [b"OK"], [b"NO", b"", b"{}"], [b"OK", b"", b"[]"], [b"OK", b"", b"junk"]]
)
def test_what_is_no_answer_is_told(frames):
    with pytest.raises(ValueError):
        decode_answer(frames)


def test_a_pair_has_a_control_port_if_it_is_asked_for(fake_reactor):
    class Service:
        def become_active(self, epoch, forced): ...
        def become_passive(self, diverged_since): ...
        def suspend(self): ...
        def resume(self): ...

    star = BinaryStar(
        Role.BACKUP,
        Service(),
        state_bind="tcp://127.0.0.1:5004",
        state_connect="tcp://127.0.0.1:5003",
        control="tcp://127.0.0.1:5009",
    )
    fake_reactor.register(star)
    operator = fake_reactor.open_stream(zmq.DEALER, ">tcp://127.0.0.1:5009")
    answers = []
    operator.on_message(answers.append)
    operator.send(b"PROMOTE")
    fake_reactor.loop.run_until(lambda: answers)
    assert "no time yet to be heard" in decode_answer(answers.pop())[0]
    fake_reactor.loop.advance(2.0)
    operator.send(b"PROMOTE")
    fake_reactor.loop.run_until(lambda: answers)
    refusal, status = decode_answer(answers[0])
    assert refusal == ""
    assert (status["role"], status["state"], status["peer_state"]) == ("backup", "active", None)
    assert json.loads(answers[0][2])["mismatch"] == ""
