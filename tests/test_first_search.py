"""The page that leads from a folder of photos to a search does, command by command."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from test_docs import ROOT, commands_of

COLOURS = ("red", "blue", "green", "yellow")


def write_photos(folder):
    """Write 112 small photos with a sentence about each, so many that some are held back to evaluate on."""
    folder.mkdir()
    lines, rng = ["file_name,text"], np.random.default_rng(0)
    for number in range(112):
        shape, wall = COLOURS[number % 4], COLOURS[(number // 4 + number % 4 + 1) % 4]
        tint = Image.fromarray(rng.integers(0, 256, (3, 4, 3), dtype=np.uint8)).resize((64, 48))
        photo = Image.blend(Image.new("RGB", (64, 48), wall), tint, 0.5)
        place = 8 + number % 20
        ImageDraw.Draw(photo).ellipse((place, 8, place + 12 + number % 16, 36), fill=shape)
        photo.save(folder / f"IMG_{number:04d}.jpg")
        lines.append(f"IMG_{number:04d}.jpg,photo {number} of a {shape} circle on a {wall} wall")
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n")


@pytest.mark.slow
def test_seven_commands_lead_from_photos_to_a_page_of_what_was_found(tmp_path):
    write_photos(tmp_path / "photos")
    commands = commands_of(ROOT / "docs" / "first-search.md")[:-1]  # the last one takes a model from the hub
    assert len(commands) == 7
    script = Path(__file__).with_name("each_in_a_fork.py")
    done = subprocess.run(
        [sys.executable, script, json.dumps(commands)], cwd=tmp_path, stdout=subprocess.PIPE, text=True, check=True
    )
    for words, ended in zip(commands, json.loads(done.stdout), strict=True):
        assert ended["code"] == 0, (words, ended["err"])
    assert "IMG_" in (tmp_path / "found.html").read_text()
