"""`reactor demo`: real rates through a Clone pair and a last value cache, and a kill -9 half way.

    replay (the writer) --KVSET--> primary, backup --KVPUB--> client processes
           |
           +--plain messages--> last value cache --> the same client processes

At the end every client is compared with the true last rates, key by key. `run` is the story;
`rates`, `truth` and `report` know no process, `processes` and `servers` start them, `replay` and
`feed` write, `client` is what runs in each client process.
"""
