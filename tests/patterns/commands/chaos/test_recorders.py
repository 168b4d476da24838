"""What is written down in a process is told to the simulation's recorders as it was."""

import pytest

from patterns.clone.client_effects import (
    Deleted,
    Expired,
    Live,
    Put,
    Stale,
    WriteAcknowledged,
    WriteFailed,
)
from patterns.clone.interest import Interest
from patterns.clone.levels import REPLICATED
from patterns.clone.messages import HUGZ, encode_sequence, make_sequence, refusal
from patterns.clone.server_effects import ReportDiverged
from patterns.clone.simulation.client_recorder import ClientRecorder
from patterns.clone.simulation.history import EVERYTHING, History, Write
from patterns.clone.simulation.server_recorder import ServerRecorder
from patterns.clone.store import KeyValueStore
from patterns.commands.chaos.journal import Journal, JournalReader
from patterns.commands.chaos.recorders import (
    ClientJournal,
    Held,
    ServerJournal,
    Told,
    replay_client,
    replay_server,
)

UUID = bytes(range(16))
FIRST = make_sequence(1, 1)


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl", clock=lambda: 7.0)
    yield journal
    journal.close()


@pytest.fixture
def lines(tmp_path):
    return lambda: JournalReader(tmp_path / "journal.jsonl").read_until(7.0)


def update(counter=1, key=b"/a", body=b"\0\xff", properties=b"ttl=3\n"):
    return (key, encode_sequence(make_sequence(1, counter)), UUID, properties, body)


def serve(diary):
    """What an active server does, as `ObservedServer` tells it."""
    store = KeyValueStore()
    store.apply((b"/old", encode_sequence(5), UUID, b"", b"1"), 5)
    diary.check_promises(5)
    diary.hold(store)
    diary.begin(store.snapshot(), 5)
    store.sequence = make_sequence(1, 0)
    diary.number(store.sequence)
    store.apply(update(), FIRST)
    diary.published((HUGZ, bytes(8), b"", b"seq=%d\n" % make_sequence(1, 0), b""))
    diary.published(update())
    diary.published(refusal((b"/a", bytes(8), b"u" * 16, b"", b"x"), "conflict"))
    diary.see([ReportDiverged((update(),))])
    diary.leaves()
    diary.stays()
    diary.violate("I16", "leads without a complete copy")


def history_of(tell):
    history = History((EVERYTHING,))
    recorder = ServerRecorder(history, "primary", lambda: 7.0)
    tell(recorder)
    recorder.yields()
    return history


def test_a_server_that_is_written_down_has_the_same_history(journal, lines):
    diary = ServerJournal(journal, "primary")
    serve(diary)
    diary.yields()

    def replay(recorder):
        held = Held()
        for line in lines()[:-1]:
            replay_server(recorder, line, held)
        assert held.store.sequence == FIRST

    replayed, recorded = history_of(replay), history_of(serve)
    assert list(map(str, replayed.violations)) == list(map(str, recorded.violations))
    for again, first in zip(replayed.activities, recorded.activities, strict=True):
        assert again.entries == first.entries
        assert (again.map, again.fork, again.epoch) == (first.map, first.fork, first.epoch)
        assert again.releases == first.releases
        assert (again.reported, again.yielded) == (first.reported, first.yielded)
    assert replayed.refused.keys() == recorded.refused.keys() == {b"u" * 16}
    assert [copy.store.sequence for copy in replayed.copies] == [FIRST]


def test_a_passive_server_writes_down_numbers_and_what_it_holds(journal, lines):
    diary = ServerJournal(journal, "backup")
    store = KeyValueStore()
    diary.hold(store)
    store.apply(update(), FIRST)
    diary.holds(store.snapshot(), store.sequence)
    assert [(line["what"], line.get("update")) for line in lines()] == [
        ("copy", None),
        ("stored", []),
        ("holds", None),
    ]


EFFECTS = [
    Live(1),
    Put(b"/a", b"\xff", True),
    Put(b"/b", b"2", True),
    Deleted(b"/a"),
    Expired(b"/b"),
    WriteAcknowledged(UUID, FIRST),
    WriteFailed(UUID, "applied", FIRST),
    Stale("silent"),
]


class Noting(ClientRecorder):
    """A recorder that notes what it is told."""

    def __init__(self):
        super().__init__(History((EVERYTHING,)), "writer", lambda: 7.0)
        self.told = []

    def see(self, effects):
        held = self._protocol
        self.told.append((list(effects), held.store.sequence, held.live))


def test_a_client_that_is_written_down_is_told_the_same(journal, lines):
    diary, told = ClientJournal(journal, "writer"), Told(Interest([b""]))
    diary.watch(told)
    told.store.sequence, told.live = FIRST, True
    for effect in EFFECTS:
        diary.see([effect])
    recorder, replayed = Noting(), Told(Interest([b""]))
    recorder.watch(replayed)
    for line in lines():
        replay_client(recorder, "writer", line, replayed)
    assert recorder.told == [([effect], FIRST, True) for effect in EFFECTS]


def test_nothing_new_is_no_line(journal, lines):
    diary, told = ClientJournal(journal, "writer"), Told(Interest([b""]))
    diary.watch(told)
    diary.see([])
    told.store.sequence = 9
    diary.see([])
    diary.see([])
    assert [line["sequence"] for line in lines()] == [9]


@pytest.mark.parametrize("seen", [b"", UUID])
@pytest.mark.parametrize("compares", [False, True])
def test_a_write_is_written_down_whole(journal, lines, compares, seen):
    write = Write("writer", 3, b"/a", b"x", 7.0, 2.0, REPLICATED, compares, seen * compares)
    diary = ClientJournal(journal, "writer")
    diary.writing = write
    assert diary.name(UUID) == UUID
    recorder = ClientRecorder(history := History((EVERYTHING,)), "writer", lambda: 7.0)
    (line,) = lines()
    replay_client(recorder, "writer", line, Told(Interest([b""])))
    assert history.writes == {UUID: write}


def test_a_write_that_was_not_taken_is_taken_back(journal, lines):
    diary = ClientJournal(journal, "writer")
    diary.writing = write = Write("writer", 3, b"/a", b"x", 7.0)
    diary.name(UUID)
    diary.forget(write)
    recorder = ClientRecorder(history := History((EVERYTHING,)), "writer", lambda: 7.0)
    for line in lines():
        replay_client(recorder, "writer", line, Told(Interest([b""])))
    assert history.writes == {}
