"""`python -m patterns.commands` is the `reactor` command."""

from patterns.commands import main

if __name__ == "__main__":
    raise SystemExit(main())
