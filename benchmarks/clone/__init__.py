"""Clone beside its peers: `python -m benchmarks.clone --help`.

One file is one peer (`ours`, `guide`, `nats_kv`, `redis_kv`, `etcd_kv`), with the same functions in
each, or one measurement (`rates`, `snapshot`, `large`, `connections`, `memory`).
"""
