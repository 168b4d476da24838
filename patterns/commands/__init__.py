"""The `reactor` command: `main` starts it, `app` lists the commands, each is a file of its own.

It needs the extra `cli`; this module imports nothing of it, so that `main` can say so.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

_EXTRAS = {"click": "cli", "rich": "cli", "msgspec": "cli", "currency_converter": "demo"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, by default the process's own, and return or exit with its status.

    0 is success, 1 a failure, 2 wrong usage or an extra that is not installed, 3 no answer in time.
    """
    try:
        from patterns.commands.app import app

        app.main(arguments, prog_name="reactor")  # exits by itself
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _EXTRAS:
            raise
        hint = f"pip install 'zmq-reactor[{_EXTRAS[package]}]'"
        print(f"reactor: this needs the package {package}: {hint}", file=sys.stderr)
        return 2
    return 0
