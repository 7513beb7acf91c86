"""A process that knows nothing of this package and loads a saved model as its user would."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

SCRIPT = Path(__file__).with_name("plain_probe.py")
MOST_SECONDS = 3600.0  # for one answer: a large model from a slow disk, on the CPU
DISTRIBUTED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "MASTER_ADDR", "MASTER_PORT")
"""What launchers say in the environment: the process is none of theirs."""


class FreshProcess:
    """A Python of its own that runs ``plain_probe.py`` and waits for requests.

    It imports sentence-transformers while this process still works, and ends when its stdin does: with :meth:`close`,
    and with this process, however that ends.
    """

    def __init__(self) -> None:
        launched = ("ACCELERATE_", "FSDP_", "TORCHELASTIC_", "DEEPSPEED_")
        environment = {
            name: value
            for name, value in os.environ.items()
            if name not in DISTRIBUTED and not name.startswith(launched)
        }
        self._environment = environment
        self._errors: IO[str] = tempfile.TemporaryFile(  # noqa: SIM115 (read when it ended)
            "w+", encoding="utf-8", errors="replace"
        )
        self._process = self._start()

    def _start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            # -P: the folder of the script holds modules of this package, which the process has no use for.
            [sys.executable, "-P", str(SCRIPT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=self._environment,
            text=True,
            encoding="utf-8",
            start_new_session=True,  # Ctrl-C is for the run, which ends it in its own time
        )

    def ask(self, request: Mapping[str, Any]) -> str | None:
        """Send a request, wait for its end, and return what went wrong in a sentence, None if nothing did."""
        if self._process.poll() is not None:  # the system ended it while it waited
            self._close_pipes()
            self._process = self._start()
        clock = threading.Timer(MOST_SECONDS, self._process.kill)
        clock.start()
        try:
            assert self._process.stdin is not None and self._process.stdout is not None
            self._process.stdin.write(json.dumps(dict(request)) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except OSError:  # it is gone
            line = ""
        finally:
            clock.cancel()
        if not line:
            return self._how_it_ended()
        error: str | None = json.loads(line)["error"]
        return error

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        self._close_pipes()
        self._errors.close()

    def _close_pipes(self) -> None:
        for file in (self._process.stdin, self._process.stdout):
            if file is not None:
                with contextlib.suppress(BrokenPipeError):  # of a request that never reached it
                    file.close()

    def _how_it_ended(self) -> str:
        code = self._process.wait()
        self._errors.seek(0)
        said = [line for line in self._errors.read().splitlines() if line.strip()]
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return f"it ended with {how}" + (f": {said[-1].strip()}" if said else " and said nothing")
