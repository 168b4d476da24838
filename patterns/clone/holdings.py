"""What a Clone server holds, whatever it is at the moment."""

from __future__ import annotations

from dataclasses import dataclass

from patterns.clone.duplicates import DuplicateFilter
from patterns.clone.pending import PendingList
from patterns.clone.store import KeyValueStore


@dataclass(slots=True)
class Holdings:
    """The map, what became of the updates applied lately, and what clients sent to both servers."""

    store: KeyValueStore
    duplicates: DuplicateFilter
    pending: PendingList
