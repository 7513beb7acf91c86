"""`push_to_hub` by huggingface_hub itself, to a stand-in of the hub: what arrives, and what is said otherwise."""

import re
import shlex
import subprocess
import sys
from functools import partial
from pathlib import Path

import huggingface_hub
import pytest
from process_pair import ProcessPair
from small_job import write_job
from stand_in import loopback_environment
from text_job import text_job
from writable_hub import WritableHub

from mmst_cli.config.schema import Config, ModelConfig
from mmst_cli.runs import RunFolder
from mmst_cli.training.hub_upload import push_model

ROOT = Path(__file__).parents[2]
WRITES, READS = "hf_mayread0andwrite", "hf_mayreadalone"


@pytest.fixture(scope="module")
def one_hub():
    with WritableHub({WRITES: {"name": "someone", "role": "write"}, READS: {"name": "guest", "role": "read"}}) as hub:
        yield hub


@pytest.fixture(scope="module")
def environment(one_hub, tmp_path_factory):
    """That of somebody who is logged in to the stand-in."""
    home = tmp_path_factory.mktemp("home")
    return loopback_environment(one_hub.address, home) | {"OMP_NUM_THREADS": "1", "HF_TOKEN": WRITES}


@pytest.fixture(scope="module")
def commands(environment):
    commands = ProcessPair(environment)
    yield commands
    commands.close()


@pytest.fixture
def hub(one_hub):
    yield one_hub
    one_hub.repositories.clear()
    one_hub.private.clear()


@pytest.fixture
def mmst(commands, tmp_path):
    """Runs `mmst`, or Python code, as somebody who is logged in to the stand-in."""
    return partial(commands.alone, tmp_path, LOOPBACK_LOG=str(tmp_path / "outside.txt"))


@pytest.fixture
def command(environment, tmp_path):
    """Runs a command in a process that isn't forked."""

    def command(*words, **more):
        words = [sys.executable, *map(str, words)]
        return subprocess.run(words, cwd=tmp_path, env=environment | more, capture_output=True, text=True, check=False)

    return command


@pytest.fixture
def job(tmp_path):
    def job(name="small"):
        training = {"save_strategy": "steps", "save_steps": 2, "push_to_hub": True, "hub_model_id": name}
        write_job(text_job(tmp_path, max_steps=4, **training), tmp_path / "job.yaml")
        return ["train", "job.yaml"]

    return job


def files_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def pushed(hub, name="someone/small", branch="main"):
    return {path: file.content for path, file in hub.repositories["models", name][branch].files.items()}


@pytest.mark.slow
def test_the_command_of_the_page_pushes_what_was_saved(hub, mmst, tmp_path):
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    (line,) = re.findall(r"^mmst train .*push_to_hub.*$", (ROOT / "docs/serving.md").read_text(), re.MULTILINE)
    small = ["training.max_steps=2", "training.per_device_train_batch_size=8", "training.eval_strategy='no'"]
    small += ["datasets.train.max_rows=32", "datasets.eval.max_rows=16", "training.save_steps=1"]
    words = [*shlex.split(line)[1:], *small]
    done = mmst(*words)
    assert done.returncode == 0, done.stderr
    model, name = tmp_path / "runs/quickstart/model", "someone/quickstart"
    assert f"pushed: {hub.address}/{name} (private)" in done.stderr
    assert pushed(hub, name) == files_of(model) and "README.md" in pushed(hub, name)
    assert hub.private == {("models", name)}
    assert not (tmp_path / "outside.txt").exists()
    script = "import sys; from sentence_transformers import SentenceTransformer as S; import numpy"
    script += "; numpy.save(sys.argv[2], S(sys.argv[1], device='cpu').encode(['a page with a red header']))"
    for number, place in enumerate((name, model)):
        loaded = mmst(place, f"{number}.npy", code=script)
        assert loaded.returncode == 0, loaded.stderr
    assert (tmp_path / "0.npy").read_bytes() == (tmp_path / "1.npy").read_bytes()
    again = mmst(*words, "--resume", "training.hub_revision=second", "training.hub_private_repo=false")
    assert again.returncode == 0, again.stderr
    assert pushed(hub, name, "second").keys() == pushed(hub, name).keys()
    assert hub.private == {("models", name)}  # what is there keeps its visibility


@pytest.mark.slow
def test_a_push_that_fails_leaves_the_run_whole_and_its_command_pushes_it(hub, job, mmst, command, tmp_path):
    hub.broken = "/commit/"
    done = mmst(*job(), "--json")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    *_, said = done.stderr.strip().splitlines()
    assert said.startswith(
        f"error: training.push_to_hub: the model is whole in {tmp_path}/run/model, but it couldn't be pushed to"
    )
    assert pushed(hub) == {} and WRITES not in done.stderr
    assert {"report.html", "gate.json", "model"} <= {path.name for path in (tmp_path / "run").iterdir()}
    hub.broken = ""
    words = shlex.split(said.partition("Push it by hand: ")[2])
    assert words[:2] == ["hf", "upload"]
    by_hand = command(Path(sys.executable).with_name("hf"), *words[1:])
    assert by_hand.returncode == 0, by_hand.stderr
    assert pushed(hub) == files_of(tmp_path / "run/model")
    assert hub.private == {("models", "someone/small")}


def test_what_an_earlier_push_left_is_not_loaded_with_the_model(hub, monkeypatch, tmp_path, quiet):
    """An adapter beside a whole model would be loaded in its place."""
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", hub.address)
    monkeypatch.setattr(huggingface_hub, "HfApi", partial(huggingface_hub.HfApi, endpoint=hub.address))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    run = RunFolder(tmp_path / "run")
    run.model.mkdir(parents=True)
    config = Config(model=ModelConfig(), datasets={}, training={"hub_model_id": "small", "hub_token": WRITES})
    for names in (
        ("adapter_config.json", "adapter_model.safetensors", "notes.md"),
        ("config.json", "model.safetensors"),
    ):
        for path in run.model.iterdir():
            path.unlink()
        for name in names:
            (run.model / name).write_text(name)
        push_model(config, run, quiet)
    assert set(pushed(hub)) == {"config.json", "model.safetensors", "notes.md"}


@pytest.mark.parametrize(
    ("name", "token", "words"),
    [
        ("small", READS, "the token 'laptop' of guest may only read, not write"),
        ("small", "hf_unknown", "Invalid user token."),
        ("small", "", "Token is required"),
        ("other/small", WRITES, "other is neither someone nor an organisation that someone is in"),
    ],
)
def test_who_may_not_push_is_told_before_anything_is_loaded(hub, job, mmst, tmp_path, name, token, words):
    check_refusal(mmst(*job(name), HF_TOKEN=token), words, hub, tmp_path)


def test_offline_it_is_told_before_anything_is_loaded(hub, job, command, tmp_path):
    check_refusal(command("-m", "mmst_cli", *job(), HF_HUB_OFFLINE="1"), "offline", hub, tmp_path)


def check_refusal(done, words, hub, folder):
    assert done.returncode == 2 and "Traceback" not in done.stderr
    (said,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert said.startswith("error: training.push_to_hub: found true, but the hub doesn't let this machine push: ")
    assert words.lower() in said.lower() and "`hf auth login`" in said
    assert not (folder / "run").exists() and not hub.repositories and "data: " not in done.stderr
