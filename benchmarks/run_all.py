"""Runs every benchmark in a process of its own and prints one table.

python benchmarks/run_all.py
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from reporting import OUT, show

BENCHMARKS = ("startup", "intervals", "evaluation", "training")


def main() -> None:
    failed = []
    for name in BENCHMARKS:
        print(f"{name} ...", flush=True)
        done = subprocess.run([sys.executable, str(Path(__file__).with_name(f"{name}.py"))], stdout=subprocess.DEVNULL)
        if done.returncode:
            failed.append(name)
    measured = [OUT / f"{name}.json" for name in BENCHMARKS if name not in failed]
    show([row for path in measured for row in json.loads(path.read_text())["rows"]])
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
