"""What `model.adapter` and `model.quantization` take, told before torch is imported."""

import re

import pytest
from small_job import job, write_job

from mmst_cli.config.rules import load_checked_config
from mmst_cli.errors import ConfigError


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rules")
    return write_job(job(folder), folder / "job.yaml")


MISTAKES = {
    "adapter={r: 0}": r"^model\.adapter\.r: found 0; it is 1 or more",
    "adapter={r: 7, init: orthogonal}": r"^model\.adapter\.r: found 7; it is even",
    "adapter={alpha: 0}": r"^model\.adapter\.alpha: found 0",
    "adapter={dropout: 1.0}": r"^model\.adapter\.dropout: found 1; it is 0 or more and less than 1",
    "adapter={rank: 8}": r"^model\.adapter\.rank: unknown key",
    "adapter={init: pissa}": r"^model\.adapter\.init: .*one of default, gaussian, orthogonal",
    "adapter={target_modules: []}": r"^model\.adapter\.target_modules: .*all-linear, a list of ends",
    "adapter={target_modules: [1]}": r"^model\.adapter\.target_modules: ",
    "adapter={target_modules: '('}": r"^model\.adapter\.target_modules: \(: neither all-linear nor a regular exp",
    "adapter={modules_to_save: ['']}": r"^model\.adapter\.modules_to_save: found the list \[''\]; no name in it is",
    "adapter={target_modules: [q], modules_to_save: [q]}": r"^model\.adapter\.modules_to_save: q stands in",
    "quantization={bits: 3}": r"^model\.quantization\.bits: found 3; it is 4 or 8",
    "quantization={}": r"model\.quantization: weights of a few bits can't be trained.*model\.adapter=\{\}",
}


@pytest.mark.parametrize("override", MISTAKES)
def test_mistakes_are_told_by_their_keys(path, override):
    with pytest.raises(ConfigError) as caught:
        load_checked_config(path, ["model.dtype=auto", f"model.{override}"])
    assert any(re.search(MISTAKES[override], fault) for fault in caught.value.faults), caught.value.faults


def test_quantised_weights_have_no_room_for_an_adapter_and_no_float32_beside_them(path):
    with pytest.raises(ConfigError) as caught:
        load_checked_config(path, ["model.adapter={}", "model.quantization={}"])
    keys = [fault.partition(": ")[0] for fault in caught.value.faults]
    assert keys == ["model.dtype", "model.adapter.merge"]
    config = load_checked_config(path, ["model.dtype=bfloat16", "model.adapter.merge=false", "model.quantization={}"])
    assert config.model.quantization.bits == 4 and config.model.adapter.r == 32


def test_what_would_leave_an_adapter_without_gradients_is_refused(path):
    reentrant = "training.gradient_checkpointing_kwargs={use_reentrant: true}"
    with pytest.raises(ConfigError, match=r"^training\.gradient_checkpointing_kwargs: use_reentrant would leave"):
        load_checked_config(path, ["model.adapter={}", reentrant])
    load_checked_config(path, [reentrant])


def test_an_adapter_over_float16_weights_is_trained_under_fp16(path):
    fp16 = ["model.dtype=float16", "training.fp16=true"]
    with pytest.raises(ConfigError, match=r"^training\.fp16: true, but model\.dtype is float16"):
        load_checked_config(path, fp16)
    assert load_checked_config(path, [*fp16, "model.adapter={}"]).model.adapter is not None
