"""Model Five: as Model Four, and a value may have a time to live (Guide, chapter 5).

    server                               client
    snapshot  P   ROUTER <- ICANHAZ?, subtree - DEALER
                         -- its entries, KTHXBAI -->
    publisher P+1 XPUB   ------ update ------>  SUB, subscribed to the subtree
    collector P+2 PULL   <-- update, ttl=30 --  PUSH

From here on a message has five frames: the time to live is a property. The server deletes what is
over and publishes that; nobody else does. A write has a uuid by which it is known again.
"""

from __future__ import annotations

from collections.abc import Iterable

import zmq

from patterns.clone.client import CloneClient
from patterns.clone.dialects import Dialect
from patterns.clone.forms import FULL
from patterns.clone.interfaces import CollectorInterface, PublisherInterface, SnapshotInterface
from patterns.clone.model_server import ModelServer
from reactor import Handler

DIALECT = Dialect(FULL, collector=zmq.PULL, heartbeats=False)


class Server(ModelServer):
    """Numbers, keeps and publishes what clients send, and deletes what has had its time."""

    dialect = DIALECT

    def build(self) -> Iterable[Handler]:
        """Bind the three ports; the dialect has the type of the last."""
        snapshots, publisher, collector = self.bind(zmq.ROUTER, zmq.XPUB, self.collector)
        return [
            self.sender(snapshots),
            SnapshotInterface(snapshots, self, subtrees=True),
            PublisherInterface(publisher, self),
            CollectorInterface(collector, self, self.dialect.form),
        ]


class Client(CloneClient):
    """A CloneClient of a subtree, whose values may be ephemeral."""

    dialect = DIALECT
