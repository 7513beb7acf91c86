"""The reference of the config: `python tests/config/config_reference.py` writes docs/config.md from the schema."""

from __future__ import annotations

from pathlib import Path

from mmst_cli.config.keys import ANY, Key, all_keys

PAGE = Path(__file__).parents[2] / "docs" / "config.md"
SECTIONS = {  # heading to how the keys begin that stand below it
    "The run": ("run_name", "output_dir", "matryoshka_dims", "prompts"),
    "`model`": ("model",),
    "`datasets`, each under a name of your choice": ("datasets",),
    "`media`": ("media",),
    "`loss`": ("loss",),
    "`evaluators`, each under a name of your choice": ("evaluators",),
    "`training`": ("training",),
}
HEAD = """# Every key of a config

Written from the schema that `mmst schema` prints; `mmst schema KEY` explains one in the terminal. `NAME` is a name of
your choice, `0` a place in a list. Any key can be set on the command line: `mmst train my.yaml model.adapter.r=8`.
"""
ARGUMENTS = {
    "`loss`": "What each loss takes is in [its table](losses.md), and in `mmst schema MatryoshkaLoss`, by its name.",
    "`training`": "All fields of sentence-transformers' `SentenceTransformerTrainingArguments`, under their own names:"
    " `mmst schema training` lists them, `mmst schema training.learning_rate` explains one.",
}
MANY = 8  # values that are listed


def page() -> str:
    """Return the page."""
    parts = [HEAD]
    for heading, tops in SECTIONS.items():
        keys = [key for key in shown() if key.key.split(".")[0] in tops]
        parts.append(f"## {heading}\n")
        if heading in ARGUMENTS:
            parts.append(f"{ARGUMENTS[heading]}\n")
        if heading != "`training`":
            parts.append(
                "| key | what it means | takes | left out |\n| --- | --- | --- | --- |\n" + "".join(map(line, keys))
            )
    return "\n".join(parts)


def shown() -> list[Key]:
    """Return the keys that the page has: not what classes of the libraries take, nor entries of lists of values."""
    keys = [ways[0] for ways in all_keys().values()]
    return [key for key in keys if not key.key[0].isupper() and ".args." not in key.key and key.name != ANY]


def line(key: Key) -> str:
    """Return a key's line of the table."""
    name = key.key.replace("loss.*", "loss.0").replace("message.*", "message.0").replace(ANY, "NAME")
    plain = ("nothing", "{}", "[]", "''")
    default = "needed" if key.required else "" if key.default in plain or key.key == "media" else f"`{key.default}`"
    is_class = key.takes.count(",") > MANY or (key.name == "type" and "class" in key.takes)
    takes = "a class, by its name" if is_class else key.takes
    cells = (f"`{name}`", key.description, takes, default.replace("\\$", "$"))
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
