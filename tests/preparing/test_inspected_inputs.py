"""What `mmst inspect-modalities MODEL INPUT...` says of inputs is what the loaded model gets."""

import io
import json
from dataclasses import asdict

import media_samples
import pytest
from PIL import Image
from rich.console import Console
from rich.table import Table
from sentence_transformers import SentenceTransformer
from typer.testing import CliRunner

from mmst_cli.builtin.tiny_text import build_tiny_text
from mmst_cli.cli import app
from mmst_cli.config.schema import ModelConfig
from mmst_cli.errors import DataError, ModelError
from mmst_cli.lasting_console import fitted
from mmst_cli.preparing.inspected_inputs import inputs_table, run_input_inspection


@pytest.fixture
def see(quiet, tmp_path, monkeypatch):
    """A function that says what a model sees of inputs, in a folder of some files."""
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (1000, 500), "red").save("wide.png")
    (tmp_path / "half.wav").write_bytes(media_samples.wav(media_samples.tone(440, 0.5)))
    media_samples.write_mp4(tmp_path / "clip.mp4", media_samples.clip(2))
    (tmp_path / "broken.png").write_bytes(b"no image")
    (tmp_path / "rows.csv").write_text("a\nb\n")

    def see(model, *given, prompt_name=None, **section):
        return run_input_inspection(ModelConfig(name_or_path=model, **section), given, quiet, prompt_name)

    return see


def tokens_of(model, value, **options):
    return int(SentenceTransformer(model, device="cpu").preprocess([value], **options)["attention_mask"].sum())


def test_images_and_texts_of_a_vision_language_model(see, tiny_model_path):
    wide, text = see(str(tiny_model_path), "wide.png", "find the red page")
    assert wide.tokens == tokens_of(str(tiny_model_path), "wide.png")
    assert text.tokens == tokens_of(str(tiny_model_path), {"text": "find the red page"})
    assert (wide.modality, wide.size, text.modality, text.lost_tokens) == ("image", [1000, 500], "text", 0)
    features = SentenceTransformer(str(tiny_model_path), device="cpu").preprocess(["wide.png"])
    assert wide.seen_pixels == int(features["image_grid_thw"].prod()) * 16 * 16
    assert wide.read_ms > 0 and wide.processed_ms > 0


def test_sounds_and_clips(see):
    (sound,) = see("builtin:tiny-clap", "half.wav")
    assert (sound.samples, sound.seconds, sound.tokens) == (4000, 0.5, None)
    (clip,) = see("builtin:tiny-qwen3-vl-video", "clip.mp4")
    assert (clip.frames, clip.size, clip.seen_frames) == (8, [48, 32], 8)
    assert clip.seen_pixels and clip.seconds == 2.0


def test_what_is_cut_off_is_counted(see):
    model = SentenceTransformer(str(build_tiny_text()), device="cpu")
    for text, cut in (("a page " * 3, False), ("a page " * 500, True)):
        (seen,) = see("builtin:tiny-text", text)
        whole = len(model.tokenizer(text, truncation=False)["input_ids"])
        assert (seen.tokens, seen.lost_tokens > 0) == (min(whole, model.max_seq_length), cut)
        assert seen.tokens + seen.lost_tokens == whole


def test_the_prompt_counts(see, tiny_model_path, tmp_path):
    model = SentenceTransformer(str(tiny_model_path), device="cpu", prompts={"query": "find the page with "})
    model.save_pretrained(str(tmp_path / "prompted"))
    (as_document,) = see(str(tmp_path / "prompted"), "a red header")
    (as_query,) = see(str(tmp_path / "prompted"), "a red header", prompt_name="query")
    assert as_query.tokens > as_document.tokens
    with pytest.raises(ModelError, match="--prompt-name nope"):
        see(str(tmp_path / "prompted"), "a red header", prompt_name="nope")


@pytest.mark.parametrize(
    ("model", "given", "error", "sentence"),
    [
        ("builtin:tiny-text", "wide.png", ModelError, "INPUT: wide.png: image, but the model takes text."),
        ("builtin:tiny-clip", "broken.png", DataError, "INPUT: broken.png: "),
        ("builtin:tiny-clip", "gone.png", DataError, "INPUT: gone.png: no such file"),
        ("builtin:tiny-clip", "rows.csv", DataError, "INPUT: rows.csv: a table"),
        ("builtin:tiny-clip", " ", DataError, "INPUT: an empty text"),
    ],
)
def test_what_it_can_not_look_at_is_a_sentence(see, model, given, error, sentence):
    with pytest.raises(error) as raised:
        see(model, given)
    assert str(raised.value).startswith(sentence)


def test_a_table_of_them_fits_80_columns(see):
    file = io.StringIO()
    shown = fitted(inputs_table(see("builtin:tiny-clip", "wide.png", "a red page")), 80)
    assert isinstance(shown, Table)
    Console(file=file, width=80).print(shown)
    (line,) = [line for line in file.getvalue().splitlines() if line.startswith("wide.png")]
    assert line.split()[1:3] == ["image", "1,000x500"]


def test_a_table_of_them_and_json(see, quiet, monkeypatch):
    quiet.show(inputs_table(see("builtin:tiny-clip", "wide.png", "a red page")))
    shown = quiet.shown.getvalue()
    assert "1,000x500" in shown and "10 characters" in shown
    monkeypatch.setattr("sys.stdin", io.StringIO())
    done = CliRunner().invoke(app, ["inspect-modalities", "builtin:tiny-clip", "wide.png", "--json"])
    assert done.exit_code == 0
    (told,) = json.loads(done.stdout)["inputs"]
    expected = asdict(see("builtin:tiny-clip", "wide.png")[0])
    timed = ("read_ms", "processed_ms")
    assert {k: v for k, v in told.items() if k not in timed} == {k: v for k, v in expected.items() if k not in timed}
    assert "inputs" not in json.loads(
        CliRunner().invoke(app, ["inspect-modalities", "builtin:tiny-clip", "--json"]).stdout
    )
