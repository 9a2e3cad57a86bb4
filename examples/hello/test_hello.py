# SPDX-License-Identifier: MIT
"""The smallest example as a process: it greets, and a file that is saved is taken over or refused."""

import os
import pathlib

import pytest

from support import wait
from support.checks import check_problem
from support.gateway import Gateway

HERE = pathlib.Path(__file__).resolve().parent
POLICY = "policies/greeting/init.lua"


@pytest.fixture
def hello():
    """The example on a port of the system's choice, with copies of its files that a test may change."""
    gateway = Gateway((HERE / "gateway.lua").read_text(), files={POLICY: (HERE / POLICY).read_text()},
                      env={**os.environ, "HELLO_LISTEN": "127.0.0.1:0"})
    with gateway:
        yield gateway


def change(gateway, name, old, new):
    text = (gateway.folder.path / name).read_text()
    assert old in text
    gateway.write(name, text.replace(old, new))


def greeting(gateway):
    response = gateway.get("/hello/ada")
    assert response.status == 200, response
    return response.text()


def test_greets_by_name(hello):
    assert greeting(hello) == "Ahoy, ada!\n"


def test_says_where_to_go_and_what_is_not_there(hello):
    assert hello.get("/").text() == "Try /hello/you\n"
    check_problem(hello.get("/nowhere"), 404)


def test_a_saved_setting_is_taken_over(hello):
    change(hello, "gateway.lua", '"Ahoy"', '"Good morning"')
    wait.until(lambda: greeting(hello) == "Good morning, ada!\n", "the new greeting was taken over")


def test_a_saved_policy_is_taken_over(hello):
    change(hello, POLICY, "= self.conf.text", "= self.conf.text:upper()")
    wait.until(lambda: greeting(hello) == "AHOY, ada!\n", "the changed policy was taken over")


def test_a_mistake_is_refused_and_named_and_the_old_code_serves(hello):
    change(hello, "gateway.lua", "text =", "txt =")
    wait.until(lambda: "txt" in hello.errors, "the mistake was reported")
    message = next(line for line in hello.lines if "txt" in line)
    assert "gateway.lua:" in message and "'text'" in message
    assert greeting(hello) == "Ahoy, ada!\n"
    change(hello, "gateway.lua", 'txt = "Ahoy"', 'text = "Moin"')
    wait.until(lambda: greeting(hello) == "Moin, ada!\n", "the mended file was taken over")
