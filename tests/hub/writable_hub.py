"""The stand-in hub with users who log in by a token, make repositories and push to them."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from hashlib import sha256
from typing import Any

from stand_in import NO_REPOSITORY, NOT_SERVED, STORED_APART, Answer, Snapshot, StandInHub, StoredFile, as_json, refused

_REPOSITORY = re.compile(r"/(?:api/(models)/)?([^/]+/[^/.]+)(?:\.git)?/(preupload|commit|info|branch|resolve)/(.+)")
_STORE = re.compile(r"/large-files/([0-9a-f]{64})")
UNKNOWN = refused(401, "", "Invalid user token.")
FORBIDDEN = refused(403, "", "Forbidden")


class WritableHub(StandInHub):
    """A hub that takes what is pushed, from who may.

    Attributes:
        users: token to what the hub says of its owner: ``name``, and ``role``, read or write.
        broken: a part of the paths that it answers with an error.
    """

    def __init__(self, users: dict[str, dict[str, str]]) -> None:
        super().__init__()
        self.users, self.broken, self._large = users, "", {}

    def answer(
        self, method: str, path: str, query: dict[str, list[str]], body: bytes, authorization: str | None
    ) -> Answer:
        user = self.users.get((authorization or "").removeprefix("Bearer "))
        if self.broken and self.broken in path:
            return refused(400, "", "the store is full")
        if path == "/api/whoami-v2":
            return as_json(_described(user)) if user else UNKNOWN
        if (found := _STORE.fullmatch(path)) and method == "PUT":
            assert sha256(body).hexdigest() == found[1]
            self._large[found[1]] = body
            return Answer(200)
        if method == "POST" and path in ("/api/repos/create", "/api/validate-yaml"):
            return self._make(json.loads(body), user) if path.endswith("create") else as_json({"warnings": []})
        for name in (name for _, name in self.private):
            if f"/{name}/" in f"{path}/" and user is None:
                return NO_REPOSITORY
        found = _REPOSITORY.fullmatch(path)
        if found and method == "POST" and found[3] != "resolve":
            if user is None or user["role"] != "write":
                return FORBIDDEN
            return self._write(found, body)
        return super().answer(method, path, query, body, authorization)

    def _make(self, asked: dict[str, Any], user: dict[str, str] | None) -> Answer:
        if user is None or user["role"] != "write":
            return FORBIDDEN
        name = f"{asked['organization'] or user['name']}/{asked['name']}"
        there = ("models", name) in self.repositories
        self.repositories.setdefault(("models", name), {"main": Snapshot({})})
        if asked.get("visibility") == "private" and not there:
            self.private.add(("models", name))
        return Answer(409 if there else 200, json.dumps({"url": f"{self.address}/{name}"}).encode())

    def _write(self, found: re.Match[str], body: bytes) -> Answer:
        name, what, revision = found[2], found[3], found[4]
        branches = self.repositories.get(("models", name))
        if branches is None:
            return NO_REPOSITORY
        if what == "branch":
            branches.setdefault(revision, branches["main"])
            return Answer(200)
        if what == "preupload":
            files = [file["path"] for file in json.loads(body)["files"]]
            modes = {path: "lfs" if path.endswith(STORED_APART) else "regular" for path in files}
            said = [{"path": path, "uploadMode": mode, "shouldIgnore": False} for path, mode in modes.items()]
            return as_json({"files": said})
        if what == "info":  # of large file storage: where each object goes
            store = f"{self.address}/large-files"
            objects = [
                {**one, "actions": {"upload": {"href": f"{store}/{one['oid']}"}}} for one in json.loads(body)["objects"]
            ]
            return as_json({"transfer": "basic", "objects": objects})
        return self._commit(name, revision, body)

    def _commit(self, name: str, revision: str, body: bytes) -> Answer:
        branches = self.repositories["models", name]
        files = dict(branches[revision].files)
        for line in map(json.loads, body.splitlines()):
            key, value = line["key"], line["value"]
            if key == "file":
                files[value["path"]] = StoredFile(b64decode(value["content"]), apart=False)
            elif key == "lfsFile":
                files[value["path"]] = StoredFile(self._large[value["oid"]], apart=True)
            elif key == "deletedFile":
                del files[value["path"]]
            elif key != "header":
                return NOT_SERVED
        branches[revision] = Snapshot(files)
        oid = branches[revision].commit
        return as_json({"commitUrl": f"{self.address}/{name}/commit/{oid}", "commitOid": oid})


def _described(user: dict[str, str]) -> dict[str, Any]:
    token = {"role": user["role"], "displayName": "laptop"}
    return {"type": "user", "name": user["name"], "orgs": [], "auth": {"accessToken": token}}
