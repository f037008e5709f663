# SPDX-License-Identifier: BSD-3-Clause
"""Prints one value of the JSON on standard input: json_get.py KEY.KEY.INDEX… ('' for a missing one; status 1)."""

import json
import sys


def main():
    value = json.load(sys.stdin)
    for key in sys.argv[1].split("."):
        try:
            value = value[int(key)] if isinstance(value, list) else value[key]
        except (KeyError, IndexError, TypeError, ValueError):
            return 1
    print(json.dumps(value) if isinstance(value, (dict, list)) else value)
    return 0


if __name__ == "__main__":
    sys.exit(main())
