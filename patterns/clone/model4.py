"""Model Four: as Model Three, and a client may want a part of the tree only (Guide, chapter 5).

    server                               client
    snapshot  P   ROUTER <- ICANHAZ?, subtree - DEALER
                         -- its entries, KTHXBAI -->
    publisher P+1 XPUB   ------ update ------>  SUB, subscribed to the subtree
    collector P+2 PULL   <----- update -------  PUSH

A subtree is a prefix of keys, `/rates/` say. The numbers run through the whole tree, so a client of
a part sees holes all the time; the server counts for it what it should have received.
"""

from __future__ import annotations

from collections.abc import Iterable

import zmq

from patterns.clone.client import CloneClient
from patterns.clone.dialects import Dialect
from patterns.clone.forms import SIMPLE
from patterns.clone.interfaces import CollectorInterface, PublisherInterface, SnapshotInterface
from patterns.clone.model_server import ModelServer
from reactor import Handler

DIALECT = Dialect(SIMPLE, collector=zmq.PULL, heartbeats=False)


class Server(ModelServer):
    """Numbers, keeps and publishes what clients send, at three ports from `port` on."""

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
    """A CloneClient of a subtree, without ephemeral values."""

    dialect = DIALECT
