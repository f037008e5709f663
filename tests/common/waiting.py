# SPDX-License-Identifier: BSD-3-Clause
"""Waiting for a condition, the only way in which a test may wait."""
import time

DEADLINE_S = 30


def wait_for(condition, what, deadline_s=DEADLINE_S):
    """Polls the condition until it is true, and gives its value; fails naming it."""
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.005)  # poll interval
    raise AssertionError(f"not within {deadline_s} s: {what}")
