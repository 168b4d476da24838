"""What changes for somebody who watches a client's map."""

from __future__ import annotations

from patterns.clone.client_effects import Deleted, Expired, Put
from patterns.clone.messages import Frames, parse_properties
from patterns.clone.store import KeyValueStore

Effect = Put | Deleted | Expired


def difference(frames: Frames, previous: Frames | None) -> list[Effect]:
    """What an update changes where `previous` was the entry of its key."""
    if frames[4]:
        return [Put(frames[0], frames[4], added=previous is None)]
    if previous is None:
        return []
    if frames[3] and parse_properties(frames[3]).get("o") == "ttl":
        return [Expired(frames[0])]
    return [Deleted(frames[0])]


def differences(old: KeyValueStore, new: KeyValueStore) -> list[Effect]:
    """What changes when a snapshot takes the place of a map."""
    effects: list[Effect] = [Deleted(key) for key in old if key not in new]
    for entry in new.snapshot():
        previous = old.get(entry[0])
        if previous is None or previous[4] != entry[4]:
            effects.append(Put(entry[0], entry[4], added=previous is None))
    return effects
