"""One question to Patroni's REST API. Runs as a program inside of a host, because only from there the API is reached.

In: one JSON object on standard input: url, method, body, limit (seconds), ca, certificate and key (paths). Out: what it answered.
"""

import json
import ssl
import sys
import urllib.error
import urllib.request

order = json.load(sys.stdin)
context = ssl.create_default_context(cafile=order["ca"])
context.load_cert_chain(order["certificate"], order["key"])
door = urllib.request.build_opener(
    urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
)
body = None if order["body"] is None else json.dumps(order["body"]).encode()
question = urllib.request.Request(  # noqa: S310  # https, by its caller
    order["url"], data=body, method=order["method"], headers={"Content-Type": "application/json"}
)
try:
    with door.open(question, timeout=order["limit"]) as answer:
        print(answer.read().decode())
except urllib.error.HTTPError as refused:
    raise SystemExit(f"{refused.code}: {refused.read().decode()}") from None
except OSError as unreached:
    raise SystemExit(str(unreached)) from None
