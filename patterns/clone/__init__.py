"""Clone: one changing map, shared by many processes (the Guide, chapter 5; RFC 12, CHP).

    +------------------- server -------------------+
    | snapshot P         publisher P+1   collector P+2
    | ROUTER             XPUB            SUB       |
    +----^--|---------------|---------------^------+
         |  | KVSYNC ...    | KVPUB, HUGZ   | KVSET
ICANHAZ? |  v KTHXBAI       v               |
    +----|--v---------------v---------------|------+
    | DEALER             SUB             XPUB      |
    +------------------- client -------------------+

A client subscribes, fetches a snapshot, and then follows the updates. It never writes into its
own map: what it sets comes back from the server, numbered, like everybody's. With a second server
(a Binary Star pair, model 6) the state survives the death of the first.

The rules are in `protocol`, the messages in `messages`, the map in `store`.
"""
