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
_OF_EARLIER = ("*.safetensors*", "adapter_config.json")
"""What of an earlier push goes unless it is written anew, for it would be loaded still: an adapter, other weights."""
PUBLIC = "it is there and public; training.hub_private_repo=false pushes to public ones"


def without_pushing(training: Mapping[str, Any]) -> dict[str, Any]:
    """Return the trainer's arguments without those that make it push by itself."""
    return {name: value for name, value in training.items() if name not in _OURS}


def check_pushing(config: Config, terminal: Terminal) -> None:
    """See before the run that the hub can be reached, and that who pushes may push what it is to be called.

    Raises:
        ConfigError: it can't, or they mayn't.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils._validators import validate_repo_id

    training = config.training
    if not training.get("push_to_hub"):
        return
    if training.get("hub_strategy", "end") != "end":
        terminal.warn("training.hub_strategy: the model is pushed once, at the end, whatever it says. Leave it out.")
    try:
        validate_repo_id(_wanted(config))
    except HFValidationError as error:
        key = "training.hub_model_id" if training.get("hub_model_id") else "run_name, for want of training.hub_model_id"
        raise ConfigError(f"{key}: no name of a model on the hub: {first_line(error).rstrip('.')}.") from error
    try:
        obstacle = _obstacle(config)
    except Exception as error:  # the hub and the network below it raise what they like
        obstacle = first_line(error).rstrip(".")
    if obstacle:
        raise ConfigError(
            f"training.push_to_hub: found true, but the hub doesn't let this machine push: {obstacle}. Log in by `hf"
            " auth login`, or leave it out and push `model/` by hand when the run is done."
        )


def _wanted(config: Config) -> str:
    return str(config.training.get("hub_model_id") or config.run_name)


def _obstacle(config: Config) -> str | None:
    """Return why a push would be refused, as far as the hub says so beforehand.

    Raises:
        Exception: whatever it raises for a token that it doesn't know, or where it can't be reached.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError

    api, wanted = HfApi(token=config.training.get("hub_token")), _wanted(config)
    user = api.whoami()
    token = (user.get("auth") or {}).get("accessToken") or {}
    if token.get("role") == "read":
        return f"the token {token.get('displayName', '')!r} of {user['name']} may only read, not write"
    owner = wanted.partition("/")[0] if "/" in wanted else user["name"]
    if token.get("role") == "write" and owner not in (user["name"], *(team["name"] for team in user.get("orgs", []))):
        return f"{owner} is neither {user['name']} nor an organisation that {user['name']} is in"
    try:
        public = api.model_info(f"{owner}/{wanted.rpartition('/')[2]}").private is False
    except RepositoryNotFoundError:  # so it is made
        return None
    return PUBLIC if public and _is_private(config) else None


def _is_private(config: Config) -> bool:
    return config.training.get("hub_private_repo") is not False


def push_model(config: Config, run: RunFolder, terminal: Terminal) -> None:
    """Upload ``model/`` as a model repository, private unless ``hub_private_repo: false`` says otherwise.

    Raises:
        WorkError: it didn't work; everything is still there, and the message says how to push by hand.
    """
    from huggingface_hub import HfApi

    training = config.training
    wanted, private = _wanted(config), _is_private(config)
    revision = training.get("hub_revision")
    try:
        api = HfApi(token=training.get("hub_token"))
        name = api.create_repo(wanted, private=private, exist_ok=True).repo_id
        if private and api.model_info(name).private is False:
            raise ValueError(PUBLIC)
        if revision is not None:
            api.create_branch(name, branch=revision, exist_ok=True)
        with terminal.waiting(f"pushing the model to {name}"):
            done = api.upload_folder(
                repo_id=name,
                folder_path=str(run.model),
                revision=revision,
                commit_message=f"{config.run_name}, by mmst",
                delete_patterns=list(_OF_EARLIER),
            )
    except Exception as error:  # the hub, the network below it and the files raise what they like
        options = [
            *(["--private"] if private else ["--no-private"]),
            *(["--revision", str(revision)] if revision else []),
            *(word for pattern in _OF_EARLIER for word in ("--delete", pattern)),
        ]
        command = joined(["hf", "upload", wanted, str(run.model), ".", *options])
        raise WorkError(
            f"training.push_to_hub: the model is whole in {run.model}, but it couldn't be pushed to {wanted}:"
            f" {first_line(error).rstrip('.')}. Push it by hand: {command}"
        ) from error
    terminal.say(f"pushed: {getattr(done, 'repo_url', None) or name}{' (private)' if private else ''}")
