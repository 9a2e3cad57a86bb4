# SPDX-License-Identifier: MIT
"""Three origins in one process for bench/endpoints: each answers after its own time and with its own status.

Prints their ports on one line. Each line on standard input sets them anew (`MS STATUS` three times); the answer is how many
requests each one had since the line before it.
"""

import asyncio
import sys

COUNT = 3
RESPONSE = "HTTP/1.1 %d Whatever\r\nContent-Type: text/plain\r\nContent-Length: 64\r\n\r\n" + "x" * 64


class Origin:
    def __init__(self):
        self.set(0, 200)
        self.requests = 0

    def set(self, delay_ms, status):
        self.delay_s = delay_ms / 1000
        self.response = (RESPONSE % status).encode()


class Connection(asyncio.Protocol):
    """One request after the other, none with a body."""

    def __init__(self, origin):
        self.origin = origin
        self.data = b""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.data += data
        while b"\r\n\r\n" in self.data:
            self.data = self.data.partition(b"\r\n\r\n")[2]
            self.origin.requests += 1
            asyncio.get_running_loop().call_later(self.origin.delay_s, self.transport.write, self.origin.response)


async def main():
    loop = asyncio.get_running_loop()
    origins = [Origin() for _ in range(COUNT)]
    servers = [await loop.create_server(lambda origin=origin: Connection(origin), "127.0.0.1", 0) for origin in origins]
    print(*(server.sockets[0].getsockname()[1] for server in servers), flush=True)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        words = line.split()
        print(*(origin.requests for origin in origins), flush=True)
        for number, origin in enumerate(origins):
            origin.requests = 0
            origin.set(float(words[2 * number]), int(words[2 * number + 1]))


asyncio.run(main())
