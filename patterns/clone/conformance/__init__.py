"""Does a server keep RFC 12 (CHP)? A check from outside, against any server of any make.

    handlers    the sockets
    protocol    takes what arrives and what time it is, says what to send
    script      the steps: what is said, and what the answers prove
    session     what was said and heard so far
    judging     what single messages prove
    clauses     the clauses, and what was found of each

The check uses keys of its own only, below /chp-check/ and a random word, and deletes them.
"""

from __future__ import annotations
