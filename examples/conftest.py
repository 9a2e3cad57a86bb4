# SPDX-License-Identifier: MIT
"""The examples are tested with the harness of the end-to-end tests."""

import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "spec"))

from support.gateway import BINARY  # noqa: E402


def pytest_collection_modifyitems(items):
    """The examples need the binary; with CI set a missing one is a failure, not a skip."""
    if not os.environ.get("CI") and not os.access(BINARY, os.X_OK):
        for item in items:
            item.add_marker(pytest.mark.skip(reason=f"{BINARY} does not exist: run make"))
