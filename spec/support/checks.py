# SPDX-License-Identifier: MIT
"""What several test files assert."""

import json


def check_problem(response, status, kind=None):
    """Is it an error document of the proxy itself (RFC 9457)? Returns the document."""
    assert response.status == status, response
    assert response.headers.get("content-type") == "application/problem+json"
    problem = json.loads(response.body)
    assert problem["status"] == status
    assert problem["title"] and problem["detail"] and problem["type"]
    if kind:
        assert problem["type"].rpartition(":")[2] == kind
    return problem
