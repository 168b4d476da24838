"""The judge of the chaos, a process of its own: `python -m patterns.commands.chaos.judge`.

It follows all journals in a folder and tells them to the simulation's recorders. What it hears is
`until INSTANT`, to take what was written up to then, and `check HEALED_AT`, to check it all. With
`--again` it goes through a folder that a run has left, hears nothing, and prints the report again.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from patterns.commands.chaos.evidence import chaos_lines, planned_policy, report_of
from patterns.commands.chaos.journal import JournalReader, in_order
from patterns.commands.chaos.merged import MergedHistory

_LISTED = 100


class Judge:
    """Reads the journals of a folder, also those that are begun later.

    The first line of that of the chaos itself says what each client follows, and the servers'
    policy.
    """

    def __init__(self, folder: Path) -> None:
        plan = chaos_lines(folder)[0]
        subtrees = plan["subtrees"]
        self.merged = MergedHistory(
            {name: [each.encode() for each in subtrees[name]] for name in subtrees},
            planned_policy(plan),
        )
        self._folder = folder
        self._readers: dict[Path, JournalReader] = {}

    def take_until(self, instant: float) -> None:
        """Take all lines up to an instant; nobody writes any that is older, from now on."""
        for path in sorted(self._folder.glob("*.jsonl")):
            if path not in self._readers:
                self._readers[path] = JournalReader(path)
        lines = [
            (path.name.partition(".")[0], reader.read_until(instant))
            for path, reader in self._readers.items()
        ]
        for name, line in in_order(lines):
            self.merged.take(name, line)

    def check(self, healed_at: float) -> None:
        """Check everything that was taken."""
        self.merged.check(healed_at)

    def verdict(self) -> dict[str, Any]:
        """What there is to say so far."""
        history = self.merged.history
        writes = history.writes.values()
        acknowledged = Counter(each.level for each in writes if each.sequence is not None)
        told = list(dict.fromkeys(map(str, history.violations)))
        return {
            "violations": len(told),
            "first": told[:_LISTED],
            "published": dict(self.merged.policy_check.published),
            "acknowledged": dict(acknowledged),
            "failed": dict(Counter(each.reason for each in writes if each.reason)),
            "unanswered": sum(each.answered is None for each in writes),
            "lost": {level: self.merged.lost[level] for level in acknowledged},
            "overwritten": {level: self.merged.overwritten[level] for level in acknowledged},
            "activities": len(history.activities),
            "given_up": sum(len(each.reported) for each in history.activities),
            "failovers": self.merged.failovers,
        }


def judge_again(folder: Path) -> Judge:
    """Go through what a run has left, and check it where the run did."""
    judge = Judge(folder)
    for line in chaos_lines(folder):
        if line["what"] == "settled":
            judge.take_until(line["at"])
            judge.check(line["healed_at"])
    return judge


def main(argv: Sequence[str] | None = None) -> None:
    """Judge until the standard input ends."""
    parser = argparse.ArgumentParser(description="The judge of the chaos.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--again", action="store_true", help="judge a run that has ended")
    options = parser.parse_args(argv)
    if options.again:
        print(report_of(options.folder, judge_again(options.folder).verdict()).as_json())
        return
    judge = Judge(options.folder)
    for line in sys.stdin:
        number, word, instant = line.split()
        if word == "until":
            judge.take_until(float(instant))
        else:
            judge.check(float(instant))
        print(json.dumps({"answer": int(number), **judge.verdict()}), flush=True)


if __name__ == "__main__":
    main()
