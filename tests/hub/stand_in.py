"""A small stand-in for the Hugging Face hub on loopback: enough of its REST API to load models and datasets.

It answers as the hub does: refs resolve to commits, large files are redirected to another address, a missing
repository, revision or file has the error code that huggingface_hub tells them apart by, and anything else is
not found. Every request is kept, so that a test can say what was asked for.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

STORED_APART = (".safetensors", ".parquet")  # in large file storage, behind a redirect
_API = re.compile(r"/api/(models|datasets)/([^/]+/[^/]+)(?:/(revision|tree|paths-info)/([^/]+)(?:/(.+))?)?")
_RESOLVE = re.compile(r"/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
_STORE = re.compile(r"/large-files/([0-9a-f]{64})")


@dataclass(frozen=True)
class StoredFile:
    """One file at one revision."""

    content: bytes
    apart: bool

    @property
    def oid(self) -> str:
        return hashlib.sha1(b"blob %d\0" % len(self.content) + self.content).hexdigest()

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    def listed(self, path: str) -> dict[str, Any]:
        """Return the entry of the API's file lists."""
        entry = {"type": "file", "path": path, "size": len(self.content), "oid": self.oid}
        if self.apart:
            entry["lfs"] = {"oid": self.sha256, "size": len(self.content), "pointerSize": 134}
        return entry


@dataclass(frozen=True)
class Snapshot:
    """All files of a repository at one commit."""

    files: dict[str, StoredFile]

    @property
    def commit(self) -> str:
        listing = sorted((path, file.oid) for path, file in self.files.items())
        return hashlib.sha1(json.dumps(listing).encode()).hexdigest()

    def entries(self, folder: str, recursive: bool) -> Iterator[dict[str, Any]]:
        """Yield the entries of a folder, with or without what is below its own folders."""
        start = f"{folder}/" if folder else ""
        folders: dict[str, None] = {}
        for path, file in self.files.items():
            if not path.startswith(start):
                continue
            inner = path.removeprefix(start).split("/")
            folders |= dict.fromkeys(start + "/".join(inner[:depth]) for depth in range(1, len(inner)))
            if recursive or len(inner) == 1:
                yield file.listed(path)
        for path in folders:
            if recursive or "/" not in path.removeprefix(start):
                yield {"type": "directory", "path": path, "size": 0, "oid": hashlib.sha1(path.encode()).hexdigest()}


@dataclass(frozen=True)
class Request:
    """What was asked for: the method, the path without its query, decoded, and the host it was meant for."""

    method: str
    path: str
    host: str
    authorization: str | None


@dataclass(frozen=True)
class Answer:
    """What the server sends."""

    status: int
    content: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


def as_json(value: Any) -> Answer:
    return Answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"})


def refused(status: int, code: str, message: str) -> Answer:
    return Answer(status, b"", {"X-Error-Code": code, "X-Error-Message": message})


NOT_SERVED = Answer(404)
# To an anonymous client, the hub tells a missing repository and a private one apart in nothing: both are 401.
NO_REPOSITORY = refused(401, "RepoNotFound", "Repository not found")
NO_REVISION = refused(404, "RevisionNotFound", "Invalid rev id")
NO_FILE = refused(404, "EntryNotFound", "Entry not found")


class StandInHub:
    """The repositories, the server in front of them and the requests it got. A context manager."""

    def __init__(self) -> None:
        self.repositories: dict[tuple[str, str], dict[str, Snapshot]] = {}
        self.private: set[tuple[str, str]] = set()
        self.requests: list[Request] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def _serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                parts = urlsplit(self.path)
                host, authorization = self.headers.get("Host", ""), self.headers.get("Authorization")
                hub.requests.append(Request(self.command, unquote(parts.path), host, authorization))
                answer = hub.answer(self.command, parts.path, parse_qs(parts.query), body, authorization)
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.content)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(answer.content)

            do_GET = do_HEAD = do_POST = do_PUT = _serve  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> StandInHub:
        Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._server.shutdown()
        self._server.server_close()

    def add(self, kind: str, repo_id: str, folder: Path, revision: str = "main") -> Snapshot:
        """Serve ``folder`` as ``revision`` of a repository; ``kind`` is ``models`` or ``datasets``."""
        files = {
            path.relative_to(folder).as_posix(): StoredFile(path.read_bytes(), path.suffix in STORED_APART)
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        snapshot = Snapshot(files)
        self.repositories.setdefault((kind, repo_id), {})[revision] = snapshot
        return snapshot

    def asked(self, part: str = "") -> list[str]:
        """Return the decoded paths asked for so far that contain ``part``."""
        return [request.path for request in self.requests if part in request.path]

    def answer(
        self, method: str, path: str, query: dict[str, list[str]], body: bytes, authorization: str | None
    ) -> Answer:
        """Return what the hub would answer; ``path`` is still percent-encoded."""
        if method == "PUT":
            return NOT_SERVED
        if (found := _API.fullmatch(path)) and (method == "POST") == (found[3] == "paths-info"):
            return self._answer_api(found, query, parse_qs(body.decode()))
        if (found := _RESOLVE.fullmatch(path)) and method != "POST":
            kind = "datasets" if found[1] else "models"
            return self._answer_file(kind, found[2], unquote(found[3]), unquote(found[4]))
        if (found := _STORE.fullmatch(path)) and method != "POST":
            return self._answer_large_file(found[1])
        return NOT_SERVED

    def _find(self, kind: str, repo_id: str, revision: str) -> Snapshot | Answer:
        revisions = self.repositories.get((kind, repo_id))
        if revisions is None:
            return NO_REPOSITORY
        by_commit = {snapshot.commit: snapshot for snapshot in revisions.values()}
        return revisions.get(revision) or by_commit.get(revision) or NO_REVISION

    def _answer_api(self, found: re.Match[str], query: dict[str, list[str]], form: dict[str, list[str]]) -> Answer:
        kind, repo_id, what = found[1], found[2], found[3]
        if what == "revision" and found[5]:
            return NOT_SERVED
        snapshot = self._find(kind, repo_id, unquote(found[4] or "main"))
        if isinstance(snapshot, Answer):
            return snapshot
        if what == "tree":
            recursive = query.get("recursive", ["false"])[0].lower() in ("true", "1")
            listed = list(snapshot.entries(unquote(found[5] or ""), recursive))
            return as_json(listed) if listed or not found[5] else NO_FILE
        if what == "paths-info":
            everything = {entry["path"]: entry for entry in snapshot.entries("", recursive=True)}
            return as_json([everything[path] for path in form.get("paths", []) if path in everything])
        return as_json(
            {
                **{"_id": "0" * 24, "id": repo_id, "author": repo_id.split("/")[0], "sha": snapshot.commit},
                **{
                    "private": (kind, repo_id) in self.private,
                    "gated": False,
                    "disabled": False,
                    "downloads": 0,
                    "likes": 0,
                    "tags": [],
                },
                "lastModified": "2026-01-01T00:00:00.000Z",
                "siblings": [{"rfilename": name} for name in snapshot.files],
            }
        )

    def _answer_file(self, kind: str, repo_id: str, revision: str, name: str) -> Answer:
        snapshot = self._find(kind, repo_id, revision)
        if isinstance(snapshot, Answer):
            return snapshot
        headers = {"X-Repo-Commit": snapshot.commit}
        file = snapshot.files.get(name)
        if file is None:
            return Answer(NO_FILE.status, b"", {**NO_FILE.headers, **headers})
        if not file.apart:
            return Answer(200, file.content, {**headers, "ETag": f'"{file.oid}"'})
        headers |= {"X-Linked-ETag": f'"{file.sha256}"', "X-Linked-Size": str(len(file.content))}
        store = self.address.replace("127.0.0.1", "localhost")  # another host, as the hub's own store is
        return Answer(302, b"", {**headers, "Location": f"{store}/large-files/{file.sha256}"})

    def _answer_large_file(self, sha256: str) -> Answer:
        for revisions in self.repositories.values():
            for snapshot in revisions.values():
                for file in snapshot.files.values():
                    if file.apart and file.sha256 == sha256:
                        return Answer(200, file.content, {"ETag": f'"{sha256}"'})
        return NOT_SERVED


def loopback_environment(address: str, folder: Path) -> dict[str, str]:
    """Return the environment of a command that knows only the stand-in at an address, and keeps its files in a folder.

    What it asks for outside of loopback is listed in ``outside.txt`` there.
    """
    private = ("HF_", "HUGGING", "HTTP", "http", "ALL_PROXY", "all_proxy")
    here = Path(__file__).parent
    return {name: value for name, value in os.environ.items() if not name.startswith(private)} | {
        "HF_ENDPOINT": address,
        "HF_HOME": str(folder / "hf-home"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_UPDATE_DOWNLOAD_COUNTS": "0",
        "LOOPBACK_LOG": str(folder / "outside.txt"),
        "PYTHONPATH": os.pathsep.join([str(here / "loopback"), str(here.parents[1] / "src")]),
    }
