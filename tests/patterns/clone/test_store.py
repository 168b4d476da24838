"""The map and its deadlines."""

import gc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patterns.clone.messages import Frames, KVMessage, decode_ttl, sequence_of
from patterns.clone.store import KeyValueStore, StoreFull

UUID = bytes(range(16))


def put(store, key, body=b"x", sequence=None, expires_at=None, properties=b""):
    sequence = store.sequence + 1 if sequence is None else sequence
    frames = KVMessage(key, sequence, UUID, properties, body).encode()
    return store.apply(frames, sequence, expires_at)


def contents(store, subtree=b"", now=None):
    return [(entry[0], entry[4]) for entry in store.snapshot(subtree, now)]


class TestMap:
    def test_an_update_is_found_under_its_key(self):
        store = KeyValueStore()
        assert put(store, b"/a", b"1") is None
        assert store.get(b"/a")[4] == b"1"
        assert store.get(b"/b") is None
        assert b"/a" in store
        assert list(store) == [b"/a"]

    def test_an_update_returns_what_it_replaces(self):
        store = KeyValueStore()
        put(store, b"/a", b"1")
        assert put(store, b"/a", b"2")[4] == b"1"
        assert put(store, b"/a", b"")[4] == b"2"
        assert put(store, b"/a", b"") is None

    def test_kv_9_an_empty_body_deletes(self):
        store = KeyValueStore()
        put(store, b"/a")
        put(store, b"/a", b"")
        assert len(store) == 0
        assert store.sequence == 2

    def test_the_sequence_never_goes_back(self):
        store = KeyValueStore()
        put(store, b"/a", sequence=7)
        put(store, b"/b", sequence=3)
        assert store.sequence == 7

    def test_entries_are_in_the_order_of_their_last_updates(self):
        store = KeyValueStore()
        for key in (b"/a", b"/b", b"/a"):
            put(store, key)
        assert list(store) == [b"/b", b"/a"]
        assert [entry[0] for entry in store.changed_since(2)] == [b"/a"]
        assert [entry[0] for entry in store.changed_since(0)] == [b"/b", b"/a"]
        assert store.changed_since(3) == ()

    def test_entries_cost_the_garbage_collector_nothing(self):
        store = KeyValueStore()
        put(store, b"/a")
        gc.collect()
        assert not gc.is_tracked(store.get(b"/a"))


class TestSnapshot:
    def test_a_snapshot_holds_the_subtree_and_nothing_else(self):
        store = KeyValueStore()
        for key in (b"/b/1", b"/a/2", b"/a/1", b"/a", b"/aa", b"/\xff"):
            put(store, key)
        assert [key for key, _ in contents(store, b"/a/")] == [b"/a/1", b"/a/2"]
        assert [key for key, _ in contents(store, b"/a")] == [b"/a", b"/a/1", b"/a/2", b"/aa"]
        assert [key for key, _ in contents(store, b"/\xff")] == [b"/\xff"]
        assert contents(store, b"/c") == []

    def test_r12_6_an_empty_subtree_is_everything(self):
        store = KeyValueStore()
        put(store, b"/b")
        put(store, b"/a")
        assert [key for key, _ in contents(store)] == [b"/b", b"/a"]

    @pytest.mark.parametrize("subtree", [b"", b"/"])
    def test_a_snapshot_does_not_change_with_the_map(self, subtree):
        store = KeyValueStore()
        put(store, b"/a", b"1")
        snapshot = store.snapshot(subtree)
        put(store, b"/a", b"2")
        put(store, b"/b")
        assert [entry[4] for entry in snapshot] == [b"1"]

    def test_f29_the_snapshot_of_an_unchanged_map_is_shared(self):
        store = KeyValueStore()
        put(store, b"/a")
        assert store.snapshot() is store.snapshot()

    def test_a_key_deleted_and_set_again_is_there_once(self):
        store = KeyValueStore()
        put(store, b"/a", b"1")
        store.snapshot(b"/")
        put(store, b"/a", b"")
        put(store, b"/a", b"2")
        assert contents(store, b"/") == [(b"/a", b"2")]

    def test_the_index_does_not_keep_keys_that_are_gone(self):
        store = KeyValueStore()
        for n in range(10_000):
            put(store, b"/%d" % n)
            put(store, b"/%d" % n, b"")
        assert len(store._index) + len(store._unindexed) < 200

    def test_f17_kv_8_a_snapshot_carries_the_seconds_that_remain(self):
        store = KeyValueStore()
        put(store, b"/a", expires_at=130.0, properties=b"ttl=30\nn=1\n")
        put(store, b"/b")
        remaining = {entry[0]: entry[3] for entry in store.snapshot(b"", 118.5)}
        assert remaining == {b"/a": b"n=1\nttl=12\n", b"/b": b""}
        assert decode_ttl(store.get(b"/a")[3]) == 30.0

    def test_a_snapshot_never_carries_a_ttl_that_is_over(self):
        store = KeyValueStore()
        put(store, b"/a", expires_at=10.0, properties=b"ttl=1\n")
        assert decode_ttl(store.snapshot(b"/a", 99.0)[0][3]) == 1.0


class TestExpiry:
    def test_keys_expire_at_their_deadlines_earliest_first(self):
        store = KeyValueStore()
        put(store, b"/b", expires_at=20.0)
        put(store, b"/a", expires_at=10.0)
        put(store, b"/c")
        assert store.next_expiry == 10.0
        assert store.expire(9.999) == []
        assert store.expire(20.0) == [b"/a", b"/b"]
        assert store.expire(99.0) == []
        assert store.next_expiry is None
        assert len(store) == 3

    def test_a_new_ttl_supersedes_the_old_deadline(self):
        store = KeyValueStore()
        put(store, b"/a", expires_at=10.0)
        put(store, b"/a", expires_at=20.0)
        assert store.expire(15.0) == []
        assert store.next_expiry == 20.0
        assert store.expire(20.0) == [b"/a"]

    def test_a_shorter_ttl_supersedes_as_well(self):
        store = KeyValueStore()
        put(store, b"/a", expires_at=20.0)
        put(store, b"/a", expires_at=10.0)
        assert store.expire(10.0) == [b"/a"]
        assert store.expire(20.0) == []

    def test_a_permanent_value_and_a_deletion_cancel_the_deadline(self):
        store = KeyValueStore()
        put(store, b"/a", expires_at=10.0)
        put(store, b"/b", expires_at=10.0)
        put(store, b"/a")
        put(store, b"/b", b"")
        assert store.next_expiry is None
        assert store.expire(99.0) == []

    def test_the_same_deadline_again_expires_once(self):
        store = KeyValueStore()
        put(store, b"/a", expires_at=10.0)
        put(store, b"/a")
        put(store, b"/a", expires_at=10.0)
        assert store.expire(10.0) == [b"/a"]

    def test_m_17_refreshing_does_not_fill_the_heap(self):
        store = KeyValueStore()
        for n in range(10_000):
            put(store, b"/a", expires_at=float(n))
        assert len(store._heap) < 100
        assert store.expire(9998.5) == []
        assert store.expire(9999.0) == [b"/a"]

    def test_many_keys_expire_in_bounded_portions(self):
        store = KeyValueStore()
        for n in range(25):
            put(store, b"/%d" % n, expires_at=10.0)
        assert [len(store.expire(10.0, limit=10)) for _ in range(4)] == [10, 10, 5, 0]

    def test_the_remaining_time_is_rounded_up(self):
        store = KeyValueStore()
        put(store, b"/a", expires_at=10.0)
        assert store.remaining_ttl(b"/a", 7.5) == 3
        assert store.remaining_ttl(b"/a", 50.0) == 1
        assert store.remaining_ttl(b"/b", 7.5) is None


class TestLimits:
    def test_a_full_store_takes_no_new_key_and_changes_nothing(self):
        store = KeyValueStore(max_keys=1)
        put(store, b"/a", b"1")
        with pytest.raises(StoreFull, match="1 keys"):
            put(store, b"/b")
        assert contents(store) == [(b"/a", b"1")]
        assert store.sequence == 1
        assert store.statistics().refused == 1

    def test_a_full_store_still_changes_and_deletes(self):
        store = KeyValueStore(max_keys=1)
        put(store, b"/a", b"1")
        put(store, b"/a", b"2")
        put(store, b"/a", b"")
        put(store, b"/b")
        assert contents(store) == [(b"/b", b"x")]

    def test_bytes_are_those_of_all_frames(self):
        store = KeyValueStore(max_bytes=100)
        put(store, b"/a", b"1" * 50)
        assert store.statistics().byte_count == 2 + 8 + 16 + 50
        with pytest.raises(StoreFull):
            put(store, b"/a", b"1" * 90)
        put(store, b"/a", b"1")
        put(store, b"/b", b"1")
        assert store.statistics().byte_count == 54

    def test_a_store_that_is_over_its_limit_may_shrink(self):
        store = KeyValueStore(max_bytes=100)
        put(store, b"/a", b"1" * 50)
        store.max_bytes = 60
        put(store, b"/a", b"1" * 40)
        assert store.statistics().byte_count == 66


keys = st.sampled_from([b"/a", b"/a/1", b"/a/2", b"/b", b"/b/1", b"c"])
operations = st.lists(
    st.tuples(
        keys,
        st.sampled_from([b"", b"1", b"22"]),
        st.one_of(st.none(), st.integers(1, 20)),
        st.integers(0, 5),
    ),
    max_size=60,
)


@given(operations, st.sampled_from([b"", b"/", b"/a", b"/a/", b"/b", b"x"]))
@settings(deadline=None)
def test_the_store_behaves_as_a_dict_with_deadlines(steps, subtree):
    store = KeyValueStore()
    model: dict[bytes, bytes] = {}
    deadlines: dict[bytes, float] = {}
    now = 0.0
    for key, body, ttl, elapsed in steps:
        now += elapsed
        due = sorted(name for name, at in deadlines.items() if at <= now)
        assert sorted(store.expire(now)) == due
        for name in due:
            put(store, name, b"")
            del model[name], deadlines[name]
        expires_at = None if ttl is None else now + ttl
        put(store, key, body, expires_at=expires_at)
        model.pop(key, None)
        deadlines.pop(key, None)
        if body:
            model[key] = body
            if expires_at is not None:
                deadlines[key] = expires_at
        assert contents(store) == list(model.items())
        below = sorted((name, value) for name, value in model.items() if name.startswith(subtree))
        assert sorted(contents(store, subtree, now)) == below
        assert store.next_expiry == min(deadlines.values(), default=None)
    stored = [store.get(name) for name in model]
    assert store.statistics().byte_count == sum(len(b"".join(frames)) for frames in stored)
    assert store.sequence >= max((sequence_of(frames) for frames in stored), default=0)


@given(operations, st.integers(1, 5), st.integers(20, 90))
@settings(deadline=None)
def test_a_bounded_store_behaves_as_a_dict_that_refuses(steps, max_keys, max_bytes):
    """And every snapshot is of its instant, every suffix of changes is what has changed since."""
    store = KeyValueStore(max_keys=max_keys, max_bytes=max_bytes)
    model: dict[bytes, Frames] = {}
    taken = []
    for sequence, (key, body, _, _) in enumerate(steps, 1):
        frames = KVMessage(key, sequence, body=body).encode()
        left = {name: entry for name, entry in model.items() if name != key}
        size = sum(len(b"".join(entry)) for entry in (*left.values(), frames))
        grows = key not in model or len(body) > len(model[key][4])
        refused = bool(body) and (len(left) >= max_keys or (grows and size > max_bytes))
        if refused:
            with pytest.raises(StoreFull):
                store.apply(frames, sequence)
        else:
            assert store.apply(frames, sequence) == model.get(key)
            model = {**left, key: frames} if body else left
        taken.append((sequence, store.snapshot(), tuple(model.values())))
        assert store.snapshot(b"/a") == tuple(
            model[name] for name in sorted(model) if name.startswith(b"/a")
        )
    for sequence, snapshot, expected in taken:
        assert snapshot == expected
        newer = tuple(entry for entry in model.values() if sequence_of(entry) > sequence)
        assert store.changed_since(sequence) == newer
