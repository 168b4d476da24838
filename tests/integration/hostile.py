"""What nobody should send: random frame lists, and bytes that are no ZMTP. All from one seed."""

import random
import socket
import struct
from contextlib import suppress

import zmq

from patterns.binary_star.messages import PeerState, Role, State
from patterns.clone.messages import (
    KVMessage,
    MalformedMessage,
    heartbeat,
    snapshot_end,
    snapshot_request,
)
from patterns.clone.packs import encode_pack
from patterns.clone.peer_link import (
    Renewed,
    encode_append,
    encode_held,
    encode_hello,
    encode_position,
    encode_renewed,
)

UUID = bytes(range(16))
# What peers send; most of what is hostile is one of these with something wrong.
GOOD = [
    KVMessage(b"/a/key", 0, UUID, b"ttl=5\n", b"value").encode(),
    KVMessage(b"key", 1 << 40, b"", b"", b"").encode(),
    heartbeat(b"seq=7\nhb=1000\nrole=active\n"),
    snapshot_end(7, b"/a/", b"chpx=1\nn=3\n"),
    snapshot_request(b"/a/"),
    (PeerState(Role.PRIMARY, State.ACTIVE).encode(),),
    encode_hello(7, 9),
    encode_held(7, 1),
    encode_position(7, 1),
    encode_renewed(Renewed(7, 8)),
    encode_append([KVMessage(b"/a/key", 8, UUID, b"", b"").encode()] * 2),
    encode_pack([KVMessage(b"/a/key", 8, UUID, b"ttl=5\n", b"value").encode()]),
]
FRAMES = [
    *(b"", b"\0", b"\1", b"\2", b"\1HUGZ", b"HUGZ", b"KTHXBAI", b"ICANHAZ?", b"icanhaz?", b"x"),
    *(b"LINK", b"HELD", b"POSITION", b"RENEWED", b"APPEND", b"KVPACK"),
    *(bytes(7), bytes(8), bytes(9), b"\xff" * 8, b"\x7f" + b"\xff" * 7, bytes(4), UUID, UUID[1:]),
    *(b"k" * 255, b"k" * 256, b"v" * 5000, b"ttl=5\n", b"ttl=nan\n", b"ttl=inf\n", b"ttl=-1\n"),
    *(b"ttl=1e9\n", b"ttl=5\nttl=6\n", b"=\n", b"a=b", b"\n", b"\xff\xfe=\n", b"a=b\n" * 40),
    *(b"1", b"2", b"5", b"9", b"pair=1\n", b"pair=1\nrole=primary\nstate=active\n"),
]


def frame_lists(seed, count, is_good):
    """`count` lists of 1 to 12 frames which `is_good(frames)` says are no message."""
    chance = random.Random(seed)
    made = 0
    while made < count:
        frames = _mutated(chance) if chance.random() < 0.7 else _anything(chance)
        if not is_good(frames):
            made += 1
            yield frames


def _anything(chance):
    return tuple(_frame(chance) for _ in range(chance.randint(1, 12)))


def _frame(chance):
    if chance.random() < 0.7:
        return chance.choice(FRAMES)
    return chance.randbytes(chance.randint(0, 40))


def _mutated(chance):
    frames = list(chance.choice(GOOD))
    for _ in range(chance.randint(1, 3)):
        position = chance.randrange(len(frames))
        match chance.randrange(5):
            case 0 if len(frames) > 1:
                del frames[position]
            case 1:
                frames.insert(position, _frame(chance))
            case 2:
                frames[position] = _frame(chance)
            case 3:
                frames[position] = frames[position][: chance.randint(0, len(frames[position]))]
            case _:
                frames[position] += chance.randbytes(1)
    return tuple(frames)


def decodes(*decoders):
    """Whether one of them takes some frames for a message of its port."""

    def is_good(frames):
        for decode in decoders:
            with suppress(MalformedMessage, ValueError):
                decode(frames)
                return True
        return False

    return is_good


def state_of(frames):
    """The heartbeat of a peer, from its frames; raises ValueError."""
    (frame,) = frames
    return PeerState.decode(frame)


# Below ZeroMQ

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
MORE, LONG, COMMAND = 1, 2, 4


def command(name, body):
    content = bytes([len(name)]) + name + body
    return bytes([COMMAND, len(content)]) + content


def ready(socket_type):
    name = b"Socket-Type"
    value = zmq.SocketType(socket_type).name.encode()
    return command(b"READY", bytes([len(name)]) + name + struct.pack("!I", len(value)) + value)


def long_frame(size, flags=0):
    """The header of a frame of so many bytes."""
    return struct.pack("!BQ", LONG | flags, size)


def streams(seed, good_type):
    """What to send to a port whose peers are of `good_type`, by what is wrong with it.

    Each is two byte strings: at once, and when the other side has said READY; before that, libzmq
    takes every frame for a part of the handshake.
    """
    chance = random.Random(seed)
    peer = GREETING + ready(good_type)
    return {
        "nothing": (b"", b""),
        "noise": (chance.randbytes(2000), b""),
        "http": (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b""),
        "half a greeting": (GREETING[:20], b""),
        "noise after a greeting": (GREETING + chance.randbytes(2000), b""),
        "another mechanism": (GREETING[:12] + b"CURVE".ljust(20, b"\0") + bytes(32), b""),
        "a wrong type": (GREETING + ready(zmq.PAIR), b""),
        "no command": (GREETING + bytes([0, 3]) + b"abc", b""),
        "a command that lies": (GREETING + bytes([COMMAND, 7]) + b"\x05READY\xff", b""),
        "messages before READY": (peer + bytes([MORE, 1, 120]) * 100, b""),
        "noise after READY": (peer, chance.randbytes(2000)),
        "an unknown command": (peer, command(b"HELLO", chance.randbytes(20))),
        "ten thousand frames": (peer, bytes([MORE, 1, 120]) * 10_000 + bytes([0, 1, 120])),
        "half a message": (peer, bytes([MORE, 1, 120]) * 10_000),
        "a frame that never ends": (peer, long_frame(1 << 20) + b"x" * 1000),
    }


def send_bytes(endpoint, at_once, after_ready):
    """Connect, send, and wait until the other side has read all of it and hung up."""
    host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
    with socket.create_connection((host, int(port)), 10) as connection:
        try:
            connection.sendall(at_once)
            if after_ready:
                wait_for_ready(connection)
                connection.sendall(after_ready)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass
        except ConnectionError:
            pass  # it has hung up before we were done


def wait_for_ready(connection):
    """Read the greeting and the READY of the other side."""
    heard = b""
    while b"READY" not in heard:
        heard += connection.recv(65536) or _hung_up()


def _hung_up():
    raise AssertionError("the other side ends a handshake without a fault")
