"""What is owed to new subscribers of many topics: no socket, no clock."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patterns.last_value_cache.protocol import LastValues, Replays

PATIENCE = 10.0


def replays_of(*topics):
    values = LastValues()
    for topic in topics:
        values.update([topic, b"1"])
    return values, Replays(values, PATIENCE)


def send(replays, limit=2, count=None):
    """Take a page and send it, or `count` messages of it; the topics that went out."""
    page = replays.take(limit)
    if page is None:
        return []
    sent = page.messages[:count]
    replays.receive_sent(page, len(sent))
    return [message[0] for message in sent]


def send_all(replays, limit=2):
    return [topic for page in iter(lambda: send(replays, limit), []) for topic in page]


def test_a_subscription_is_owed_all_that_is_cached_under_its_prefix():
    _, replays = replays_of(b"a1", b"a2", b"a3", b"b1")
    replays.receive_subscription(b"a")
    assert send_all(replays) == [b"a1", b"a2", b"a3"]
    assert len(replays) == 0


def test_a_subscription_to_what_is_not_cached_is_owed_nothing():
    _, replays = replays_of(b"a1")
    replays.receive_subscription(b"b")
    assert len(replays) == 0


def test_the_newest_value_is_sent_even_if_it_came_after_the_subscription():
    values, replays = replays_of(b"a")
    replays.receive_subscription(b"")
    values.update([b"a", b"2"])
    page = replays.take(10)
    assert page is not None and page.messages == [(b"a", b"2")]


def test_what_is_deleted_before_its_turn_is_not_sent():
    values, replays = replays_of(b"a", b"b", b"c")
    replays.receive_subscription(b"")
    assert send(replays, limit=1) == [b"a"]
    values.update([b"a", b""])
    values.update([b"b", b""])
    assert send_all(replays) == [b"c"]


def test_prefixes_take_turns():
    _, replays = replays_of(b"a1", b"a2", b"a3", b"a4", b"b1", b"b2")
    replays.receive_subscription(b"a")
    assert send(replays) == [b"a1", b"a2"]
    replays.receive_subscription(b"b")
    assert send_all(replays) == [b"a3", b"a4", b"b1", b"b2"]
    replays.receive_subscription(b"a")
    replays.receive_subscription(b"b1")
    assert send(replays) + send(replays) + send(replays) == [b"a1", b"a2", b"b1", b"a3", b"a4"]


def test_a_thousand_subscribers_at_once_share_one_replay():
    _, replays = replays_of(b"a", b"b", b"c")
    for _ in range(1000):
        replays.receive_subscription(b"")
    assert send_all(replays) == [b"a", b"b", b"c"]


def test_who_joins_on_the_way_gets_the_rest_and_then_the_beginning():
    _, replays = replays_of(b"a", b"b", b"c", b"d", b"e")
    replays.receive_subscription(b"")
    assert send(replays) == [b"a", b"b"]
    replays.receive_subscription(b"")
    assert send_all(replays) == [b"c", b"d", b"e", b"a", b"b"]
    assert len(replays) == 0


def test_who_joins_on_the_second_way_gets_all_as_well():
    _, replays = replays_of(b"a", b"b", b"c", b"d")
    replays.receive_subscription(b"")
    send(replays, 3)
    replays.receive_subscription(b"")
    assert send(replays, 1) + send(replays, 1) == [b"d", b"a"]
    replays.receive_subscription(b"")
    assert send_all(replays) == [b"b", b"c", b"d", b"a"]


@pytest.mark.parametrize("prefix", [b"", b"A ", b"A 5"])
def test_a_page_may_end_with_a_message_that_says_more_than_its_topic(prefix):
    """With a separator, the messages of one frame: `A 5.` is of the topic `A `, before `A 3`."""
    values = LastValues(separator=b" ")
    for frames in ([b"A 5."], [b"A 3", b"1"], [b"A 5", b"1"], [b"A 50", b"1"], [b"B", b"1"]):
        values.update(frames)
    replays = Replays(values, PATIENCE)
    replays.receive_subscription(prefix)
    expected = [message[0] for message in values.matching(prefix)]
    assert send(replays, limit=1) == [b"A 5."]
    replays.receive_subscription(prefix)  # somebody joins on the way: the rest, then the beginning
    assert send_all(replays, limit=1) == [*expected[1:], b"A 5."]


def test_the_end_of_the_last_subscription_ends_the_replay():
    _, replays = replays_of(b"a", b"b", b"c")
    replays.receive_subscription(b"")
    page = replays.take(1)
    replays.receive_unsubscription(b"")
    replays.receive_unsubscription(b"never subscribed")
    replays.receive_sent(page, 1)
    assert replays.take(1) is None


def test_what_was_refused_is_sent_again():
    _, replays = replays_of(b"a", b"b", b"c")
    replays.receive_subscription(b"")
    assert send(replays, limit=3, count=1) == [b"a"]
    assert send(replays, limit=3, count=0) == []
    assert send_all(replays) == [b"b", b"c"]


def test_a_prefix_that_is_refused_lets_the_next_one_try():
    _, replays = replays_of(b"a", b"b")
    replays.receive_subscription(b"a")
    replays.receive_subscription(b"b")
    page = replays.take(1)
    replays.receive_refusal(page, now=0.0)
    assert send(replays) == [b"b"]
    assert send(replays) == [b"a"]


def test_patience_ends_when_nothing_has_gone_out_for_so_long():
    _, replays = replays_of(b"a", b"b")
    replays.receive_subscription(b"")
    page = replays.take(1)
    assert replays.receive_refusal(page, now=5.0) is False
    assert replays.receive_refusal(page, now=5.0 + PATIENCE - 0.1) is False
    assert replays.receive_refusal(page, now=5.0 + PATIENCE) is True


def test_patience_begins_anew_with_everything_that_goes_out():
    _, replays = replays_of(b"a", b"b")
    replays.receive_subscription(b"")
    replays.receive_refusal(replays.take(1), now=0.0)
    send(replays, limit=1)
    page = replays.take(1)
    assert replays.receive_refusal(page, now=PATIENCE + 1) is False
    assert replays.receive_refusal(page, now=2 * PATIENCE) is False
    assert replays.receive_refusal(page, now=2 * PATIENCE + 1) is True


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("subscribe"), st.sampled_from([b"", b"a", b"ab", b"b"])),
        st.tuples(st.just("update"), st.sampled_from([b"a", b"ab", b"abc", b"b", b"ba"])),
        st.tuples(st.just("delete"), st.sampled_from([b"a", b"ab", b"b"])),
        st.tuples(st.just("send"), st.integers(0, 3)),
    ),
    max_size=60,
)


@given(STEPS)
def test_every_subscription_gets_every_topic_that_stays_cached(steps):
    """Whatever happens in between, in whatever order: what is owed is sent, and nothing older."""
    values, replays = replays_of(b"a", b"ab", b"abc", b"b")
    owed = []  # per subscription: its prefix, and the topics it has still to be sent

    def went_out(topics):
        for _, missing in owed:
            missing.difference_update(topics)

    for number, (step, argument) in enumerate(steps):
        if step == "subscribe":
            owed.append((argument, {message[0] for message in values.matching(argument)}))
            replays.receive_subscription(argument)
        elif step == "send":
            went_out(send(replays, limit=3, count=argument))
        else:
            # Live messages and deletions go out at once, to every subscriber.
            values.update([argument, b"" if step == "delete" else b"%d" % number])
            went_out([argument])
    went_out(send_all(replays))
    assert [missing for _, missing in owed if missing] == []
    assert len(replays) == 0
