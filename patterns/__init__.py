"""The publish-subscribe patterns of the ZeroMQ Guide, each a handler set for a `reactor.Reactor`.

================  ==================================  =======================
Package           Section of the Guide                Entry class
================  ==================================  =======================
last_value_cache  Chapter 5, Last Value Caching       LastValueCache
binary_star       Chapter 4, High-Availability Pair   BinaryStar
clone             Chapter 5, Reliable Pub-Sub         CloneServer, CloneClient
================  ==================================  =======================

Import a pattern from its own package: `from patterns.clone import CloneServer`. This one imports
none of them, so that a program loads what it uses.
"""
