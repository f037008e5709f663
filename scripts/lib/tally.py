# SPDX-License-Identifier: BSD-3-Clause
"""Counts the tests in meson's testlog.json and in JUnit files.

usage: tally.py NAME FILE...
Prints what failed and every reason for a skip, then one line: tally NAME PASSED FAILED SKIPPED.
"""

import json
import re
import sys
import xml.etree.ElementTree as ET

TAP = re.compile(r"^\s*(ok|not ok)\b\s*\d*\s*-?\s*(.*)$", re.MULTILINE)


class Tally:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def ok(self, _name):
        self.passed += 1

    def bad(self, name, why=""):
        self.failed += 1
        print(f"  FAILED  {name} {why}".rstrip())

    def skip(self, name, why=""):
        self.skipped += 1
        print(f"  skipped: {name}: {why or 'no reason given'}")


def tail(text, n_lines=25):
    lines = (text or "").strip().splitlines()
    return "\n".join("          " + line for line in lines[-n_lines:])


def count_meson(path, tally):
    with open(path, encoding="utf-8") as log:
        for line in log:
            test = json.loads(line)
            out = test.get("stdout") or ""
            results = TAP.findall(out)
            if test["result"] == "SKIP":
                tally.skip(test["name"], tail(out + (test.get("stderr") or ""), 1).strip())
                continue
            n_bad = 0
            for verdict, what in results:
                name = f"{test['name']}: {what}"
                if verdict == "not ok":
                    n_bad += 1
                    tally.bad(name)
                elif "# SKIP" in what or "# skip" in what:
                    tally.skip(name, what.split("#", 1)[1])
                else:
                    tally.ok(name)
            if test["result"] not in ("OK", "EXPECTEDFAIL"):
                if n_bad == 0:
                    tally.bad(test["name"], f"({test['result']}, status {test['returncode']})")
                print(tail(out) + "\n" + tail(test.get("stderr")))
            elif not results:
                tally.ok(test["name"])


def count_junit(path, tally):
    for case in ET.parse(path).getroot().iter("testcase"):
        name = f"{case.get('classname', '')}::{case.get('name', '')}"
        bad = [child for child in case if child.tag in ("failure", "error")]
        skip = case.find("skipped")
        if bad:
            first = (bad[0].get("message") or "").strip().splitlines()
            tally.bad(name, first[0] if first else "")
        elif skip is not None:
            tally.skip(name, skip.get("message") or "")
        else:
            tally.ok(name)


def main():
    tally = Tally()
    for path in sys.argv[2:]:
        (count_junit if path.endswith(".xml") else count_meson)(path, tally)
    print(f"tally {sys.argv[1]} {tally.passed} {tally.failed} {tally.skipped}")


if __name__ == "__main__":
    main()
