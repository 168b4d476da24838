"""Frozen snapshots of the counters that every stream, handler and reactor keeps."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StreamStatistics:
    """Counters of one stream since it was opened; received ones are settled once a batch."""

    name: str
    endpoints: tuple[str, ...]
    messages_received: int
    messages_sent: int
    messages_dropped: int
    send_errors: int
    queue_length: int
    queue_limit: int
    queue_peak: int
    longest_hook: float  # seconds


@dataclass(frozen=True, slots=True)
class HandlerStatistics:
    """Counters of one handler: hooks that raised, and messages of peers that were refused."""

    name: str
    errors: int
    refused: int


@dataclass(frozen=True, slots=True)
class ReactorStatistics:
    """One moment of a whole reactor; lags and hook times are in seconds."""

    loop_lag: float
    longest_loop_lag: float
    longest_hook: float
    handlers: tuple[HandlerStatistics, ...]
    streams: tuple[StreamStatistics, ...]
