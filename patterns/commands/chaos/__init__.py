"""Chaos: a Clone pair and its clients as processes, and all that can happen to processes.

    writer  writer  reader  plain ...      each a process, in a network of its own if possible
       \\       |       |      /
        link   link    link  link          each a TCP proxy that delays, cuts, resets, trickles
          \\     |       |    /
          primary == link == backup        killed, stopped, unplugged, one at a time

Every process writes down what it does (`journal`), as the simulation's recorders are told it. The
`judge` tells it to those recorders in the order of time, and the simulation's checker decides.
"""
