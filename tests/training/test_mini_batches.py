"""`mini_batch_size: auto` of cached losses, on the CPU, whose tensors are counted against a limit."""

import pytest
import torch
import yaml
from counted_memory import LIMITED, limit
from safetensors.torch import load_file
from small_job import write_job
from text_job import run, text_job, text_rows

from mmst_cli.config.load import load_config
from mmst_cli.config.rules import check_config
from mmst_cli.errors import ConfigError
from mmst_cli.model.device_memory import MARGIN
from mmst_cli.training.large_rows import LOOKED_AT, largest_rows
from mmst_cli.training.mini_batches import check_automatic
from mmst_cli.training.optimizer_state import state_bytes

MIB = 2**20
CACHED = "CachedMultipleNegativesRankingLoss"
BATCH = 32


def auto_job(folder, loss=CACHED, rows=None, **training):
    training = {"per_device_train_batch_size": BATCH, "batch_sampler": "no_duplicates", "max_steps": 2, **training}
    longer = [{**row, "query": " ".join([row["query"]] * 4)} for row in text_rows(80)]
    config = text_job(folder, rows or longer, loss=loss, **training)
    config["loss"][0]["args"] = {"mini_batch_size": "auto"}
    return config


def recorded(folder):
    return yaml.safe_load((folder / "run/config.yaml").read_text())["loss"][0]["args"]["mini_batch_size"]


def told(terminal):
    return " ".join(terminal.console.file.getvalue().split())


def weights(folder):
    return load_file(folder / "run/model/model.safetensors")


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_what_fits_is_taken_recorded_and_leaves_no_trace(tmp_path, quiet, monkeypatch):
    config = auto_job(tmp_path, dataloader_num_workers=0)
    config["loss"].append({"type": "MatryoshkaLoss", "args": {"matryoshka_dims": [128, 32]}})
    memory = limit(monkeypatch, 12 * MIB)
    result = run(config, tmp_path, quiet)
    size = recorded(tmp_path)
    assert 1 < size < BATCH and result.found == {"loss.0.args.mini_batch_size": size} == result.to_dict()["found"]
    assert f"loss.0.args.mini_batch_size: auto is {size}: so many of the rows" in (tmp_path / "run/log.txt").read_text()
    assert memory.peaks[-1] <= (1 - MARGIN) * memory.total
    found, tried = weights(tmp_path), len(memory.peaks)
    config["loss"][0]["args"]["mini_batch_size"] = size
    run(config, tmp_path, quiet, overwrite=True)
    assert equal(weights(tmp_path), found) and len(memory.peaks) == tried  # no weight, gradient or draw was another


def test_a_resumed_run_takes_the_recorded_size(tmp_path, quiet, monkeypatch):
    config = auto_job(tmp_path, max_steps=3, save_strategy="steps", save_steps=1)
    limit(monkeypatch, 12 * MIB)
    run(config, tmp_path, quiet)
    whole, size = weights(tmp_path), recorded(tmp_path)
    for name in ("model", "checkpoint-2", "checkpoint-3"):
        (tmp_path / "run" / name).rename(tmp_path / name)
    memory = limit(monkeypatch, 4 * MIB)  # a smaller device
    run(config, tmp_path, quiet, resume=True)
    assert not memory.peaks and recorded(tmp_path) == size and equal(weights(tmp_path), whole)


def test_without_a_measured_memory_it_is_the_default(tmp_path, quiet):
    config = auto_job(tmp_path)
    run(config, tmp_path, quiet)
    found = weights(tmp_path)
    said = "loss.0.args.mini_batch_size: auto is 32, as if left out, for the memory of the CPU isn't measured."
    assert recorded(tmp_path) == 32 and said in told(quiet)
    del config["loss"][0]["args"]
    run(config, tmp_path, quiet, overwrite=True)
    assert equal(weights(tmp_path), found)


def test_a_dry_run_says_what_would_be_taken_beside_the_optimizers_state(tmp_path, quiet, monkeypatch):
    limit(monkeypatch, 12 * MIB)
    states, sizes = [], []
    monkeypatch.setattr(
        "mmst_cli.training.mini_batches.state_bytes", lambda trainer: states.append(state_bytes(trainer)) or states[-1]
    )
    for optim in ("sgd", "adamw_torch"):
        sizes += run(auto_job(tmp_path, optim=optim), tmp_path, quiet, dry_run=True).found.values()
        assert f"auto is {sizes[-1]}" in told(quiet) and not (tmp_path / "run").exists()
    assert states[0] == 0 and states[1] == pytest.approx(2 * 4 * 351_000, rel=0.05)  # two numbers for each weight
    assert sizes[0] > sizes[1] > 1


def test_no_room_for_a_single_row_is_said_before_anything_is_written(tmp_path, quiet, monkeypatch):
    limit(monkeypatch, MIB)
    with pytest.raises(ConfigError, match=r"^out of memory on a single row of train\. Lower model\.processor\.max_pix"):
        run(auto_job(tmp_path), tmp_path, quiet)
    assert not (tmp_path / "run").exists()


def test_sets_with_losses_of_their_own_have_sizes_of_their_own(tmp_path, quiet, monkeypatch):
    long = [{"query": row["query"] * 6, "doc": row["doc"]} for row in text_rows(80)]
    config = auto_job(tmp_path, rows=long)
    config["datasets"] = {"long": config["datasets"]["train"]}
    (tmp_path / "short").mkdir()
    other = text_job(tmp_path / "short", text_rows(80))["datasets"]["train"]
    config["datasets"]["short"] = {**other, "loss": [{"type": CACHED, "args": {"mini_batch_size": "auto"}}]}
    limit(monkeypatch, 12 * MIB)
    found = run(config, tmp_path, quiet, dry_run=True).found
    assert found["datasets.short.loss.0.args.mini_batch_size"] > found["loss.0.args.mini_batch_size"] >= 1


@pytest.mark.parametrize(
    ("type", "args", "said"),
    [
        (CACHED, {"mini_batch_num_tokens": 99}, "with mini_batch_num_tokens it does nothing"),
        ("MultipleNegativesRankingLoss", {}, "has no such argument"),
        ("my.Loss", {}, "auto is for the cached losses of sentence-transformers. Write a number"),
    ],
)
def test_where_it_cannot_stand(tmp_path, type, args, said, monkeypatch):
    (tmp_path / "my.py").write_text(
        "import torch\nclass Loss(torch.nn.Module):\n    def __init__(self, model, mini_batch_size: int = 8): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    config = auto_job(tmp_path, loss=type)
    config["loss"][0]["args"] |= args
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(ConfigError, match=rf"^loss\.0\.args\.mini_batch_size: .*{said}"):
        check_config(load_config(tmp_path / "job.yaml"))


def test_a_model_with_batch_norm_is_refused(tmp_path):
    config = load_config(write_job(auto_job(tmp_path), tmp_path / "job.yaml"))
    check_automatic(config, torch.nn.Linear(2, 2))
    with pytest.raises(
        ConfigError, match=r"^loss\.0\.args\.mini_batch_size: found auto, but the model holds BatchNorm"
    ):
        check_automatic(config, torch.nn.Sequential(torch.nn.BatchNorm1d(2)))


def test_the_largest_rows_are_found_among_all(tmp_path, quiet, monkeypatch):
    rows = text_rows(3 * LOOKED_AT)
    for place, times in ((5, 9), (LOOKED_AT + 1, 14), (2 * LOOKED_AT + 7, 12)):
        rows[place]["doc" if place == 5 else "query"] *= times
    limit(monkeypatch, 40 * MIB)
    found = []
    monkeypatch.setattr(
        "mmst_cli.training.mini_batches.largest_rows", lambda *args: found.append(largest_rows(*args)) or found[0]
    )
    run(auto_job(tmp_path, rows=rows), tmp_path, quiet, dry_run=True)
    assert {row["query"][:30] for row in found[0][:3]} == {
        rows[place]["query"][:30] for place in (5, LOOKED_AT + 1, 2 * LOOKED_AT + 7)
    }
    assert len(found[0]) <= LOOKED_AT


def test_all_processes_take_the_smallest_of_all(pair, tmp_path):
    (tmp_path / "limited.py").write_text(LIMITED)
    config = auto_job(tmp_path, per_device_train_batch_size=16)
    config["loss"][0]["args"]["gather_across_devices"] = True
    write_job(config, tmp_path / "job.yaml")
    environment = {"IMPORT_FIRST": "limited", "LIMITS": f"{99 * MIB} {9 * MIB}"}
    done = pair.run(tmp_path, "train", "job.yaml", environment=environment)
    assert done.codes == [0, 0], done.err
    assert 1 <= recorded(tmp_path) < 16 and done.err[0].count("auto is") == 1 and "auto is" not in done.err[1]
