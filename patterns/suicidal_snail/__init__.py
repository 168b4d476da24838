"""Suicidal snail: a subscriber that is too slow notices, says so, and stops or starts afresh.

The pattern of the Guide's chapter 5, "Slow Subscriber Detection". ZeroMQ drops messages for who
does not keep up, without a word to anybody; so publishers stamp, and subscribers judge themselves.

                   topic, body..., stamp
    SnailPublisher ---------------------> SnailSubscriber   late? lossy? stalled?
      |  XPUB      ---------------------> SUB                  |
      |            beats for its prefixes                      | on_snail, log, resubscribe,
      |                                                        | raise, stop
      +-- PULL <---------------------------------------- PUSH -+ squawk, with figures
          who is slow

    from patterns.suicidal_snail import Limits, Reaction, SnailSubscriber
    from reactor import run

    class Prices(SnailSubscriber):
        def on_message(self, frames):  # as published, without the stamp
            ...

    prices = Prices("tcp://127.0.0.1:5557", [b"EUR"], reactions=[Reaction.LOG, Reaction.STOP])
    run(prices)
    raise SystemExit(prices.exit_code)  # 70 if it died of being slow

What the rules are is in `protocol`, what an age means when clocks differ in `delays`, how losses
are found under subscriptions in `publication`, and every frame in `messages`.
"""

from patterns.suicidal_snail.diagnosis import (
    SNAIL_EXIT_CODE,
    Diagnosis,
    Limits,
    Reaction,
    Reason,
    SnailError,
)
from patterns.suicidal_snail.handlers import SnailSubscriber, SnailSubscriberStatistics
from patterns.suicidal_snail.messages import Squawk
from patterns.suicidal_snail.publisher import (
    SnailPublisher,
    SnailPublisherStatistics,
    SquawkCollector,
    Stamping,
)
from patterns.suicidal_snail.squawks import SlowSubscriber

__all__ = [
    "SNAIL_EXIT_CODE",
    "Diagnosis",
    "Limits",
    "Reaction",
    "Reason",
    "SlowSubscriber",
    "SnailError",
    "SnailPublisher",
    "SnailPublisherStatistics",
    "SnailSubscriber",
    "SnailSubscriberStatistics",
    "SquawkCollector",
    "Squawk",
    "Stamping",
]
