"""Where a server's data parted from all others', and what it says of it when they meet again."""

from patterns.clone import fork as fork_module
from patterns.clone.fork import Fork
from patterns.clone.messages import KVMessage, epoch_of, make_sequence
from patterns.clone.store import KeyValueStore


def update(counter, key, body=b"x", epoch=1):
    return KVMessage(key, make_sequence(epoch, counter), bytes(16), b"", body).encode()


def given_up(fork, since, store=None):
    return [(each[0], each[4]) for each in fork.changed_since(since, store or KeyValueStore())]


class TestEpochs:
    def test_a_new_epoch_is_above_all_that_are_known(self):
        fork = Fork(epoch=4)
        assert fork.begin(0, 0, force=False) == make_sequence(5, 0)
        assert fork.begin(make_sequence(6, 9), 0, force=False) == make_sequence(7, 0)
        assert fork.begin(make_sequence(7, 0), 12, force=False) == make_sequence(12, 0)
        fork.receive_epoch(20)
        fork.receive_epoch(19)
        assert fork.begin(make_sequence(12, 3), 13, force=False) == make_sequence(21, 0)

    def test_the_fork_is_what_was_held_when_it_began(self):
        fork = Fork()
        fork.begin(make_sequence(3, 7), 0, force=False)
        fork.writes += 2
        progress = fork.progress(make_sequence(4, 2))
        assert (progress.epoch, progress.sequence) == (4, make_sequence(4, 2))
        assert (progress.fork_epoch, progress.fork_sequence) == (3, make_sequence(3, 7))
        assert progress.writes == 2

    def test_one_that_began_with_nothing_names_the_epoch_in_which_it_did(self):
        fork = Fork()
        sequence = fork.begin(0, 0, force=False)
        assert fork.progress(sequence).fork_epoch == epoch_of(sequence) == 1

    def test_a_new_activity_counts_its_own_writes(self):
        fork = Fork()
        fork.begin(0, 0, force=False)
        fork.writes += 5
        fork.remember_deletion(update(1, b"/a", b""))
        sequence = fork.begin(make_sequence(1, 5), 0, force=False)
        assert fork.progress(sequence).writes == 0
        assert given_up(fork, 0) == []

    def test_one_that_goes_on_in_a_new_epoch_has_forked_where_it_did(self):
        """Its peer may not have heard of any of it."""
        fork = Fork()
        fork.begin(make_sequence(3, 7), 0, force=False)
        fork.writes += 5
        fork.remember_deletion(update(1, b"/a", b"", epoch=4))
        sequence = fork.go_on(make_sequence(4, 5), 6)
        assert sequence == make_sequence(6, 5)
        progress = fork.progress(sequence)
        assert (progress.fork_sequence, progress.writes) == (make_sequence(3, 7), 5)
        assert given_up(fork, make_sequence(3, 7)) == [(b"/a", b"")]

    def test_one_that_began_with_nothing_and_goes_on_has_data(self):
        fork = Fork()
        sequence = fork.begin(0, 0, force=False)
        progress = fork.progress(fork.go_on(sequence + 1, 0))
        assert (progress.fork_epoch, progress.fork_sequence) == (1, sequence)


class TestLackingData:
    """What others hold, told by a server that began in epoch 5 and has reached epoch 7."""

    def lacks(self, fork, epoch):
        return fork.lacks_data_of(make_sequence(epoch, 1), make_sequence(7, 30))

    def test_one_that_began_with_nothing_lacks_what_is_of_other_epochs_than_its_own(self):
        fork = Fork(epoch=4)
        fork.begin(0, 0, force=False)
        assert [epoch for epoch in range(1, 10) if self.lacks(fork, epoch)] == [1, 2, 3, 4, 8, 9]
        assert not fork.lacks_data_of(0, make_sequence(7, 30))

    def test_one_that_began_with_data_lacks_none(self):
        fork = Fork(epoch=4)
        fork.begin(make_sequence(2, 1), 0, force=False)
        assert not self.lacks(fork, 3)

    def test_who_leads_by_an_operators_word_leads_whatever_others_held(self):
        fork = Fork(epoch=4)
        fork.begin(0, 0, force=True)
        assert not self.lacks(fork, 3)


class TestWhatIsGivenUp:
    def test_it_is_what_the_map_has_since_then_the_deletions(self):
        fork, store = Fork(), KeyValueStore()
        for counter, key in enumerate((b"/a", b"/b"), 1):
            store.apply(update(counter, key), make_sequence(1, counter))
        for counter, key in ((3, b"/c"), (4, b"/d")):
            fork.remember_deletion(update(counter, key, b""))
        assert given_up(fork, make_sequence(1, 1), store) == [
            (b"/b", b"x"),
            (b"/c", b""),
            (b"/d", b""),
        ]
        assert given_up(fork, make_sequence(1, 3), store) == [(b"/d", b"")]

    def test_a_key_that_was_set_again_is_not_gone(self):
        fork = Fork()
        fork.remember_deletion(update(1, b"/a", b""))
        fork.remember_deletion(update(2, b"/a"))
        assert given_up(fork, 0) == []

    def test_the_oldest_deletions_make_room(self, monkeypatch):
        monkeypatch.setattr(fork_module, "_DELETIONS_LIMIT", 2)
        fork = Fork()
        for counter, key in enumerate((b"/a", b"/b", b"/a", b"/c"), 1):
            fork.remember_deletion(update(counter, key, b""))
        assert given_up(fork, 0) == [(b"/a", b""), (b"/c", b"")]
