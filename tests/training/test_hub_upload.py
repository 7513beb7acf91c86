"""`push_to_hub`: the final model alone, once, private; and what happens where it doesn't work."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub.errors import RepositoryNotFoundError
from text_job import run, text_job

from mmst_cli.errors import ConfigError, WorkError

TOKEN = "hf_secretsecretsecret"


class Hub:
    """Takes down what a HfApi is asked for."""

    def __init__(self, error=None, public=False, becomes_public=False, stranger=None, user=None):
        self.error, self.public, self.created, self.uploaded = error, public, [], []
        self.becomes_public, self.stranger, self.user = becomes_public, stranger, user or {}

    def api(self, token=None):
        self.token = token
        return self

    def whoami(self):
        if self.stranger is not None:
            raise self.stranger
        return {"name": "someone", **self.user}

    def create_repo(self, name, *, private, exist_ok):
        self.created.append((name, private, exist_ok))
        self.public |= self.becomes_public
        return SimpleNamespace(repo_id=name if "/" in name else f"someone/{name}")

    def model_info(self, name):
        if not self.public and not self.created:
            raise RepositoryNotFoundError("there is none", response=SimpleNamespace(headers={}, request=None))
        return SimpleNamespace(private=not self.public)

    def create_branch(self, name, *, branch, exist_ok):
        self.created.append((name, branch))

    def upload_folder(self, *, repo_id, folder_path, revision, commit_message, delete_patterns):
        if self.error is not None:
            raise self.error
        files = sorted(str(path.relative_to(folder_path)) for path in Path(folder_path).rglob("*") if path.is_file())
        self.uploaded.append((repo_id, revision, files))
        return SimpleNamespace(repo_url=f"https://huggingface.co/{repo_id}")


@pytest.fixture
def hub(monkeypatch):
    """A function that puts a hub in place of the real one."""
    import huggingface_hub

    def make(**options):
        found = Hub(**options)
        monkeypatch.setattr(huggingface_hub, "HfApi", found.api)
        return found

    return make


def said(terminal):
    return terminal.console.file.getvalue().replace("\n", " ")


def test_the_model_and_its_card_are_pushed_once_at_the_end(tmp_path, quiet, hub):
    found = hub()
    config = text_job(tmp_path, push_to_hub=True, hub_model_id="team/model", save_strategy="steps", save_steps=2)
    config["training"]["hub_token"] = TOKEN
    run(config, tmp_path, quiet)
    assert found.token == TOKEN
    assert found.created == [("team/model", True, True)]
    ((name, revision, files),) = found.uploaded
    assert (name, revision) == ("team/model", None)
    assert {"README.md", "modules.json", "config.json", "model.safetensors"} <= set(files)
    assert not [file for file in files if file.startswith("checkpoint") or "optimizer" in file or file == "log.txt"]
    assert "pushed: https://huggingface.co/team/model (private)" in said(quiet)
    root = {path.name for path in (tmp_path / "run").iterdir() if not path.name.startswith("checkpoint-")}
    assert not {"model.safetensors", "modules.json", "README.md"} & root  # where `mmst encode RUN` would take them
    for path in (tmp_path / "run").rglob("*"):
        assert not path.is_file() or TOKEN.encode() not in path.read_bytes()


def test_public_and_a_branch_where_it_is_said(tmp_path, quiet, hub):
    found = hub(public=True)
    config = text_job(tmp_path, max_steps=1, push_to_hub=True, hub_private_repo=False, hub_revision="v2")
    run({**config, "run_name": "texts"}, tmp_path, quiet)
    assert found.created == [("texts", False, True), ("someone/texts", "v2")]
    assert found.uploaded[0][:2] == ("someone/texts", "v2")


def test_without_being_asked_nothing_is_pushed(tmp_path, quiet, hub):
    found = hub()
    run(text_job(tmp_path, max_steps=1, hub_model_id="team/model"), tmp_path, quiet)
    assert not found.created and not found.uploaded


@pytest.mark.parametrize("options", [{"error": ConnectionError("no way out")}, {"becomes_public": True}])
def test_a_failure_leaves_everything_and_says_how_to_push_by_hand(tmp_path, quiet, hub, options):
    found = hub(**options)
    config = text_job(tmp_path, max_steps=1, push_to_hub=True, hub_model_id="team/model", hub_token=TOKEN)
    with pytest.raises(WorkError) as caught:
        run(config, tmp_path, quiet)
    message = str(caught.value)
    assert caught.value.exit_code == 1 and TOKEN not in message
    assert ("no way out" if "error" in options else "training.hub_private_repo=false pushes to public") in message
    by_hand = f"hf upload team/model {tmp_path}/run/model . --private"
    assert message.endswith(f"Push it by hand: {by_hand} --delete '*.safetensors*' --delete adapter_config.json")
    assert not found.uploaded
    assert (tmp_path / "run/model/model.safetensors").is_file() and (tmp_path / "run/report.html").is_file()
    assert "next: " in said(quiet)


def test_the_command_by_hand_is_one_that_there_is():
    done = subprocess.run(
        [str(Path(sys.executable).with_name("hf")), "upload", "--help"], capture_output=True, text=True, check=True
    )
    assert all(
        option in done.stdout
        for option in ("REPO_ID", "LOCAL_PATH", "--private", "--no-private", "--revision", "--delete")
    )


def test_what_would_be_in_the_way_is_said_before(tmp_path, quiet, hub):
    hub()
    run(text_job(tmp_path, max_steps=1, push_to_hub=True, hub_strategy="every_save"), tmp_path, quiet, dry_run=True)
    assert "training.hub_strategy: the model is pushed once" in said(quiet)


@pytest.mark.parametrize("dry_run", [True, False])
@pytest.mark.parametrize("error", [OSError("Offline mode is enabled"), ValueError("Token is required")])
def test_a_hub_that_will_not_take_the_model_is_noticed_before_the_run(tmp_path, quiet, hub, dry_run, error):
    hub(stranger=error)
    with pytest.raises(ConfigError, match=rf"^training\.push_to_hub: found true, but .*: {error}\. Log in by"):
        run(text_job(tmp_path, max_steps=1, push_to_hub=True), tmp_path, quiet, dry_run=dry_run)
    assert not (tmp_path / "run").exists()


READS = {"auth": {"accessToken": {"role": "read", "displayName": "laptop"}}}
WRITES = {"auth": {"accessToken": {"role": "write"}}, "orgs": [{"name": "firm"}]}


@pytest.mark.parametrize(
    ("options", "name", "words"),
    [
        ({"user": READS}, "someone/model", "push: the token 'laptop' of someone may only read, not write"),
        ({"user": WRITES}, "team/model", "push: team is neither someone nor an organisation that someone is in"),
        ({"public": True}, "model", "push: it is there and public; training.hub_private_repo=false"),
        ({"stranger": OSError("Offline mode")}, "a/b/c", r"^training\.hub_model_id: no name of a model on the hub: "),
        ({}, None, r"^run_name, for want of training\.hub_model_id: no name of a model on the hub: .*'my run'"),
    ],
)
def test_what_the_hub_would_refuse_at_the_end_is_refused_before_the_run(tmp_path, quiet, hub, options, name, words):
    hub(**options)
    given = {} if name is None else {"hub_model_id": name}
    with pytest.raises(ConfigError, match=words):
        run({**text_job(tmp_path, push_to_hub=True, **given), "run_name": "my run"}, tmp_path, quiet)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["firm/model", "someone/model", "model"])
def test_who_may_push_does(tmp_path, quiet, hub, name):
    found = hub(user=WRITES)
    run(text_job(tmp_path, max_steps=1, push_to_hub=True, hub_model_id=name), tmp_path, quiet)
    assert found.uploaded
