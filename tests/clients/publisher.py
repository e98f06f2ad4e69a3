"""Publishes what comes in as lines of JSON, and prints each answer as one: {"status": …, "body": …}.

    publisher.py http://127.0.0.1:8787 key secret

A line has "json" (for POST /publish), or "channel" and "base64" (for POST /publish/{channel}), and maybe "headers".
"""

import base64
import json
import sys

import requests

server, key, secret = sys.argv[1:]
session = requests.Session()
session.auth = (key, secret)

for line in sys.stdin:
    asked = json.loads(line)
    headers = asked.get("headers", {})
    if "json" in asked:
        answer = session.post(f"{server}/publish", json=asked["json"], headers=headers, timeout=10)
    else:
        body = base64.b64decode(asked["base64"])
        answer = session.post(f"{server}/publish/{asked['channel']}", data=body, headers=headers, timeout=10)
    print(json.dumps({"status": answer.status_code, "body": answer.json()}), flush=True)
