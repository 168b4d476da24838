"""The publish-subscribe patterns of the ZeroMQ Guide, each a handler set for a `reactor.Reactor`.

================  ==================================  ===============================
Package           Section of the Guide                Entry class
================  ==================================  ===============================
espresso          Chapter 5, Pub-Sub Tracing          Espresso
last_value_cache  Chapter 5, Last Value Caching       LastValueCache
suicidal_snail    Chapter 5, Slow Subscriber          SnailPublisher, SnailSubscriber
black_box         Chapter 5, High-Speed Subscribers   BlackBox
binary_star       Chapter 4, High-Availability Pair   BinaryStar
clone             Chapter 5, Reliable Pub-Sub         CloneServer, CloneClient
================  ==================================  ===============================

Import a pattern from its own package: `from patterns.clone import CloneServer`. This one imports
none of them, so that a program loads what it uses.
"""
