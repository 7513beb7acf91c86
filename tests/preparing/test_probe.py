"""What the gate looks at, how far apart vectors may be, and the process that loads a model as its user would."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from mmst_cli.config.schema import ColumnConfig, Modality, OnBadRow, Role
from mmst_cli.preparing.plain_probe import Embedded, read_inputs, write_inputs
from mmst_cli.preparing.probe_bounds import LONG, draw_bounds
from mmst_cli.preparing.probe_comparison import choose_tolerance, compare_probes, distance
from mmst_cli.preparing.probe_inputs import draw_probe
from mmst_cli.preparing.probe_verdict import find_faults, praise


def test_every_side_and_modality_is_drawn_from_the_beginning_and_the_middle(prepare, parquet, png):
    rows = prepare(parquet(query=[f"q{i}" for i in range(9)], image=[png() for _ in range(9)]))
    drawn = draw_probe({"train": rows})
    embedded = [(item["side"], item["kind"], item["place"]) for item in drawn if item["side"]]
    assert embedded == [
        ("query", "text", "datasets.train, row 0, column query"),
        ("query", "text", "datasets.train, row 5, column query"),
        ("document", "image", "datasets.train, row 0, column image"),
        ("document", "image", "datasets.train, row 5, column image"),
    ]
    images, texts = draw_bounds(drawn)[:2], draw_bounds(drawn)[2:]
    assert [(item["place"], item["value"][0].size) for item in images] == [
        ("an image enlarged", (40, 48)),
        ("an image made small", (8, 10)),
    ]
    assert [(item["place"], [len(text) for text in item["value"]], item["options"]) for item in texts] == [
        ("a long query beside a short one", [LONG, 2], {"task": "query"})
    ]


def test_sounds_and_clips_are_made_longer_larger_and_shorter():
    metadata = {"fps": 4.0, "total_num_frames": 2, "frames_indices": [0, 1]}
    values = [
        {"audio": {"array": np.ones(9, dtype=np.float32), "sampling_rate": 8000}},
        [
            {
                "role": "user",
                "content": [{"type": "video", "video": {"array": np.ones((2, 4, 6, 3)), "video_metadata": metadata}}],
            }
        ],
    ]
    drawn = draw_bounds([{"value": value, "side": "document", "kind": "mixed"} for value in values])
    (sound,), (short,), (longer,), (larger,) = (item["value"] for item in drawn)
    assert sound["audio"]["array"].shape == (18,) and short["audio"]["array"].shape == (4,)
    assert sound["audio"]["sampling_rate"] == 8000
    assert longer["video"]["array"].shape == (4, 4, 6, 3) and larger["video"]["array"].shape == (2, 8, 12, 3)
    assert longer["video"]["video_metadata"]["total_num_frames"] == 4


def test_rows_that_cannot_be_read_are_passed_over(prepare, parquet, png):
    columns = {
        "query": ColumnConfig(role=Role.anchor),
        "image": ColumnConfig(role=Role.positive, modality=Modality.image),
    }
    images = [b"broken", png(), b"broken", png()]
    path = parquet(query=["a", "b", "c", "d"], image=images)
    rows = prepare(path, columns, on_bad_row=OnBadRow.skip, max_bad_rows=4)
    places = [item["place"] for item in draw_probe({"train": rows}) if item["kind"] == "image" and item["side"]]
    assert places == ["datasets.train, row 1, column image", "datasets.train, row 3, column image"]


def test_a_label_is_no_input_and_a_stream_has_no_numbers(prepare, parquet):
    columns = {
        "query": ColumnConfig(role=Role.anchor),
        "other": ColumnConfig(role=Role.positive),
        "label": ColumnConfig(role=Role.label),
    }
    path = parquet(query=["a", "b"], other=["c", "d"], label=[0.5, 1.0])
    drawn = draw_probe({"train": prepare(path, columns, streaming=True)})
    assert [(item["side"], item["value"]) for item in drawn] == [
        ("query", "a"),
        ("query", "b"),
        ("document", "c"),
        ("document", "d"),
    ]


def test_inputs_of_every_form_arrive_as_they_are(tmp_path):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (5, 7, 3), dtype=np.uint8))
    clip = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    metadata = {"fps": np.float64(4.0), "total_num_frames": 2, "frames_indices": [0, 1]}
    values = [
        {"text": "https://host/a.png é \ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16")},
        image,
        {"audio": {"array": np.linspace(-1, 1, 9, dtype=np.float32), "sampling_rate": 8000}},
        {"video": {"array": clip, "video_metadata": metadata}},
        [{"role": "user", "content": [{"type": "image", "image": image}, {"type": "text", "text": "a"}]}],
        {"text": "b", "image": image},
    ]
    write_inputs([{"value": value, "side": "query"} for value in values], tmp_path)
    back = [item["value"] for item in read_inputs(tmp_path)]
    assert back[0] == values[0] and np.array_equal(np.asarray(back[1]), np.asarray(image)) and back[1].mode == "RGB"
    assert back[2]["audio"]["array"].dtype == np.float32
    assert np.array_equal(back[2]["audio"]["array"], values[2]["audio"]["array"])
    assert np.array_equal(back[3]["video"]["array"], clip) and back[3]["video"]["video_metadata"] == metadata
    assert np.array_equal(np.asarray(back[4][0]["content"][0]["image"]), np.asarray(image))
    assert back[5]["text"] == "b" and not list(tmp_path.glob("*.pt"))


@pytest.mark.parametrize(
    ("dtype", "measured", "loaded", "same_attention", "value"),
    [
        ("float32", "cpu", "cpu", True, 1e-6),
        ("float32", "cuda", "cuda", True, 1e-4),
        ("bfloat16", "cuda", "cuda", True, 2e-2),
        ("bfloat16", "cuda", "cuda", False, 1e-1),
        ("float16", "cuda", "cpu", True, 2e-2),
        ("float32", "cuda", "cpu", True, 1e-3),
    ],
)
def test_what_is_allowed_goes_by_dtype_device_and_attention(dtype, measured, loaded, same_attention, value):
    tolerance = choose_tolerance(dtype, measured, loaded, same_attention=same_attention)
    assert tolerance.value == value and dtype in tolerance.reason and loaded in tolerance.reason


def test_distances_are_shares_of_a_length():
    assert distance(torch.tensor([3.0, 4.0]), torch.tensor([3.0, 3.0])) == pytest.approx(1 / math.sqrt(18))
    assert distance(torch.zeros(2), torch.zeros(3)) == math.inf
    assert math.isnan(distance(torch.tensor([math.nan]), torch.ones(1)))
    assert distance(torch.zeros(2), torch.zeros(2)) == 0.0


def found(saved, memory, base, saved_weights, memory_weights, base_weights):
    inputs = [{"place": "row 0", "side": "query", "kind": "text"}]

    def embedded(vector, weights):
        return Embedded({"0": torch.tensor(vector)}, {"0": {}}, {}, {"w": f"torch.float32 [1] {weights}"})

    return compare_probes(
        inputs, embedded(memory, memory_weights), embedded(saved, saved_weights), embedded(base, base_weights)
    )


def test_an_untrained_model_is_known_by_its_weights_where_no_tolerance_shows_it():
    """On the CPU instead of the GPU, after steps so small that they drown in the difference between the two."""
    wide = choose_tolerance("bfloat16", "cuda", "cpu")
    same = found([1.0, 0.0], [1.0, 0.001], [1.0, 0.0], "b", "b", "a")
    assert find_faults(same, wide) == [] and "largest difference 0.001" in praise(same, wide)
    untrained = found([1.0, 0.0], [1.0, 0.001], [1.0, 0.0], "a", "b", "a")
    assert find_faults(untrained, wide) == [
        "The folder holds 1 of the 1 tensors that training changed as they were before training."
    ]


def test_a_process_that_dies_is_told_and_asked_no_more(monkeypatch, tmp_path):
    import mmst_cli.preparing.fresh_process as fresh_process

    monkeypatch.undo()
    script = tmp_path / "dies.py"
    script.write_text("import sys\nsys.stdin.readline()\nsys.exit('no memory left')\n")
    monkeypatch.setattr(fresh_process, "SCRIPT", script)
    process = own_process()
    assert process[0]({"model": "m"}) == "it ended with exit code 1: no memory left"
    process[1]()


def own_process():
    """Return ask and close of a process of one's own, whatever the session shares."""
    import importlib.util

    import mmst_cli.preparing.fresh_process as shared

    spec = importlib.util.spec_from_file_location("own_fresh_process", shared.__file__)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.SCRIPT = shared.SCRIPT
    process = module.FreshProcess()
    return process.ask, process.close


def test_the_script_imports_nothing_of_this_package_but_what_loads_adapters():
    import ast

    from mmst_cli.preparing.fresh_process import SCRIPT

    names = {
        name
        for node in ast.walk(ast.parse(SCRIPT.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    }
    assert {name for name in names if name.startswith("mmst_cli")} == {"mmst_cli.model.adapter_folder"}


def test_launchers_are_none_of_its_business(monkeypatch, tmp_path):
    import mmst_cli.preparing.fresh_process as fresh_process

    script = tmp_path / "tells.py"
    script.write_text(
        "import json, os, sys\n"
        "sys.stdin.readline()\n"
        "print(json.dumps({'error': ' '.join(n for n in os.environ if 'RANK' in n or 'ACCELERATE' in n)}))\n"
    )
    monkeypatch.setattr(fresh_process, "SCRIPT", script)
    for name in ("RANK", "LOCAL_RANK", "ACCELERATE_MIXED_PRECISION"):
        monkeypatch.setenv(name, "1")
    ask, close = own_process()
    assert ask({}) == ""
    close()


def test_a_text_that_looks_like_an_address_stays_one(prepare, parquet):
    columns = {"query": ColumnConfig(role=Role.anchor), "other": ColumnConfig(role=Role.positive)}
    drawn = draw_probe({"train": prepare(parquet(query=["https://host/a.png"], other=["a page"]), columns)})
    assert [(item["kind"], item["value"]) for item in drawn] == [
        ("text", {"text": "https://host/a.png"}),
        ("text", "a page"),
    ]
