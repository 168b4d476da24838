"""Model Two: as Model One, and a client that comes late asks for a snapshot (Guide, chapter 5).

    server                       client
    snapshot  P   ROUTER <--- ICANHAZ? ---  DEALER
                         ---- entries, KTHXBAI --->
    publisher P+1 XPUB   ---- update --->   SUB

A client asks when it knows that its subscription has arrived, and applies from what was published
meanwhile only what is newer than the snapshot.
"""

from __future__ import annotations

from collections.abc import Iterable

import zmq

from patterns.clone.client import CloneClient
from patterns.clone.dialects import Dialect
from patterns.clone.forms import SIMPLE
from patterns.clone.interfaces import PublisherInterface, SnapshotInterface
from patterns.clone.model_server import ModelServer
from reactor import Handler

DIALECT = Dialect(SIMPLE, subtrees=False, collector=None, heartbeats=False)


class Server(ModelServer):
    """Publishes what the application gives to `set` and `delete`, and keeps it for who comes."""

    dialect = DIALECT

    def build(self) -> Iterable[Handler]:
        """Bind the snapshots at `port`, and the publisher at the next."""
        snapshots, publisher = self.bind(zmq.ROUTER, zmq.XPUB)
        return [
            self.sender(snapshots),
            SnapshotInterface(snapshots, self),
            PublisherInterface(publisher, self),
        ]


class Client(CloneClient):
    """A CloneClient that reads only: in this model the server's application alone writes."""

    dialect = DIALECT
