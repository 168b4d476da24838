"""Runs of the chaos that a test tells: the journals of a pair, a writer and a reader."""

from patterns.clone.messages import make_sequence
from patterns.commands.chaos.journal import Journal, text
from patterns.commands.chaos.judge import judge_again
from patterns.commands.chaos.merged import CHAOS

PUBLISHED_TO_TOLD = 0.001


class Story:
    """The journals of a run that a test tells: a pair, a writer, and what they do."""

    def __init__(self, folder, **plan):
        self.folder = folder
        self.now = 100.0
        self.journals = {}
        self.sequence = 0
        self.uuids = 0
        self.copies = set()
        self.write(CHAOS, "plan", subtrees={"writer": [""], "reader": ["/a/"]}, **plan)
        for name in ("primary", "backup", "writer", "reader"):
            self.write(CHAOS, "born", who=name)

    def write(self, name, what, /, **fields):
        if name not in self.journals:
            life = "" if name == CHAOS else ".1"
            path = self.folder / f"{name}{life}.jsonl"
            self.journals[name] = Journal(path, clock=self.clock)
        return self.journals[name].write(what, **fields)

    def clock(self):
        self.now += PUBLISHED_TO_TOLD
        return self.now

    def lead(self, server, epoch, fork=0, entries=()):
        self.write(server, "begin", fork=fork, map=list(entries))
        self.sequence = make_sequence(epoch, 0)
        self.write(server, "number", sequence=self.sequence)

    def put(self, server, key="/a/1", body="x", *, heard_as=None, level="applied", **published):
        """A write: invoked, published, told to both clients."""
        self.uuids += 1
        uuid = f"{self.uuids:032x}"
        self.invoke("writer", uuid, key, body, level)
        self.publish(server, uuid, key, body, **published)
        heard = body if heard_as is None else heard_as
        told = [["put", key, heard, self.uuids == 1]]
        answer = [["acknowledged", uuid, self.sequence]]
        self.write("writer", "told", sequence=self.sequence, live=True, effects=told + answer)
        self.write("reader", "told", sequence=self.sequence, live=True, effects=told)

    def invoke(self, client, uuid, key="/a/1", body="x", level="applied", number=0):
        fields = {"key": key, "body": body, "ttl": 0.0, "level": level, "seen": None}
        self.write(client, "invoked", uuid=uuid, number=number or self.uuids, **fields)

    def publish(self, server, uuid, key="/a/1", body="x", peer="", holds_back=False):
        """An active server numbers an update, its `peer` takes it, and it leaves."""
        self.store(server, uuid, key, body)
        if peer:
            self.follow(peer)
        self.release(server, uuid, key, self.sequence if peer else 0, holds_back)

    def store(self, server, uuid, key="/a/1", body="x"):
        """An active server numbers an update, which is held back until its `release`."""
        self.sequence += 1
        update = [key, text(bytes.fromhex(uuid)), "", body]
        self.write(server, "stored", sequence=self.sequence, update=update)

    def follow(self, server):
        """A passive server has everything; at first a copy, later it is told."""
        if server in self.copies:
            self.write(server, "stored", sequence=self.sequence, update=[])
        else:
            self.copies.add(server)
            self.write(server, "copy", sequence=self.sequence)

    def release(self, server, uuid, key="/a/1", confirmed=0, holds_back=False):
        update = [key, text(bytes.fromhex(uuid)), "", ""]
        fields = {"sequence": self.sequence, "confirmed": confirmed, "holds_back": holds_back}
        self.write(server, "published", update=update, **fields)

    def refuse(self, server, uuid, key="/a/1", reason="unreplicated"):
        update = [key, text(bytes.fromhex(uuid)), f"refused={reason}\n", ""]
        fields = {"sequence": 0, "confirmed": 0, "holds_back": False}
        self.write(server, "published", update=update, **fields)

    def settle(self):
        self.write(CHAOS, "settled", healed_at=self.now)
        for journal in self.journals.values():
            journal.close()

    def verdict(self):
        self.settle()
        verdict = judge_again(self.folder).verdict()
        return [line.partition(" ")[0] for line in verdict["first"]]


def fault(story, number, name, kind, seconds, *nodes):
    until = story.now + seconds
    fields = {"name": name, "kind": kind, "nodes": nodes, "until": until}
    story.write(CHAOS, "fault", number=number, **fields)


def kill_primary(story):
    fault(story, 1, "kill active", "crash", 5.0, "primary")
    story.write(CHAOS, "dead", who="primary", expected=True)
