# SPDX-License-Identifier: MIT
"""Recordings as `perigee record` writes them (docs/operations/record-replay.md), made up line by line."""

import datetime
import json

BEGIN = datetime.datetime(2026, 3, 1, 12, 0, 0)


def fields(headers):
    return [[name, value] for name, value in headers.items()]


def exchange(target, at=0.0, method="GET", headers=None, status=200, route="all", upstream="api", sent=None, answer=None, **more):
    """One exchange, `at` seconds behind the first: what came is sent on as it is, and so is the answer."""
    client = {"host": "shop.example", **(headers or {})}
    forwarded = {"x-forwarded-for": "192.0.2.1", "x-forwarded-proto": "http", "x-forwarded-host": "shop.example"}
    received = fields({**client, **forwarded})
    response = {"status": status, "headers": fields({"content-type": "text/plain", **(answer or {})})}
    line = {
        "time": (BEGIN + datetime.timedelta(seconds=at)).isoformat(timespec="milliseconds") + "Z",
        "peer": "192.0.2.1",
        "request": {"method": method, "host": "shop.example", "target": target, "headers": received},
        "route": route,
    }
    if upstream:
        request = {"method": method, "target": sent or target, "headers": received}
        line["attempts"] = [{"upstream": upstream, "request": request, "response": {**response, "body": "ok"}}]
    line["response"] = response
    line.update(more)
    return line


def text(exchanges, end=True, **first):
    """The whole file."""
    lines = [{"perigee_recording": 1, "sample": 1.0, "credentials": "masked", **first}, *exchanges]
    if end:
        lines.append({"end": {"exchanges": len(exchanges), "dropped": 0}})
    return "".join(json.dumps(line) + "\n" for line in lines)
