#!/usr/bin/python3 -I
"""A connected system for `process` that writes down every set, in order: the account, and a keyed digest of what it got. It never keeps a password.

`settings`: `people` (JSON: anchor to attributes), `writes` (one line of JSON for each set), `key` (hex, for the digest).
"""

import hashlib
import hmac
import json
import os
import sys
from pathlib import Path
from typing import Any


def serve() -> None:
    settings: dict[str, Any] = {}
    for line in sys.stdin:
        request = json.loads(line)
        if request["operation"] == "open":
            settings = request["settings"]
        print(json.dumps({"id": request["id"], **answer(request, settings)}), flush=True)


def answer(request: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    if request["operation"] == "open":
        return {"code": "success", "security": "secure", "operations": ["read", "set"]}
    people = json.loads(Path(settings["people"]).read_text(encoding="utf-8"))
    if request["operation"] == "read":
        objects = [{"anchor": name, "dn": name, "attributes": found} for name, found in people.items()]
        return {"objects": objects, "cookie": ""}
    anchor = request["account"]["anchor"]
    if anchor not in people:
        return {"code": "object-missing"}
    digest = hmac.digest(bytes.fromhex(settings["key"]), request["password"].encode(), hashlib.sha256).hex()
    record = json.dumps({"account": anchor, "digest": digest}) + "\n"
    file_number = os.open(settings["writes"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(file_number, record.encode())
    os.close(file_number)
    return {"code": "success"}


if __name__ == "__main__":
    serve()
