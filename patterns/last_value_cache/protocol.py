"""The rules of the cache and of those who read it by credit; each has a file of its own."""

from __future__ import annotations

from patterns.last_value_cache.conflation import Conflation, Delivery
from patterns.last_value_cache.intake import Intake
from patterns.last_value_cache.interest import Interest
from patterns.last_value_cache.replays import Page, Replays
from patterns.last_value_cache.values import MAX_BYTES, MAX_TOPICS, LastValues, LimitPolicy, Message

__all__ = [
    "MAX_BYTES",
    "MAX_TOPICS",
    "Conflation",
    "Delivery",
    "Intake",
    "Interest",
    "LastValues",
    "LimitPolicy",
    "Message",
    "Page",
    "Replays",
]
