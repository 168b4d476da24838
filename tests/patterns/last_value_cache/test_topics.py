"""SortedTopics is a sorted list, only quicker: compared with one, step by step."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patterns.last_value_cache import topics as module
from patterns.last_value_cache.topics import SortedTopics

# Few letters, so that prefixes are shared; \xff has no successor, which spoils clever bounds.
TOPICS = st.binary(max_size=3).map(lambda raw: bytes(b"ab\xff"[byte % 3] for byte in raw))


@pytest.fixture(autouse=True, scope="module")
def small_blocks():
    """Blocks of two, so that a few topics make many."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BLOCK", 2)
        yield


def build(steps):
    """The set and its model after adding what is new and removing what is not."""
    topics, model = SortedTopics(), []
    for topic in steps:
        if topic in model:
            topics.remove(topic)
            model.remove(topic)
        else:
            topics.add(topic)
            model.append(topic)
    return topics, sorted(model)


@given(st.lists(TOPICS, max_size=60), TOPICS)
def test_a_prefix_finds_all_its_topics_in_order(steps, prefix):
    topics, model = build(steps)
    assert topics.page(prefix) == [topic for topic in model if topic.startswith(prefix)]


@given(st.lists(TOPICS, max_size=60), TOPICS, TOPICS, TOPICS, st.integers(1, 5))
def test_a_page_begins_behind_one_topic_and_ends_with_another(steps, prefix, after, last, limit):
    topics, model = build(steps)
    after, last = after, prefix + last
    expected = [t for t in model if t.startswith(prefix) and after < t <= last]
    assert topics.page(prefix, after, last, limit) == expected[:limit]


@given(st.lists(TOPICS, max_size=60), TOPICS, st.integers(1, 5))
def test_page_after_page_gives_every_topic_once(steps, prefix, limit):
    topics, model = build(steps)
    found, after = [], None
    while page := topics.page(prefix, after, limit=limit):
        found += page
        after = page[-1]
    assert found == [topic for topic in model if topic.startswith(prefix)]


def test_topics_of_a_falling_order_are_sorted_too():
    topics, _ = build([b"%03d" % number for number in reversed(range(200))])
    assert topics.page(b"") == [b"%03d" % number for number in range(200)]


def test_topics_that_come_and_go_leave_nothing_behind():
    topics, _ = build([b"%03d" % number for number in range(200)] * 2)
    assert topics.page(b"") == []
    assert topics._blocks == topics._bounds == []
