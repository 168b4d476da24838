"""Levels of acknowledgement: what a write is told depends on how many servers hold it."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patterns.clone.client import ConditionsUnsupported, WriteError
from patterns.clone.client_protocol import Put, SendUpdate, WriteAcknowledged, WriteFailed
from patterns.clone.interest import Interest
from patterns.clone.levels import (
    APPLIED,
    REPLICATED,
    check_level,
    decode_level,
    is_replicated,
    with_level,
    without_level,
)
from patterns.clone.messages import (
    MalformedMessage,
    decode_snapshot_end,
    refusal,
    snapshot_end,
)
from patterns.clone.outbox import Outbox
from patterns.clone.store import KeyValueStore
from patterns.clone.writer import Writer

from .test_client_protocol import Joined, hugz, kvpub, only, seq

_uuids = itertools.count(1)

# On the wire


@pytest.mark.parametrize("level", [APPLIED, REPLICATED])
@pytest.mark.parametrize("others", [b"", b"ttl=5\n", b"ttl=5", b"ttl=5\nx-ack=1\n"])
def test_a_level_survives_the_wire_and_is_taken_off_the_value(others, level):
    frame = with_level(others, level)
    assert decode_level(frame) == level
    assert decode_level(others) is None
    assert without_level(frame) == (others and others.rstrip(b"\n") + b"\n")
    assert without_level(others) == without_level(frame)


def test_the_level_is_found_wherever_it_stands():
    assert decode_level(b"ttl=5\nack=replicated\nif-sequence=0\n") == REPLICATED
    assert decode_level(b"ack=replicated") == REPLICATED
    assert without_level(b"ack=applied\nttl=5\n") == b"ttl=5\n"


@pytest.mark.parametrize(
    "frame",
    [b"ack=\n", b"ack=Replicated\n", b"ack=all\n", b"ack=1\n", b"ack=applied\nack=applied\n"],
)
def test_what_is_no_level_is_malformed(frame):
    with pytest.raises(MalformedMessage):
        decode_level(frame)


def test_what_is_no_level_is_told_to_who_asks_for_it():
    check_level("applied")
    check_level("replicated")
    with pytest.raises(ValueError, match="'sometimes' is neither 'applied' nor 'replicated'"):
        check_level("sometimes")
    with pytest.raises(ValueError):
        with_level(b"", "sometimes")


@pytest.mark.parametrize(
    "frame", [b"", b"ttl=5\n", b"ack=applied\n", b"ack=\n", b"x-ack=replicated"]
)
def test_a_publication_that_does_not_say_replicated_means_less(frame):
    assert not is_replicated(frame)


# The client, against a server that is played by the test


PAIR = b"chpx=1\nfeat=cas,rep\n"
ALONE = b"chpx=1\nfeat=cas\n"
GUIDE = b""


class Client(Joined):
    """A client of two servers, live on the first, which has these features and listens."""

    def __init__(self, features=PAIR, **arguments):
        self.features = features
        super().__init__(servers=2, **arguments)
        self.protocol.receive_writable(0, 0.0)

    def join(self, entries, sequence, now):
        (request,) = self.hear(hugz(sequence), now)
        for entry in entries:
            self.protocol.receive_snapshot(entry, request.request, now)
        end = snapshot_end(sequence, b"", self.features)
        return self.protocol.receive_snapshot(end, request.request, now)

    def set(self, key=b"/a", body=b"1", now=1.0, ack=REPLICATED, **options):
        """A write; returns its uuid and what follows from it."""
        its_uuid = next(_uuids).to_bytes(16, "big")
        effects = self.protocol.set(key, body, uuid=its_uuid, now=now, ack=ack, **options)
        return its_uuid, effects

    def answer(self, its_uuid, counter=1, properties=b"ack=replicated\n", key=b"/a", epoch=1):
        """The server publishes a write; returns how writes ended, and what was sent for it."""
        frames = kvpub(seq(counter, epoch), key, b"1", properties, its_uuid)
        return [each for each in self.hear(frames, 2.0) if not isinstance(each, Put)]

    def fail_over(self, entries, sequence, now=4.0):
        """Lose the server for the next one, which holds these entries."""
        self.follow(self.protocol.receive_disconnected(self.subscription, now - 0.5))
        self.tick(now - 0.25)
        return self.join(entries, sequence, now)


def connecting(features):
    """A client that no server has told anything yet."""
    client = Client.__new__(Client)
    client.features = features
    client.protocol = type(Client().protocol)(jitter=lambda: 0.0)
    client.subscription = client.protocol.start(0.0)[0].subscription
    client.protocol.receive_writable(0, 0.0)
    return client


def asked(effects):
    """The levels that the updates sent ask for, by their uuids."""
    return {each.frames[2]: decode_level(each.frames[3]) for each in only(effects, SendUpdate)}


def test_the_level_travels_with_the_write_and_only_if_it_is_not_the_least():
    client = Client()
    assert client.set(b"/a", ack=APPLIED)[1][0].frames[3] == b""
    assert client.set(b"/b")[1][0].frames[3] == b"ack=replicated\n"
    assert client.set(b"/c", ttl=5.0)[1][0].frames[3] == b"ttl=5\nack=replicated\n"
    assert client.set(b"/d", if_sequence=0)[1][0].frames[3] == b"if-sequence=0\nack=replicated\n"
    its_uuid = next(_uuids).to_bytes(16, "big")
    (effect,) = client.protocol.delete(b"/e", uuid=its_uuid, now=1.0, ack=REPLICATED)
    assert (effect.frames[3], effect.frames[4]) == (b"ack=replicated\n", b"")


def test_a_level_that_is_none_is_an_error_of_the_caller_and_nothing_is_written():
    client = Client()
    with pytest.raises(ValueError, match="'all' is neither"):
        client.set(ack="all")
    assert client.protocol.statistics().unacknowledged == 0


def test_it_is_done_when_the_passive_server_has_confirmed_it():
    client = Client()
    its_uuid, _ = client.set()
    assert client.answer(its_uuid) == [WriteAcknowledged(its_uuid, seq(1))]
    assert client.contents == {b"/a": b"1"}


@pytest.mark.parametrize("properties", [b"ack=applied\n", b"", b"ttl=9\n", b"ack=perhaps\n"])
def test_i16_less_than_that_is_applied_and_no_more(properties):
    client = Client()
    its_uuid, _ = client.set()
    assert client.answer(its_uuid, properties=properties) == [
        WriteFailed(its_uuid, "applied", seq(1))
    ]
    assert client.contents == {b"/a": b"1"}
    statistics = client.protocol.statistics()
    assert (statistics.acknowledged, statistics.failed, statistics.unacknowledged) == (0, 1, 0)
    assert client.answer(its_uuid) == []  # a copy that is confirmed later changes nothing


@pytest.mark.parametrize("properties", [b"", b"ack=applied\n", b"ack=replicated\n"])
def test_who_asked_for_nothing_is_content_with_any_answer(properties):
    client = Client()
    its_uuid, _ = client.set(ack=APPLIED)
    assert client.answer(its_uuid, properties=properties) == [WriteAcknowledged(its_uuid, seq(1))]


def test_a_server_may_refuse_it_for_want_of_a_peer():
    client = Client()
    its_uuid, (effect,) = client.set()
    answer = refusal(effect.frames, "unreplicated")
    assert client.hear(answer, 1.5) == [WriteFailed(its_uuid, "unreplicated")]
    assert client.contents == {}


def test_it_is_asked_for_again_until_there_is_an_answer():
    client = Client(outbox=Outbox(retry=2.0, timeout=3.0))
    its_uuid, effects = client.set()
    assert client.tick(3.0) == effects
    assert client.tick(4.0) == [WriteFailed(its_uuid, "timeout")]


@pytest.mark.parametrize("features", [ALONE, GUIDE])
def test_a_server_without_a_peer_is_never_asked(features):
    """One of the Guide's would publish the property unread, as if it had been kept."""
    client = Client(features)
    its_uuid, effects = client.set()
    assert effects == [WriteFailed(its_uuid, "unsupported")]
    statistics = client.protocol.statistics()
    assert (statistics.failed, statistics.unacknowledged) == (1, 0)


def test_a_condition_that_nobody_compares_is_an_error_before_any_level():
    with pytest.raises(ConditionsUnsupported):
        Client(GUIDE).set(if_sequence=0)


def test_before_a_server_has_told_its_features_nothing_of_the_kind_leaves():
    client = connecting(PAIR)
    its_uuid, effects = client.set()
    assert effects == [] and client.protocol.receive_writable(1, 1.1) == []
    assert asked(client.join([], seq(3), 1.2)) == {its_uuid: REPLICATED}


@pytest.mark.parametrize("features", [ALONE, GUIDE])
def test_what_waited_for_a_server_without_a_peer_fails_and_lets_the_next_go(features):
    client = connecting(features)
    first, _ = client.set()
    plain, effects = client.set(ack=APPLIED)  # it waits for its turn
    second, _ = client.set()
    third, _ = client.set(now=1.1)  # takes the place of the second
    assert effects == []
    effects = client.join([], seq(3), 1.2)
    assert only(effects, WriteFailed) == [
        WriteFailed(each, "unsupported") for each in (first, second, third)
    ]
    assert asked(effects) == {plain: None}
    assert client.protocol.statistics().unacknowledged == 1


# The client, after a failover


def test_i16_a_snapshot_is_no_proof_that_two_servers_hold_it():
    """The new active has it, and may be the only one: it has to say so."""
    client = Client()
    its_uuid, _ = client.set()
    plain, _ = client.set(b"/b", ack=APPLIED)
    entries = [
        kvpub(seq(1), b"/a", b"1", b"", its_uuid),
        kvpub(seq(2), b"/b", b"1", b"", plain),
    ]
    effects = client.fail_over(entries, seq(0, epoch=2))
    assert only(effects, WriteAcknowledged) == [WriteAcknowledged(plain, seq(2))]
    assert asked(effects) == {its_uuid: REPLICATED}
    assert client.contents == {b"/a": b"1", b"/b": b"1"}
    assert client.answer(its_uuid) == [WriteAcknowledged(its_uuid, seq(1))]


def test_the_new_active_server_may_be_the_only_one_to_hold_it():
    client = Client()
    its_uuid, _ = client.set()
    client.fail_over([kvpub(seq(1), b"/a", b"1", b"", its_uuid)], seq(0, epoch=2))
    assert client.answer(its_uuid, properties=b"ack=applied\n") == [
        WriteFailed(its_uuid, "applied", seq(1))
    ]


@pytest.mark.parametrize("echo", [b"", b"ack=replicated\n"])
def test_a_new_server_that_knows_no_levels_tells_by_its_map_what_is_applied(echo):
    client = Client()
    held, _ = client.set()
    lost, _ = client.set(b"/b")
    client.features = GUIDE
    effects = client.fail_over([kvpub(seq(1), b"/a", b"1", echo, held)], seq(1, epoch=2))
    assert only(effects, WriteFailed) == [
        WriteFailed(held, "applied", seq(1)),
        WriteFailed(lost, "unsupported"),
    ]
    assert only(effects, SendUpdate) == []


def test_an_answer_that_was_published_while_it_joined_counts():
    client = Client()
    its_uuid, _ = client.set()
    client.follow(client.protocol.receive_disconnected(client.subscription, 1.5))
    client.tick(1.75)
    (request,) = client.hear(hugz(seq(0, 2)), 2.0)
    assert client.answer(its_uuid, 1, epoch=2) == []
    end = snapshot_end(seq(1, 2), b"", PAIR)
    effects = client.protocol.receive_snapshot(end, request.request, 2.5)
    assert only(effects, WriteAcknowledged) == [WriteAcknowledged(its_uuid, seq(1, 2))]


# Several writes of one key


def test_those_at_one_level_are_answered_together():
    client = Client()
    first, _ = client.set()
    replaced, newest = client.set(now=1.1)[0], client.set(now=1.2)[0]
    acknowledged, sent = client.answer(first)
    assert acknowledged == WriteAcknowledged(first, seq(1))
    assert asked([sent]) == {newest: REPLICATED}
    assert client.answer(newest, 2, b"ack=applied\n") == [
        WriteFailed(replaced, "applied", seq(2)),
        WriteFailed(newest, "applied", seq(2)),
    ]


@pytest.mark.parametrize("levels", [(APPLIED, REPLICATED), (REPLICATED, APPLIED)])
def test_none_is_refused_for_what_another_has_asked_for(levels):
    """Merged at the higher level, the plain one would not be written while the peer is away."""
    client = Client()
    first, _ = client.set(ack=APPLIED)
    waiting = [client.set(ack=level)[0] for level in levels]
    effects = client.answer(first)
    ends = {}
    for its_uuid, level in zip(waiting, levels, strict=True):
        (update,) = only(effects, SendUpdate)
        assert asked([update]) == {its_uuid: None if level == APPLIED else level}
        if level == APPLIED:
            effects = client.answer(its_uuid, 2, b"")
        else:
            effects = client.hear(refusal(update.frames, "unreplicated"), 2.0)
        ends[level] = effects[0]
    assert isinstance(ends[APPLIED], WriteAcknowledged)
    assert ends[REPLICATED].reason == "unreplicated"


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.sampled_from("ab"), st.sampled_from([APPLIED, REPLICATED])),
        st.tuples(st.just("publish"), st.integers(0, 3), st.sampled_from([APPLIED, REPLICATED])),
        st.tuples(st.just("refuse"), st.integers(0, 3), st.just("unreplicated")),
        st.tuples(st.just("fail over"), st.booleans(), st.sampled_from([PAIR, ALONE])),
        st.tuples(st.just("wait"), st.integers(1, 4), st.none()),
    ),
    max_size=40,
)


@given(STEPS)
@settings(deadline=None)
def test_every_write_ends_once_and_as_replicated_only_if_a_server_said_so(steps):
    writer = Writer(Interest([b""]), Outbox(retry=2.0, timeout=5.0), 100)
    writer.receive_writable(0)
    asked, ends, now = {}, {}, 0.0

    def end(effects, told=APPLIED):
        for each in effects:
            if isinstance(each, SendUpdate):
                continue
            assert each.uuid not in ends
            done = isinstance(each, WriteAcknowledged)
            ends[each.uuid] = "done" if done else each.reason
            assert not done or asked[each.uuid] == APPLIED or told == REPLICATED

    def pick(number):
        frames = writer._outbox.under_way()
        return frames[number] if number < len(frames) else None

    for number, (step, first, second) in enumerate(steps, 1):
        now += 0.1
        match step:
            case "set":
                its_uuid = number.to_bytes(16, "big")
                asked[its_uuid] = second
                end(writer.write(first.encode(), b"x", its_uuid, now, ack=second))
            case "publish" if (frames := pick(first)) is not None:
                answer = (*frames[:3], with_level(b"", second), frames[4])
                end(writer.receive_answer(answer, number, now), second)
            case "refuse" if (frames := pick(first)) is not None:
                end(writer.receive_refusal(frames[2], second, now))
            case "fail over":
                store = KeyValueStore()
                for frames in writer._outbox.under_way() if first else ():
                    store.apply((*frames[:3], b"", frames[4]), number)
                features = decode_snapshot_end(snapshot_end(number, b"", second)).features
                end(writer.receive_snapshot(store, features, now))
            case "wait":
                now += first
                end(writer.tick(now))
    end(writer.close())
    assert ends.keys() == asked.keys()
    assert writer.unacknowledged == 0
    assert writer.acknowledged + writer.failed == len(asked)


# On the network


def test_a_server_that_stands_alone_is_an_error_that_says_so(service):
    service.server()
    client = service.live(service.client())
    for write in (client.set, client.create):
        with pytest.raises(WriteError, match="unsupported"):
            service.wait(write("key", "1", ack="replicated"))
    with pytest.raises(WriteError, match="unsupported"):
        service.wait(client.delete("key", ack="replicated"))
    with pytest.raises(WriteError, match="unsupported"):
        service.wait(client.update("key", lambda _: "1", ack="replicated"))
    with pytest.raises(ValueError, match="'all' is neither"):
        client.set("key", "1", ack="all")
    assert client.get("key") is None
    service.wait(client.set("key", "1", ack="applied"))


def test_an_error_tells_what_is_applied_and_under_which_number():
    error = WriteError("applied", b"/a", 7)
    assert str(error) == "write of b'/a' applied, but not replicated"
    assert (error.reason, error.key, error.sequence) == ("applied", b"/a", 7)
    assert WriteError("full", b"/a").sequence == 0
