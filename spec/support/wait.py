# SPDX-License-Identifier: MIT
"""Waiting with an end: nothing in the tests waits for ever, and nothing sleeps for a guessed time."""

import os
import time

SANITIZED = bool(os.environ.get("PERIGEE_SANITIZE"))
PATIENCE = 10.0 * (4 if SANITIZED else 1)  # seconds that anything may take before a test calls it hung


def until(condition, what, seconds=PATIENCE):
    """Returns the first true value of condition(); fails the test with `what` when there is none in time."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= end:
            raise AssertionError(f"waited {seconds:g} s in vain until {what}")
        time.sleep(0.01)


class Deadline:
    """A point in time, and what is left until then."""

    def __init__(self, seconds=PATIENCE):
        self.end = time.monotonic() + seconds

    def left(self):
        return self.end - time.monotonic()

    def is_over(self):
        return self.left() <= 0
