"""`reactor bench`: what a pattern gains or costs on this machine.

`command` is what is typed, `rounds` the order of events, `roles` the processes, `report` what is
printed.
"""
