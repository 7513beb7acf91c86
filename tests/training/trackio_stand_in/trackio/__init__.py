"""A stand-in for trackio, which can't be installed beside Pillow 13: what transformers' callback and mmst call.

What it is told is kept in ``runs`` and ``files``; a run is gone on with by its name, as the package does with `allow`.
"""

from pathlib import Path
from types import SimpleNamespace

__version__ = "0.43.0"
runs: dict[str, list[dict]] = {}
files: dict[str, tuple[str, bytes]] = {}
config: dict = {}
_current: list[str] = []


class _Value:
    def get(self):
        return None


context_vars = SimpleNamespace(current_space_id=_Value(), current_project=_Value())


class _Config(dict):
    def update(self, values, allow_val_change):
        assert allow_val_change
        super().update(values)


def init(*, project, name, space_id, resume, private, bucket_id):
    global config
    assert resume == "allow" and not _current
    print(f"* Trackio project initialized: {project}")  # on stdout, as the package does
    config = _Config()
    runs.setdefault(name, [])
    _current.append(name)


def log(metrics):
    runs[_current[0]].append(dict(metrics))


def finish():
    _current.clear()


class Artifact:
    def __init__(self, name, type):
        self.name, self.type, self.path = name, type, None

    def add_file(self, path):
        self.path = Path(path)


def log_artifact(artifact):
    assert _current and "/" not in artifact.name
    files[artifact.name] = (artifact.type, artifact.path.read_bytes())
