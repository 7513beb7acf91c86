"""Run `mmst mine` undisturbed, then kill it again and again at random moments and resume it.

Usage: python kill_at_random.py SEED ROUNDS FOLDER ARGUMENT...

Everything but --output is given. Forked children share what was imported. Puts how many kills hit on stdout; the
outputs are in FOLDER/whole and FOLDER/killed-0, FOLDER/killed-1 and so on.
"""

import os
import random
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import datasets.load
import datasets.packaged_modules.parquet.parquet  # noqa: F401

from mmst_cli.cli import main
from mmst_cli.mining import mine


def start(arguments: list[str]) -> int:
    child = os.fork()
    if child:
        return child
    run_mining = mine.run_mining
    mine.run_mining = lambda config, options, *others: run_mining(config, replace(options, rows_per_part=5), *others)
    sys.argv = ["mmst", "mine", *arguments]
    log = os.open(os.environ["MINE_LOG"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    try:
        main()
        os._exit(0)
    except SystemExit as leave:
        os._exit(int(leave.code or 0))


def wait(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def run() -> None:
    seed, rounds, folder, *arguments = sys.argv[1:]
    rng = random.Random(int(seed))
    begun = time.monotonic()
    code = wait(start([*arguments, "--output", f"{folder}/whole/mined.parquet"]))
    assert code == 0, code
    seconds = time.monotonic() - begun
    hits = 0
    for number in range(int(rounds)):
        output = f"{folder}/killed-{number}/mined.parquet"
        while True:
            child = start([*arguments, "--output", output, "--resume"])
            time.sleep(rng.uniform(0.3, 1.0) * seconds)
            if hits < 3 * (number + 1):
                os.kill(child, signal.SIGKILL)
            code = wait(child)
            hits += code == -signal.SIGKILL
            if code == 0:
                break
            assert code == -signal.SIGKILL, code
        assert not Path(output).with_name(".mined.parquet.work").exists()
    print(hits)


if __name__ == "__main__":
    run()
