"""Model Three: as Model Two, and clients write: the server publishes it again (Guide, chapter 5).

    server                       client
    snapshot  P   ROUTER <--- ICANHAZ? ---  DEALER
                         ---- entries, KTHXBAI --->
    publisher P+1 XPUB   ---- update --->   SUB
    collector P+2 PULL   <--- update ----   PUSH

All see all updates in one order, that of the server, which numbers them. What a client has set it
believes when it comes back.
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

DIALECT = Dialect(SIMPLE, subtrees=False, collector=zmq.PULL, heartbeats=False)


class Server(ModelServer):
    """Numbers, keeps and publishes what clients send, at three ports from `port` on."""

    dialect = DIALECT

    def build(self) -> Iterable[Handler]:
        """Bind the three ports; the dialect has the type of the last."""
        snapshots, publisher, collector = self.bind(zmq.ROUTER, zmq.XPUB, self.collector)
        return [
            self.sender(snapshots),
            SnapshotInterface(snapshots, self),
            PublisherInterface(publisher, self),
            CollectorInterface(collector, self, self.dialect.form),
        ]


class Client(CloneClient):
    """A CloneClient that reads and writes, without subtrees and without ephemeral values."""

    dialect = DIALECT
