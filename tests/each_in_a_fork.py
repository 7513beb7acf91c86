"""Run several commands of `mmst`, each in a process of its own, importing the libraries once for all of them.

Usage: python each_in_a_fork.py '[["train", "a.yaml"], ["train", "b.yaml"]]'

Puts a JSON list on stdout: the exit code, stdout and stderr of each.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

import datasets.load
import datasets.packaged_modules.parquet.parquet  # noqa: F401
from forked_command import into_files, run_forked

import mmst_cli.training.train  # noqa: F401


def run(arguments: list[str]) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        child = os.fork()
        if child == 0:
            os._exit(run_forked(arguments, into_files(out, err)))
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        return {"code": code, "out": out.read_text(), "err": err.read_text()}


if __name__ == "__main__":
    print(json.dumps([run(arguments) for arguments in json.loads(sys.argv[1])]))
