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

CLIENT = f"""#!{sys.executable} -IS
import json, os, socket, sys
server = socket.socket(socket.AF_UNIX)
server.connect({{place!r}})
asked = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
socket.send_fds(server, [len(asked).to_bytes(4, "big")], [0, 1, 2])
server.sendall(asked)
sys.exit(int(server.makefile().readline()))
"""


class WarmMmst:
    """Runs lines of bash in which `mmst` costs no imports.

    Args:
        folder: where its socket and the commands `mmst` and `python` are kept; a short path.
    """

    def __init__(self, folder: Path) -> None:
        self._place = folder / "socket"
        self._commands = folder / "bin"
        self._commands.mkdir()
        client = self._commands / "mmst"
        client.write_text(CLIENT.format(place=str(self._place)))
        client.chmod(0o755)
        (self._commands / "python").symlink_to(sys.executable)
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
    import datasets.load
    import datasets.packaged_modules.csv.csv
    import datasets.packaged_modules.parquet.parquet  # noqa: F401
    from one_fresh_process import one_fresh_process

    import mmst_cli.encoding.encode
    import mmst_cli.searching.search
    import mmst_cli.training.train  # noqa: F401

    with socket.socket(socket.AF_UNIX) as server, one_fresh_process(for_forks=True):
        server.bind(place)
        server.listen()
        print("ready", flush=True)
        while True:
            asking, _ = server.accept()
            with asking:
                _answer(asking)


def _answer(asking: socket.socket) -> None:
    """Run the command that is asked for, in a fork, and send its exit code."""
    size, streams, _, _ = socket.recv_fds(asking, 4, 3)
    with asking.makefile("rb") as request:
        arguments, folder, environment = json.loads(request.read(int.from_bytes(size, "big")))
    if (child := os.fork()) == 0:
        os._exit(_run_here(arguments, folder, environment, streams))
    for stream in streams:
        os.close(stream)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    asking.sendall(f"{code}\n".encode())


def _run_here(arguments: list[str], folder: str, environment: dict[str, str], streams: list[int]) -> int:
    from forked_command import run_forked

    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    return run_forked(arguments, streams)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    _serve(sys.argv[1])
