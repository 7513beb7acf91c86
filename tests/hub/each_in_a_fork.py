"""Run several commands of `mmst`, each in a process of its own, importing the libraries once for all of them.

Usage: python each_in_a_fork.py '[["train", "a.yaml"], ["train", "b.yaml"]]'

Puts a JSON list on stdout: the exit code, stdout and stderr of each.
"""

import json
import os
import sys
import tempfile
import traceback
from pathlib import Path

import datasets.load
import datasets.packaged_modules.parquet.parquet  # noqa: F401

import mmst_cli.training.train  # noqa: F401
from mmst_cli.cli import main


def run(arguments: list[str]) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        child = os.fork()
        if child == 0:
            os._exit(_run_here(arguments, out, err))
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        return {"code": code, "out": out.read_text(), "err": err.read_text()}


def _run_here(arguments: list[str], out: Path, err: Path) -> int:
    """Run a command and return its exit code, without the interpreter's long goodbye."""
    for descriptor, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), descriptor)
    sys.argv = ["mmst", *arguments]
    try:
        main()
        code = 0
    except SystemExit as leave:
        code = int(leave.code or 0)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code


if __name__ == "__main__":
    print(json.dumps([run(arguments) for arguments in json.loads(sys.argv[1])]))
