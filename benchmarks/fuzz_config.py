"""Whether a broken config is always told in sentences by key: seeded mutations of the shipped configs.

python benchmarks/fuzz_config.py [--mutations 1000] [--seed 0] [--commands 12]
"""

from __future__ import annotations

import argparse
import copy
import os
import random
import re
import subprocess
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml
from reporting import report, row

from mmst_cli.config.rules import load_checked_config
from mmst_cli.config.schema import Config
from mmst_cli.errors import ConfigError, MmstError
from mmst_cli.training.training_start import build_arguments

CONFIGS = sorted((Path(__file__).parent.parent / "configs").glob("*.yaml"))
VALUES: list[Any] = [
    *(None, True, False, 0, -1, 1, 3.5, -0.5, 1e308, float("nan"), float("inf"), 10**30),
    *("", " ", "text", "no", "1e-5", "???", "{a}", "a" * 5000, "\u0000", "\ud7ff", "builtin:nothing", "../..", "a.b.c"),
    *([], {}, [None], [[]], [{}], [1, "a"], {"a": 1}, {"a": {"b": []}}, {"type": "Nothing"}, {"role": "anchor"}),
]
REFERENCES = [
    *(
        "${nothing}",
        "${model}",
        "${datasets}",
        "${loss}",
        "${output_dir}",
        "${training.learning_rate}",
        "${",
        "${}",
        "$",
    ),
    *(
        "${loss.0}",
        "${loss[0].type}",
        "${.type}",
        "${..}",
        "${oc.env:NOTHING_OF_THE_KIND}",
        "${nothing:1}",
        "a${run_name}b",
    ),
    *("${datasets.train.columns}", "\\${model}", "${${run_name}}", "${training}", "${matryoshka_dims}"),
]
NAMES = ["", " ", "no", "1", "a.b", "Type", "typ", "path ", "columns", "role", "args", "use", "loss", "${x}", "a" * 300]

Place = tuple[Any, Any]  # a mapping or list, and the key or index in it


def places(tree: Any) -> Iterator[Place]:
    """Yield every place of a tree, itself left out."""
    for name in list(tree) if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ():
        yield tree, name
        yield from places(tree[name])


def change_value(tree: Any, chance: random.Random) -> None:
    inside, name = chance.choice(list(places(tree)))
    inside[name] = copy.deepcopy(chance.choice(VALUES))


def change_reference(tree: Any, chance: random.Random) -> None:
    inside, name = chance.choice(list(places(tree)))
    inside[name] = chance.choice(REFERENCES)


def change_key(tree: Any, chance: random.Random) -> None:
    inside, name = chance.choice([place for place in places(tree) if isinstance(place[0], dict)])
    how = chance.choice(["remove", "rename", "misspell", "add"])
    value = inside[name] if how == "add" else inside.pop(name)
    if how == "misspell" and len(str(name)) > 1:
        at = chance.randrange(len(str(name)))
        inside[str(name)[:at] + str(name)[at + 1 :]] = value
    elif how != "remove":
        inside[chance.choice([*NAMES, True, 7, None, 1.5])] = copy.deepcopy(value)


def change_nesting(tree: Any, chance: random.Random) -> None:
    (inside, name), (other, there) = (chance.choice(list(places(tree))) for _ in range(2))
    value = copy.deepcopy(inside[name])
    how = chance.choice(["move", "list", "mapping", "values", "twice"])
    if how == "move":
        other[there] = value
    elif how == "values" and isinstance(value, dict):
        inside[name] = list(value.values())
    elif how == "twice" and isinstance(inside, list):
        inside.append(value)
    else:
        inside[name] = {"inner": value} if how == "mapping" else [value]


def change_text(text: str, chance: random.Random) -> str:
    """Break the file itself: a line less, one twice, another indentation, a character more, an end that comes early."""
    lines = text.splitlines()
    at = chance.randrange(len(lines))
    how = chance.choice(["remove", "twice", "indent", "tab", "character", "cut"])
    if how == "cut":
        return text[: chance.randrange(len(text))]
    if how == "remove":
        del lines[at]
    elif how == "character":
        place = chance.randrange(len(lines[at]) + 1)
        lines[at] = lines[at][:place] + chance.choice("{}[]:,&*!|>'\"%@`#?-\t\u0007") + lines[at][place:]
    else:
        lines[at : at + 1] = [lines[at]] * 2 if how == "twice" else [("\t" if how == "tab" else "   ") + lines[at]]
    return "\n".join(lines) + "\n"


CHANGES: dict[str, Callable[[Any, random.Random], None]] = {
    "types and values": change_value,
    "references": change_reference,
    "keys": change_key,
    "nesting": change_nesting,
}


def mutation(index: int, seed: int) -> tuple[str, str]:
    """Return what kind of mutation the ``index``-th is, and the file."""
    chance = random.Random(f"{seed}-{index}")
    text = chance.choice(CONFIGS).read_text()
    kind = [*CHANGES, "text"][index % (len(CHANGES) + 1)]
    if kind == "text":
        return kind, change_text(text, chance)
    tree = yaml.safe_load(text)
    for _ in range(chance.choice([1, 1, 1, 2, 3])):
        CHANGES[kind](tree, chance)
    return kind, yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)


def judge(path: Path) -> tuple[str, str]:
    """Return what became of a file (taken, refused, no key, traceback), and the words of it."""
    try:
        config = load_checked_config(path)
        build_arguments(config, path.parent / "nowhere")
    except ConfigError as error:
        nameless = [fault for fault in error.faults if not names_a_key(fault, path)]
        return ("no key", nameless[0]) if nameless else ("refused", error.faults[0])
    except MmstError as error:
        return "refused", str(error)
    except BaseException:
        return "traceback", traceback.format_exc()
    return "taken", ""


def names_a_key(fault: str, path: Path) -> bool:
    """Say whether a fault begins with a key of the file, or with the file where it is no config at all."""
    first = re.split(r"[.:]", fault)[0]
    return fault.startswith(str(path)) or first in Config.model_fields or first in path.read_text()


def run_command(path: Path, folder: Path) -> bool:
    """Say whether the command itself refuses a file with exit code 2, without a traceback and leaving nothing."""
    command = [sys.executable, "-m", "mmst_cli", "train", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    return done.returncode == 2 and "Traceback" not in done.stderr and not list(folder.iterdir())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutations", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--commands", type=int, default=12)
    options = parser.parse_args()
    found: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    faults, refused = [], []
    with tempfile.TemporaryDirectory() as files, tempfile.TemporaryDirectory() as empty:
        os.chdir(empty)  # a run folder would be made here
        for index in range(options.mutations):
            kind, text = mutation(index, options.seed)
            path = Path(files) / f"{index}.yaml"
            path.write_text(text, encoding="utf-8", errors="surrogatepass")
            outcome, words = judge(path)
            if left := list(Path(empty).iterdir()):
                outcome, words = "left behind", str(left)
            found[outcome] += 1
            kinds[f"{kind}: {outcome}"] += 1
            refused += [path] if outcome == "refused" else []
            if outcome not in ("taken", "refused"):
                faults.append({"index": index, "kind": kind, "outcome": outcome, "words": words})
                print(f"{index} ({kind}): {outcome}: {words[-600:]}", file=sys.stderr)
        sample = random.Random(options.seed).sample(refused, min(options.commands, len(refused)))
        by_command = sum(run_command(path, Path(empty)) for path in sample)
        os.chdir(files)
    good = found["taken"] + found["refused"]
    rows = [
        row(
            "mutated configs: no traceback, a key in each fault, nothing left",
            f"{options.mutations} of {options.mutations}",
            f"{good} of {options.mutations} ({found['refused']} refused, {found['taken']} taken)",
            good == options.mutations,
        ),
        row("a sample by the command itself", "all", f"{by_command} of {len(sample)}", by_command == len(sample)),
    ]
    report("fuzz_config", rows, {"seed": options.seed, "kinds": dict(sorted(kinds.items())), "faults": faults})


if __name__ == "__main__":
    main()
