"""The rules of both sides of Clone, the server's and the client's.

They are in `server_protocol` and `client_protocol`, with the effects of each side, which have
names in common.
"""

from __future__ import annotations

from patterns.clone.client_protocol import ClientProtocol, ClientState
from patterns.clone.server_protocol import ServerProtocol, ServerState

__all__ = ["ClientProtocol", "ClientState", "ServerProtocol", "ServerState"]
