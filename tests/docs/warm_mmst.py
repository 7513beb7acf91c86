"""`mmst` for a shell, from a process that has imported the libraries: each command is a fork of it.

As a script it is that process; :class:`WarmMmst` starts it and gives shells an `mmst` to find.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

PYTHON = "warm-python"  # runs what stands in its stdin
CLIENT = f"""#!{sys.executable} -IS
import json, os, socket, sys
server = socket.socket(socket.AF_UNIX)
server.connect({{place!r}})
asked = json.dumps([sys.argv, os.getcwd(), dict(os.environ)]).encode()
socket.send_fds(server, [len(asked).to_bytes(4, "big")], [0, 1, 2])
server.sendall(asked)
sys.exit(int(server.makefile().readline()))
"""


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from empty_charts import empty_charts  # noqa: E402 (found by then, here and in tests)
from forked_command import import_everything, run_forked  # noqa: E402


class WarmMmst:
    """Runs lines of bash in which `mmst` costs no imports.

    Args:
        folder: where its socket and the commands `mmst` and `python` are kept; a short path.
    """

    def __init__(self, folder: Path) -> None:
        self._place = folder / "socket"
        self._commands = folder / "bin"
        self._commands.mkdir()
        client = CLIENT.format(place=str(self._place))
        scripts = {"mmst": client, PYTHON: client, "python": f'#!/bin/sh\nexec {sys.executable} "$@"\n'}
        for name, script in scripts.items():
            (self._commands / name).write_text(script)
            (self._commands / name).chmod(0o755)
        self._server = subprocess.Popen([sys.executable, __file__, str(self._place)], stdout=subprocess.PIPE, text=True)
        assert self._server.stdout and self._server.stdout.readline()

    def run(self, line: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a line of bash in a folder."""
        path = f"{self._commands}{os.pathsep}{os.environ['PATH']}"
        return subprocess.run(
            ["bash", "-o", "pipefail", "-c", line],
            cwd=folder,
            env={**os.environ, **environment, "PATH": path},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )

    def close(self) -> None:
        """End the process."""
        self._server.terminate()
        self._server.wait()


def _serve(place: str) -> None:
    from one_fresh_process import one_fresh_process

    import_everything()
    with socket.socket(socket.AF_UNIX) as server, one_fresh_process(for_forks=True) as renew, empty_charts():
        server.bind(place)
        server.listen()
        print("ready", flush=True)
        while True:
            asking, _ = server.accept()
            renew()
            with asking:
                _answer(asking)


def _answer(asking: socket.socket) -> None:
    """Run the command that is asked for, in a fork, and send its exit code."""
    size, streams, _, _ = socket.recv_fds(asking, 4, 3)
    with asking.makefile("rb") as request:
        words, folder, environment = json.loads(request.read(int.from_bytes(size, "big")))
    if (child := os.fork()) == 0:
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        os._exit(run_forked(words[1:], streams, run_code if Path(words[0]).name == PYTHON else None))
    for stream in streams:
        os.close(stream)
    _, status, usage = os.wait4(child, 0)
    if log := os.environ.get("TIMES"):
        with Path(log).open("a") as file:
            file.write(f"{usage.ru_utime + usage.ru_stime:6.2f} {' '.join(words)}\n")
    asking.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())


def run_code() -> None:
    """Run the Python code that stands in stdin."""
    exec(compile(sys.stdin.read(), "page", "exec"), {"__name__": "__main__"})


if __name__ == "__main__":
    _serve(sys.argv[1])
