# SPDX-License-Identifier: MIT
"""Fixtures of the end-to-end tests."""

import contextlib
import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import program  # noqa: E402
from support.gateway import BINARY, Folder, Gateway  # noqa: E402
from support.tls import Authority  # noqa: E402
from support.upstream import Upstream  # noqa: E402


def pytest_collection_modifyitems(items):
    """Tests of the binary need the binary; with CI set a missing one is a failure, not a skip."""
    if not os.environ.get("CI") and not os.access(BINARY, os.X_OK):
        missing = pytest.mark.skip(reason=f"{BINARY} does not exist: run make")
        for item in items:
            if item.path.name != "test_harness.py":
                item.add_marker(missing)


@pytest.fixture(scope="module")
def origin():
    """The upstream that the module's gateway forwards to."""
    with Upstream() as upstream:
        yield upstream


@pytest.fixture(autouse=True)
def fresh_origin(request):
    """What an earlier test asked of the module's upstream is forgotten, and what went wrong in it is this test's failure."""
    if "origin" not in request.fixturenames:
        yield
        return
    upstream = request.getfixturevalue("origin")
    upstream.forget()
    yield
    assert upstream.failures == [], upstream.failures


@pytest.fixture(scope="module")
def authority():
    """Who vouches for the certificates of the module's tests."""
    authority = Authority()
    yield authority
    authority.remove()


@pytest.fixture
def folder():
    folder = Folder()
    yield folder
    folder.remove()


@pytest.fixture
def launch():
    """Starts gateways that end, and are checked, with the test: launch(config, files=…, values=…)."""
    with contextlib.ExitStack() as stack:
        def start(config, **options):
            gateway = Gateway(config, **options)
            stack.callback(gateway.stop)
            return gateway.wait_ready()

        yield start


@pytest.fixture
def curl():
    return program.need("curl")
