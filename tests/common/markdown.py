# SPDX-License-Identifier: BSD-3-Clause
"""Code blocks of the documentation, so that tests run what people read and not a copy of it."""
import collections
import os
import re
import textwrap

ROOT = os.environ.get("LEAT_ROOT", os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
COMMANDS = ("ip", "leatd", "leatctl", "until", "kill", "sudo", "scripts", "perf", "meson", "ninja", "build-perf", "tests", "apt-get",
            "podman", "systemctl")

Block = collections.namedtuple("Block", "path line text")


def blocks(path):
    """All of a file: indented by four blanks after an empty line, or between fences; without that indentation."""
    found, block, first, fence, before = [], [], 0, False, ""
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        lines = file.read().splitlines()

    def end():
        if block:
            found.append(Block(path, first, textwrap.dedent("\n".join(block)).strip("\n") + "\n"))
        block.clear()

    for number, line in enumerate([*lines, ""], 1):
        if line.startswith("```"):
            end()
            fence, first = not fence, number
        elif fence or (line.startswith("    ") and (block or not before.strip())):
            first = first if block else number
            block.append(line)
        elif block and line.strip():
            end()
        before = line
    end()
    return found


def is_commands(block):
    """Whether the block is for a shell: its first word, without assignments, is a program."""
    words = [w for w in block.text.split() if not re.match(r"\w+=", w)]
    return bool(words) and words[0].split("/")[0] in COMMANDS


def command_lines(block):
    """Without comments; what a backslash joins is one."""
    joined = block.text.replace("\\\n", " ")
    return [text for text in (re.sub(r"\s+#.*", "", line).strip() for line in joined.splitlines()) if text]


def starting(path, text):
    """The block of the file that starts so."""
    (block,) = [b for b in blocks(path) if b.text.startswith(text)]
    return block
