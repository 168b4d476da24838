"""Packed snapshots: strict at the receiver, offered first, and nothing changes for anybody else."""

import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from patterns.clone import model4, model5, snapshots
from patterns.clone.messages import (
    MAX_BODY,
    MAX_KEY,
    RESERVED_KEYS,
    MalformedMessage,
    check_update,
    decode_snapshot_end,
    encode_sequence,
    snapshot_request,
)
from patterns.clone.packs import (
    KVPACK,
    MAX_ENTRIES,
    PACK_BYTES,
    PACK_ENTRIES,
    decode_pack,
    encode_pack,
    split,
)

from .services import contents, heartbeats, update

ENTRY = (b"/a/key", encode_sequence(7), bytes(16), b"", b"body")

entries_of_a_pack = st.lists(
    st.tuples(
        st.binary(min_size=1, max_size=MAX_KEY).filter(lambda key: key not in RESERVED_KEYS),
        st.integers(0, 2**63 - 1).map(encode_sequence),
        st.sampled_from([b"", bytes(16), b"0123456789abcdef"]),
        st.sampled_from([b"", b"ttl=5\n", b"a=b\nttl=1.5"]),
        st.binary(min_size=1, max_size=50),
    ),
    min_size=1,
    max_size=20,
)


def pack_of(*entries, lengths=None, data=None):
    """A pack whose lengths or data are not what the entries say."""
    _, right_lengths, right_data = encode_pack(entries)
    return (KVPACK, right_lengths if lengths is None else lengths, data or right_data)


@given(entries_of_a_pack)
def test_what_is_packed_comes_out_as_it_was(entries):
    assert decode_pack(encode_pack(entries)) == entries


@pytest.mark.parametrize(
    "entry",
    [
        (b"", *ENTRY[1:]),
        (b"k" * (MAX_KEY + 1), *ENTRY[1:]),
        *((word, *ENTRY[1:]) for word in RESERVED_KEYS),
        (ENTRY[0], bytes(7), *ENTRY[2:]),
        (ENTRY[0], b"\xff" * 8, *ENTRY[2:]),
        (*ENTRY[:2], bytes(15), *ENTRY[3:]),
        (*ENTRY[:3], b"ttl=-1\n", ENTRY[4]),
        (*ENTRY[:3], b"x" * 5000, ENTRY[4]),
        (*ENTRY[:4], b""),
        (*ENTRY[:4], bytes(MAX_BODY + 1)),
    ],
)
def test_an_entry_that_no_update_could_be_is_refused_with_its_pack(entry):
    with pytest.raises(MalformedMessage):
        decode_pack(encode_pack([ENTRY, entry, ENTRY]))


@pytest.mark.parametrize(
    "frames",
    [
        (KVPACK,),
        (KVPACK, b"", b""),
        (KVPACK, bytes(20), b""),
        (b"KVPACKS", *encode_pack([ENTRY])[1:]),
        pack_of(ENTRY, lengths=encode_pack([ENTRY])[1][:-1]),
        pack_of(ENTRY, lengths=encode_pack([ENTRY])[1] + b"\0"),
        pack_of(ENTRY, data=encode_pack([ENTRY])[2] + b"x"),
        pack_of(ENTRY, data=encode_pack([ENTRY])[2][:-1]),
        pack_of(ENTRY, lengths=struct.pack("!5I", 2**32 - 1, 8, 0, 0, 1)),
        encode_pack([ENTRY] * (MAX_ENTRIES + 1)),
    ],
)
def test_a_pack_that_is_not_what_its_lengths_say_is_refused(frames):
    with pytest.raises(MalformedMessage):
        decode_pack(frames)


@given(entries_of_a_pack, st.data())
@example([ENTRY], None)
def test_of_a_damaged_pack_nothing_bad_gets_through(entries, data):
    frames = [*encode_pack(entries)]
    for _ in range(data.draw(st.integers(1, 3)) if data else 0):
        place = data.draw(st.integers(1, 2))
        damaged = bytearray(frames[place])
        where = data.draw(st.integers(0, len(damaged) - 1))
        if data.draw(st.booleans()):
            damaged[where] = data.draw(st.integers(0, 255))
        else:
            del damaged[where]
        frames[place] = bytes(damaged)
        if not damaged:
            break
    try:
        decoded = decode_pack(frames)
    except MalformedMessage:
        return
    for entry in decoded:
        check_update(entry)


@given(st.lists(st.integers(1, 2 * PACK_BYTES), min_size=1, max_size=300))
def test_a_pack_has_a_limit_of_entries_and_of_bytes(sizes):
    entries = [(*ENTRY[:4], bytes(size)) for size in sizes]
    start = 0
    while start < len(entries):
        end = split(entries, start)
        assert 0 < end - start <= PACK_ENTRIES
        assert sum(sizes[start : end - 1]) <= PACK_BYTES
        start = end


# On the network


def filled(service, count=1000, **options):
    server = service.server(**options)
    writer = service.writer()
    for number in range(count):
        properties = b"ttl=60\n" if number % 10 == 0 else b""
        writer.send(*update(b"/%d/%d" % (number % 2, number), b"1", properties=properties))
    service.loop.run_until(lambda: len(server.protocol.store) == count)
    return server


def test_a_client_takes_a_packed_snapshot_from_a_server_that_offers_it(service, monkeypatch):
    packed = []
    monkeypatch.setattr(
        snapshots, "encode_pack", lambda entries: packed.append(entries) or encode_pack(entries)
    )
    server = filled(service)
    client = service.live(service.client())
    assert contents(client) == contents(server)
    assert sum(map(len, packed)) == 1000
    assert len(packed) < 20


def test_a_client_of_a_subtree_gets_that_alone_with_the_time_that_is_left(service):
    server = filled(service)
    service.loop.advance(20.0)
    client = service.live(service.client(subtree=b"/0/"))
    assert contents(client) == {
        key: body for key, body in contents(server).items() if key.startswith(b"/0/")
    }
    deadlines = client.protocol.store
    assert deadlines.remaining_ttl(b"/0/0", service.loop.time()) == 40
    assert deadlines.remaining_ttl(b"/0/2", service.loop.time()) is None


def test_clients_that_join_together_share_the_packs(service, monkeypatch):
    packed = []
    monkeypatch.setattr(
        snapshots, "encode_pack", lambda entries: packed.append(entries) or encode_pack(entries)
    )
    server = service.server()
    writer = service.writer()
    for number in range(1000):
        writer.send(*update(b"%d" % number, b"1"))
    service.loop.run_until(lambda: len(server.protocol.store) == 1000)
    clients = [service.client(name=f"client-{number}") for number in range(20)]
    for client in clients:
        service.live(client)
        assert contents(client) == contents(server)
    assert len(packed) <= 1000 / PACK_ENTRIES


def test_who_does_not_ask_gets_messages_of_five_frames(service):
    filled(service)
    *entries, end = service.snapshot()
    assert {len(frames) for frames in entries} == {5}
    assert decode_snapshot_end(end).entries == len(entries) == 1000


def test_the_offer_is_in_the_heartbeat(service):
    service.server()
    subscriber = service.subscriber()
    service.loop.advance(1.5)
    assert b"feat=pack\n" in heartbeats(subscriber.arrived)[0][3]


def test_a_server_that_does_not_offer_is_asked_as_ever_and_answers_as_ever(service):
    server = filled(service)
    server.protocol._heartbeats.packs = False
    requests = []
    receive = server.receive_snapshot_request
    server.receive_snapshot_request = lambda *request: (requests.append(request), receive(*request))
    client = service.live(service.client())
    assert [packed for *_, packed in requests] == [False]
    assert contents(client) == contents(server)
    dealer = service.dealer()
    dealer.send(*snapshot_request(packed=True))  # as one does who heard an offer once
    service.loop.run_until(lambda: dealer.arrived and dealer.arrived[-1][0] == b"KTHXBAI")
    assert {len(frames) for frames in dealer.arrived} == {5}


def test_models_in_the_simple_form_do_not_offer_it():
    assert not model4.Server().protocol.packs
    assert model5.Server().protocol.packs


def test_a_third_frame_that_is_something_else_is_refused(service):
    server = service.server()
    dealer = service.dealer()
    dealer.send(*snapshot_request(), b"pack=2\n")
    service.loop.advance(1.0)
    assert dealer.arrived == []
    assert server.statistics().messages_refused == 1


def test_a_pack_that_nobody_asked_for_is_refused(service):
    server = filled(service, 10)
    server.protocol._heartbeats.packs = False
    server.receive_snapshot_request = lambda identity, *_: server._router.send(
        identity, *encode_pack([ENTRY])
    )
    client = service.client()
    service.loop.run_until(lambda: client.statistics().refused)
    assert not client.protocol.live
    assert contents(client) == {}
