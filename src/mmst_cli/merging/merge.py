"""`mmst merge`: a model whose weights are means of several models' weights, chosen by evaluation if asked for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmst_cli.config.load import with_model
from mmst_cli.config.schema import Config
from mmst_cli.errors import ConfigError, ModelError
from mmst_cli.evaluation.comparison import Comparison
from mmst_cli.evaluation.evaluator_suite import PreparedEvaluation, prepare_evaluation, watched
from mmst_cli.merging.mixes import Measured, Mix, choose, compared_with_single, mixed, mixes_table
from mmst_cli.model.broken_weights import broken_weights
from mmst_cli.model.load_model import find_model, load_model
from mmst_cli.model.merged_adapter import absorb_adapter
from mmst_cli.model.precision_of_run import as_recorded
from mmst_cli.output_claim import claimed
from mmst_cli.preparing.compared_folder import config_of_run, probed_datasets, refuse_if_taken, write_compared
from mmst_cli.preparing.prepared_model import set_patches
from mmst_cli.preparing.saved_model_gate import GateResult, SavedModelGate
from mmst_cli.runs import RunFolder
from mmst_cli.shell_words import quoted
from mmst_cli.storage import expand_home, told_of_disk
from mmst_cli.terminal import Terminal, quiet_libraries

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

RECORD = "merge.json"
METHODS = ("linear", "slerp")


@dataclass(frozen=True)
class MergeOptions:
    """How models are merged.

    Attributes:
        weights: one a model; equal ones if left out.
        method: ``linear``, or ``slerp`` between two.
        choose: measure the models and mixes of them on the evaluators of the config, and keep the best.
        overwrite: replace an earlier output that is there.
    """

    weights: tuple[float, ...] = ()
    method: str = "linear"
    choose: bool = False
    overwrite: bool = False


@dataclass(frozen=True)
class Merged:
    """What was written, and what was measured on the way."""

    folder: Path
    names: Sequence[str]
    mix: Mix
    gate: GateResult
    measured: list[Measured] = field(default_factory=list)
    comparisons: dict[str, Comparison] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "folder": str(self.folder),
            **self.mix.to_dict(self.names),
            "measured": [{**one.mix.to_dict(self.names), "score": one.score} for one in self.measured],
            "comparisons": {name: asdict(comparison) for name, comparison in self.comparisons.items()},
            "gate": self.gate.to_dict(),
        }


def run_merge(
    models: Sequence[str],
    output: Path,
    config: Config | None = None,
    options: MergeOptions | None = None,
    terminal: Terminal | None = None,
) -> Merged:
    """Merge models, compare what was saved with what is in memory, and write it.

    Args:
        models: run folders, model folders or hub ids; prompts and processor are those of the first.
        output: the folder to write; ``merge.json`` in it says what it is made of.
        config: what to evaluate on, and to draw inputs from that are compared; that of the first run if left out.
        options: how.
        terminal: where to show progress and the table.

    Raises:
        MmstError: a mistake in the options, or models that don't go together; nothing is written.
    """
    options, terminal = options or MergeOptions(), terminal or Terminal()
    mix = _declared(models, options)
    folders = [find_model(model) for model in models]
    _check_different(models, folders)
    config = with_model(config or _config_of_first_run(models), folders[0])
    with claimed(output, "--output"), told_of_disk(output):
        refuse_if_taken(output, RECORD, overwrite=options.overwrite)
        return _merge(as_recorded(config, terminal), list(models), folders, mix, output, terminal)


def _declared(models: Sequence[str], options: MergeOptions) -> Mix | None:
    """Return the mix that is asked for; None where it is to be chosen."""
    if len(models) < 2 or len(set(models)) != len(models):
        raise ConfigError(f"mmst merge: name two or more different models, found {len(set(models))}.")
    weights = options.weights
    if options.method not in METHODS:
        raise ConfigError(f"--method: {options.method}: there are {' and '.join(METHODS)}.")
    if options.method == "slerp" and len(models) != 2:
        raise ConfigError(f"--method slerp: it goes between two models, found {len(models)}. Leave it out.")
    if options.choose:
        if weights or options.method != "linear":
            raise ConfigError(
                "--choose: it finds the weights itself, of linear mixes. Leave --weights and --method out."
            )
        return None
    if weights and len(weights) != len(models):
        raise ConfigError(f"--weights: found {len(weights)} for {len(models)} models. Give one a model, as 0.7,0.3.")
    if any(not 0 < weight < float("inf") for weight in weights):
        raise ConfigError(f"--weights: {','.join(map(str, weights))}: each has to be above 0.")
    largest = max(weights, default=1.0)  # by which they are divided first, for the sum of large ones is infinite
    weights = tuple(weight / largest for weight in weights) or (1.0,) * len(models)
    return Mix(tuple(weight / sum(weights) for weight in weights), options.method)


def _check_different(models: Sequence[str], folders: Sequence[str]) -> None:
    places = [os.path.realpath(folder) for folder in folders]
    for index, place in enumerate(places):
        if place in places[:index]:
            first = models[places.index(place)]
            raise ConfigError(f"mmst merge: {first} and {models[index]} are the same model. Name it once.")


def _config_of_first_run(models: Sequence[str]) -> Config:
    runs = [RunFolder(expand_home(model)) for model in models]
    run = next((run for run in runs if run.is_run()), None)
    if run is None:
        raise ConfigError(
            "mmst merge: none of these is a run, so that nothing says what to compare the saved vectors on. Name a run,"
            " or a config by --choose CONFIG."
        )
    return config_of_run(run)


def _merge(
    config: Config, names: list[str], folders: list[str], mix: Mix | None, output: Path, terminal: Terminal
) -> Merged:
    quiet_libraries(terminal)
    prepared = prepare_evaluation(config, terminal, probed_datasets(config))
    models = [prepared.model, *(_load(folder, config, prepared) for folder in folders[1:])]
    for model, name in zip(models, names, strict=True):
        absorb_adapter(model, name)
        if broken := broken_weights(model):
            raise ModelError(f"{name}: its weights in {broken} are not finite, and no mean with them is. Leave it out.")
    _check_alike(models, names)
    measured: list[Measured] = []
    comparisons: dict[str, Comparison] = {}
    if mix is None:
        best, measured = choose(len(models), lambda one: _measure(prepared, models, one, names, terminal))
        comparisons, mix = compared_with_single(best, measured[: len(models)], names), best.mix
        terminal.show(mixes_table(measured, best, names))
        for comparison in comparisons.values():
            terminal.say(comparison.verdict)
    model, trusted = mixed(models, mix, names), config.model.trust_remote_code
    precision = prepared.runtime.precision
    with closing(SavedModelGate(model, prepared.rows, precision, trust_remote_code=trusted)) as gate:

        def record(found: GateResult) -> dict[str, Any]:
            return Merged(output, names, mix, found, measured, comparisons).to_dict()

        found = write_compared(output, gate, config.matryoshka_dims, (RECORD, record))
    terminal.say(f"gate: {found.sentence}")
    terminal.say(f"model: {output} ({mix.label(names)})")
    terminal.say(f"next: mmst encode {quoted(output)} INPUT --output vectors")
    return Merged(output, names, mix, found, measured, comparisons)


def _load(folder: str, config: Config, prepared: PreparedEvaluation) -> SentenceTransformer:
    """Load another model as the first one was: what differs by the config alone would keep them from being merged."""
    section = config.model.model_copy(update={"name_or_path": folder})
    model = load_model(section, prepared.runtime.device, prepared.runtime.precision)[0]
    set_patches(model, section)
    return model


def _check_alike(models: Sequence[SentenceTransformer], names: Sequence[str]) -> None:
    """Refuse models that were trained with different prompts or similarities: the mix can have only one of each."""
    first = _declarations(models[0])
    for model, name in zip(models[1:], names[1:], strict=True):
        for what, found in _declarations(model).items():
            if found != first[what]:
                raise ModelError(
                    f"{name}: its {what} is {found or 'none'}, and that of {names[0]} is {first[what] or 'none'}. Merge"
                    " models that were trained with the same."
                )


def _declarations(model: SentenceTransformer) -> dict[str, Any]:
    prompts = {name: prompt for name, prompt in model.prompts.items() if prompt}
    return {"set of prompts": prompts, "similarity": str(model.similarity_fn_name)}


def _measure(
    prepared: PreparedEvaluation,
    models: Sequence[SentenceTransformer],
    mix: Mix,
    names: Sequence[str],
    terminal: Terminal,
) -> Measured:
    with watched(prepared.suite, terminal, f"of {mix.label(names)}"):
        prepared.suite(mixed(models, mix, names))
    return Measured(mix, prepared.suite.evaluations)
