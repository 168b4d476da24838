"""Espresso: a proxy for publish-subscribe that shows what is going through it.

The pattern of the Guide's chapter 5, "Pub-Sub Tracing", in which a proxy captures the traffic and
hands it to a listener.

    publisher PUB --+                                             +-- SUB subscriber
                    +-- XSUB frontend | Espresso | XPUB backend --+
    publisher PUB --+                     |                       +-- SUB subscriber
                                          +-- taps: a handler, an endpoint, a file

    from patterns.espresso import Espresso, FileTap, Filter
    from reactor import run

    run(
        Espresso(
            frontend=">tcp://127.0.0.1:6000",
            backend="@tcp://127.0.0.1:6001",
            taps=[FileTap("rates.esp", Filter(prefix=b"/rates/"))],
        )
    )

What you can rely on:

- Messages, subscriptions and unsubscriptions pass as through `zmq.proxy`, which it is: libzmq
  moves them in a thread of its own. Whatever a tap does, or its reader, they pass at full speed.
- A tap that does not keep up drops, and counts what it drops.
- Without a tap that anybody reads, nothing but subscriptions is captured.

What to expect: libzmq's capture does not say which way a message went. See docs/espresso.md for
this, for the file format and for how drops are counted.
"""

from patterns.espresso.endpoint_tap import EndpointTap
from patterns.espresso.handlers import Espresso, EspressoStatistics
from patterns.espresso.messages import Style, TappedRecord
from patterns.espresso.monitor import MonitorTap
from patterns.espresso.protocol import Direction, Filter, Kind, Record
from patterns.espresso.reading import Recorder, StatusReader, TapReader, TapRecorder
from patterns.espresso.record_file import RecordFile
from patterns.espresso.recording import Entry, Reader, RecordingError
from patterns.espresso.replaying import Replay
from patterns.espresso.tables import SubscriptionTable, TopTopics
from patterns.espresso.taps import FileTap, HandlerTap, Tap, TapStatistics

__all__ = [
    "Direction",
    "EndpointTap",
    "Entry",
    "Espresso",
    "EspressoStatistics",
    "FileTap",
    "Filter",
    "HandlerTap",
    "Kind",
    "MonitorTap",
    "Reader",
    "Record",
    "RecordFile",
    "Recorder",
    "RecordingError",
    "Replay",
    "StatusReader",
    "Style",
    "SubscriptionTable",
    "Tap",
    "TapReader",
    "TapRecorder",
    "TapStatistics",
    "TappedRecord",
    "TopTopics",
]
