"""Speed of the reactor beside its peers, every ratio from interleaved rounds of one run.

Run `python -m benchmarks` from the project's root; README.md says what each figure means.
"""
