"""Does what comes in as lines of JSON with Pusher's own SDK for Python, and prints each answer as one: {"ok": …} or {"error": …}.

    sdk.py 127.0.0.1 8787 app-id key secret master-key-in-base64
"""

import json
import sys

import pusher

host, port, app, key, secret, master = sys.argv[1:]
sdk = pusher.Pusher(
    app_id=app,
    key=key,
    secret=secret,
    host=host,
    port=int(port),
    ssl=False,
    encryption_master_key_base64=master,
)


def text(answer):
    shared = answer.get("shared_secret")
    return {**answer, "shared_secret": shared.decode()} if shared else answer


def act(line):
    match line["do"]:
        case "trigger":
            return sdk.trigger(line["channels"], line["name"], line["data"], line.get("socket_id"))
        case "batch":
            return sdk.trigger_batch(line["batch"])
        case "channels":
            return sdk.channels_info(line.get("prefix"), line.get("info", []))["channels"]
        case "channel":
            return sdk.channel_info(line["channel"], line.get("info", []))
        case "users":
            return [user["id"] for user in sdk.users_info(line["channel"])["users"]]
        case "send_to_user":
            return sdk.send_to_user(line["user"], line["name"], line["data"])
        case "authorize":
            return text(sdk.authenticate(line["channel"], line["socket_id"], line.get("data")))
        case "user":
            return sdk.authenticate_user(line["socket_id"], line["data"])
        case "webhook":
            hook = sdk.validate_webhook(line["key"], line["signature"], line["body"])
            return hook and hook["events"]


for given in sys.stdin:
    try:
        answer = {"ok": act(json.loads(given))}
    except Exception as error:
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), flush=True)
