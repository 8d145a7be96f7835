#!/usr/bin/python3
"""Prints the history of a variable of a guest: when it changed, by whom, and a bar for its
value. As a notebook would:

    value_history.py FILE.cvr ADDRESS [BYTES]
"""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
import chronovisor  # noqa: E402 pylint: disable=wrong-import-position

WIDTH = 40


def main(arguments: list[str]) -> int:
    if len(arguments) not in (2, 3):
        print(__doc__, file=sys.stderr)
        return 2
    file, address = arguments[:2]
    length = int(arguments[2]) if len(arguments) == 3 else 8
    with chronovisor.open(file) as timeline:
        changes = list(timeline.values(address, length))
        most = max((change.after or 0 for change in changes), default=0)
        for change in changes:
            bar = "#" * (WIDTH * (change.after or 0) // most if most else 0)
            place = change.symbol or hex(change.pc)
            print(f"{change.position:>16,}  {place:<24} {change.before} -> {change.after}  {bar}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except chronovisor.Error as error:
        print(f"value_history: {error}", file=sys.stderr)
        sys.exit(3)
    except BrokenPipeError:
        sys.exit(5)
