"""`push_to_hub`: the final model and its card to the hub, once, at the end, and nothing else of the run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmst_cli.config.schema import Config
from mmst_cli.errors import ConfigError, WorkError, first_line
from mmst_cli.runs import RunFolder
from mmst_cli.shell_words import joined
from mmst_cli.terminal import Terminal

_OURS = ("push_to_hub", "hub_strategy", "hub_always_push")
"""Arguments of the trainer about pushing while it trains: it would upload checkpoints, and copy them about the run."""


def without_pushing(training: Mapping[str, Any]) -> dict[str, Any]:
    """Return the trainer's arguments without those that make it push by itself."""
    return {name: value for name, value in training.items() if name not in _OURS}


def check_pushing(config: Config, terminal: Terminal) -> None:
    """See before the run that the hub can be reached and knows who pushes.

    Raises:
        ConfigError: it can't, or doesn't.
    """
    from huggingface_hub import HfApi

    training = config.training
    if not training.get("push_to_hub"):
        return
    if training.get("hub_strategy", "end") != "end":
        terminal.warn("training.hub_strategy: the model is pushed once, at the end, whatever it says. Leave it out.")
    try:
        HfApi(token=training.get("hub_token")).whoami()
    except Exception as error:  # the hub and the network below it raise what they like
        raise ConfigError(
            "training.push_to_hub: found true, but the hub doesn't let this machine push: "
            + first_line(error).rstrip(".")
            + ". Log in by `hf auth login`, or leave it out and push `model/` by hand when the run is done."
        ) from error


def push_model(config: Config, run: RunFolder, terminal: Terminal) -> None:
    """Upload ``model/`` as a model repository, private unless ``hub_private_repo: false`` says otherwise.

    Raises:
        WorkError: it didn't work; everything is still there, and the message says how to push by hand.
    """
    from huggingface_hub import HfApi

    training = config.training
    wanted = str(training.get("hub_model_id") or config.run_name)
    private = training.get("hub_private_repo") is not False
    revision = training.get("hub_revision")
    try:
        api = HfApi(token=training.get("hub_token"))
        name = api.create_repo(wanted, private=private, exist_ok=True).repo_id
        if private and api.model_info(name).private is False:
            raise ValueError("it is there and public; training.hub_private_repo=false pushes to public ones")
        if revision is not None:
            api.create_branch(name, branch=revision, exist_ok=True)
        with terminal.waiting(f"pushing the model to {name}"):
            done = api.upload_folder(
                repo_id=name,
                folder_path=str(run.model),
                revision=revision,
                commit_message=f"{config.run_name}, by mmst",
            )
    except Exception as error:  # the hub, the network below it and the files raise what they like
        options = [
            *(["--private"] if private else ["--no-private"]),
            *(["--revision", str(revision)] if revision else []),
        ]
        command = joined(["hf", "upload", wanted, str(run.model), ".", *options])
        raise WorkError(
            f"training.push_to_hub: the model is whole in {run.model}, but it couldn't be pushed to {wanted}:"
            f" {first_line(error).rstrip('.')}. Push it by hand: {command}"
        ) from error
    terminal.say(f"pushed: {getattr(done, 'repo_url', None) or name}{' (private)' if private else ''}")
