#!/usr/bin/python3 -I
"""A program as `process` wants one: accounts in a file, passwords as salted hashes. What a test asks of it by settings, it does wrong."""

import hashlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any


def digest(salt: str, password: str) -> str:
    return hashlib.sha256(salt.encode() + password.encode()).hexdigest()


class Program:
    def __init__(self) -> None:
        self.path = Path()
        self.fault = ""

    def accounts(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.path.read_text())
        return found

    def right(self, account: dict[str, Any], password: str) -> bool:
        salt, _, expected = account["hash"].partition("$")
        return bool(digest(salt, password) == expected)

    def answer(self, request: dict[str, Any]) -> list[dict[str, Any]]:
        operation = request["operation"]
        if operation == "open":
            return [self.open(request)]
        if operation == "read":
            return self.read()
        accounts = self.accounts()
        account = accounts.get(request["account"]["anchor"])
        if operation == "verify":
            known = account is not None and self.right(account, request["password"])
            return [{"proof": "proved" if known else "not-proved"}]
        return [self.store(request, accounts, account)]

    def store(self, request: dict[str, Any], accounts: dict[str, Any], account: Any) -> dict[str, Any]:
        if account is None:
            return {"code": "object-missing", "detail": "no such account"}
        if self.fault == "echo":
            return {"code": "error", "detail": f"could not set {request['password']}"}
        if request["operation"] == "change" and not self.right(account, request["old"]):
            return {"code": "access-denied", "detail": "the old password is wrong"}
        salt = os.urandom(8).hex()
        account["hash"] = f"{salt}${digest(salt, request['password'])}"
        account["must_change"] = request.get("must_change", False)
        self.path.write_text(json.dumps(accounts))
        return {"code": "success"}

    def open(self, request: dict[str, Any]) -> dict[str, Any]:
        self.path = Path(request["settings"]["accounts"])
        self.fault = request["settings"].get("fault", "")
        if self.fault == "refuse":
            return {"code": "access-denied", "detail": f"{request['secret']} is wrong"}
        operations = request["settings"].get("operations", ["read", "set", "change", "verify"])
        return {"code": "success", "security": "secure", "operations": operations}

    def read(self) -> list[dict[str, Any]]:
        objects = [
            {"anchor": name, "dn": f"{name}@program", "attributes": {"mail": [f"{name}@example.test"]}}
            for name in self.accounts()
        ]
        return [{"objects": objects[:1], "more": True}, {"objects": objects[1:], "cookie": "mark-1"}]

    def misbehave(self) -> None:
        """Between the question and the answer."""
        if self.fault == "die":
            raise SystemExit(3)
        if self.fault == "silent":
            time.sleep(60)
        if self.fault == "nonsense":
            print("this is not JSON")
        if self.fault == "flood":
            sys.stdout.write("x" * 6_000_000)
        if self.fault == "noise":
            print(sys.argv, os.environ, "on standard error", file=sys.stderr)


def main() -> None:
    program = Program()
    for line in sys.stdin:
        request = json.loads(line)
        if request["operation"] != "open":
            program.misbehave()
        for answer in program.answer(request):
            number = 999 if program.fault == "stranger" and request["operation"] != "open" else request["id"]
            print(json.dumps({"id": number, **answer}), flush=True)


if __name__ == "__main__":
    main()
