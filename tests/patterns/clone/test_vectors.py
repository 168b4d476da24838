"""The exact bytes of every command, in both directions: what is in vectors.json, and in the docs.

The file is for other implementations as well. Bytes are in hexadecimal; with `sent: false`, the
message is understood, and others send it.
"""

import json
import re
from pathlib import Path

import pytest

from patterns.clone.forms import FULL, SimpleForm
from patterns.clone.messages import (
    KVMessage,
    decode_heartbeat,
    decode_refusal,
    decode_snapshot_end,
    decode_snapshot_request,
    heartbeat,
    is_snapshot_end,
    refusal,
    snapshot_end,
    snapshot_request,
    wants_packs,
)
from patterns.clone.packs import decode_pack, encode_pack, is_pack

HERE = Path(__file__).parent
PAGE = HERE.parents[2] / "docs" / "clone.md"
VECTORS = json.loads((HERE / "vectors.json").read_text(encoding="utf-8"))
FORMS = {"full": FULL, "simple": SimpleForm(), "simple4": SimpleForm(4)}
BYTES = {"key", "uuid", "properties", "body", "subtree"}

each_vector = pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])


def frames_of(vector):
    return tuple(bytes.fromhex(frame) for frame in vector["frames"])


def meaning_of(vector):
    return {
        name: bytes.fromhex(value) if name in BYTES else value
        for name, value in vector["means"].items()
    }


def is_write(vector):
    return vector["kind"] == "kv" and not vector["means"]["sequence"]


def message(means):
    names = ("key", "sequence", "uuid", "properties", "body")
    return KVMessage(**{name: means[name] for name in names if name in means})


def encoded(kind, means):
    """The five frames of a message (an ICANHAZ? has two)."""
    match kind:
        case "icanhaz":
            return snapshot_request(means["subtree"], packed=means.get("packed", False))
        case "pack":
            return encode_pack([tuple(map(bytes.fromhex, entry)) for entry in means["entries"]])
        case "kv":
            return message(means).encode()
        case "kthxbai":
            return snapshot_end(means["sequence"], means["subtree"], means["properties"])
        case "hugz":
            return heartbeat(means["properties"], means["subtree"])
        case "refusal":
            update = KVMessage(means["key"], 0, means["uuid"], b"", b"any").encode()
            return refusal(update, means["reason"])


def decoded(kind, frames):
    """What five frames mean, by the names of vectors.json."""
    match kind:
        case "icanhaz":
            subtree = decode_snapshot_request(frames)
            return {"subtree": subtree, "packed": wants_packs(frames)}
        case "pack":
            assert is_pack(frames)
            entries = [entry for entry in decode_pack(frames)]
            return {"entries": [[frame.hex() for frame in entry] for entry in entries]}
        case "kv":
            kv = KVMessage.decode(frames)
            parts = ("key", "sequence", "uuid", "properties", "body", "ttl")
            return {name: getattr(kv, name) for name in parts}
        case "kthxbai":
            assert is_snapshot_end(frames)
            end = decode_snapshot_end(frames)
            parts = ("sequence", "subtree", "entries", "extended")
            return {name: getattr(end, name) for name in parts} | {"properties": frames[3]}
        case "hugz":
            beat = decode_heartbeat(frames)
            parts = ("subtree", "sequence", "updates")
            return {name: getattr(beat, name) for name in parts} | {"properties": frames[3]}
        case "refusal":
            return {"key": frames[0], "uuid": frames[2], "reason": decode_refusal(frames)}


@pytest.mark.parametrize(
    "vector",
    [vector for vector in VECTORS if vector.get("sent", True)],
    ids=lambda vector: vector["name"],
)
def test_what_is_sent_has_these_bytes(vector):
    kind, means, form = vector["kind"], meaning_of(vector), FORMS[vector["form"]]
    frames = encoded(kind, means)
    if is_write(vector):
        frames = form.client().encode_update(frames)
    elif kind != "icanhaz":
        frames = form.encode(frames)
    assert frames == frames_of(vector)


@each_vector
def test_these_bytes_are_understood(vector):
    """KV-5, KV-6, R12-1, R12-3, R12-4: what the Guide's programs put elsewhere does no harm."""
    kind, frames, means = vector["kind"], frames_of(vector), meaning_of(vector)
    form = FORMS[vector["form"]]
    if is_write(vector):
        found = form.updates(lambda frames: decoded(kind, frames))(frames)
    elif kind in ("hugz", "refusal"):
        found = form.client().published(lambda frames: decoded(kind, frames))(frames)
    elif kind != "icanhaz":
        found = form.client().snapshot(lambda frames: decoded(kind, frames))(frames)
    else:
        found = decoded(kind, frames)
    assert {name: found[name] for name in means} == means


@pytest.mark.parametrize("size", [4, 8])
def test_kv_5_a_simple_message_comes_back_as_it_was(size):
    """KV-5: 8 bytes, and on request the 4 of the Guide's kvsimple in Python."""
    simple = KVMessage(b"/a/1", 7, body=b"one")
    frames = simple.encode_simple(sequence_size=size)
    assert (len(frames), len(frames[1])) == (3, size)
    assert KVMessage.decode_simple(frames, sequence_size=size) == simple


def test_every_kind_of_message_is_there():
    kinds = {"icanhaz", "kv", "pack", "kthxbai", "hugz", "refusal"}
    assert {vector["kind"] for vector in VECTORS} == kinds
    assert {vector["form"] for vector in VECTORS} == set(FORMS)


def test_the_documentation_shows_the_same_bytes():
    rows = dict(re.findall(r"^\| (.+?) \| ((?:`|\(empty\)).+) \|$", PAGE.read_text("utf-8"), re.M))
    for vector in VECTORS:
        shown = " · ".join(f"`{frame}`" if frame else "(empty)" for frame in vector["frames"])
        assert rows.get(vector["name"]) == shown
