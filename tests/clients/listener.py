"""Listens in a room, and prints what it gets as lines of JSON; ends after so many messages.

    listener.py ws://127.0.0.1:8787/rooms/lobby 3

When the connection breaks it comes back with its last position. Text frames are printed as {"text": …}, binary ones as
{"base64": …}, a close as {"close": …}.
"""

import asyncio
import base64
import json
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed


def say(**line):
    print(json.dumps(line), flush=True)


async def listen(url, wanted):
    position, messages = None, 0
    while messages < wanted:
        separator = "&" if "?" in url else "?"
        address = f"{url}{separator}position={position}" if position else url
        # Deflate is offered as this library does by default, and not taken.
        async with connect(address, close_timeout=1) as socket:
            say(open=True)
            try:
                while messages < wanted:
                    frame = await socket.recv()
                    if isinstance(frame, bytes):
                        say(base64=base64.b64encode(frame).decode())
                        messages += 1
                        continue
                    say(text=frame)
                    if "raw=1" in url:
                        messages += 1
                        continue
                    parsed = json.loads(frame)
                    messages += parsed["type"] == "message"
                    if parsed["type"] in ("welcome", "gap", "message"):
                        position = parsed["position"]
            except ConnectionClosed as closed:
                say(close=closed.rcvd.code if closed.rcvd else 1006)
                if closed.rcvd and 4400 <= closed.rcvd.code < 4408:
                    return
    say(done=True)


asyncio.run(listen(sys.argv[1], int(sys.argv[2])))
