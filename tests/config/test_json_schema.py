"""`mmst schema`: the JSON Schema of configs, and keys explained."""

import json
from pathlib import Path

import pytest
from jsonschema import Draft7Validator
from omegaconf import OmegaConf
from typer.testing import CliRunner

from mmst_cli.cli import app
from mmst_cli.config.json_schema import config_schema
from mmst_cli.config.keys import all_keys, find_key
from mmst_cli.config.rules_evaluators import ROLES_NEEDED
from mmst_cli.config.schema import Config
from mmst_cli.config.schema_file import FILE, MODELINE
from mmst_cli.config.signatures import loss_names, training_fields

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A function that runs a command in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


def faults_of(tree):
    return [error.json_path for error in Draft7Validator(config_schema()).iter_errors(tree)]


def quickstart():
    """The quickstart as it is written, interpolations unresolved."""
    path = next(path for path in CONFIGS if path.stem == "quickstart")
    return OmegaConf.to_container(OmegaConf.load(path), resolve=False)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_configs_fit_the_schema_and_name_it(path):
    assert faults_of(OmegaConf.to_container(OmegaConf.load(path), resolve=False)) == []
    assert path.read_text().startswith(f"{MODELINE}\n# ")


def test_the_schema_is_one_of_draft_7_and_every_key_says_what_it_means():
    Draft7Validator.check_schema(config_schema())
    silent = [name for name, ways in all_keys().items() for way in ways if not way.description and "*" not in way.name]
    # Of some arguments the library says nothing.
    assert [name for name in silent if ".args." not in name and name.split(".")[0] in Config.model_fields] == []
    assert len(silent) < 40


def test_it_knows_what_the_installed_libraries_take():
    definitions = config_schema()["$defs"]
    known = set(definitions) & set(loss_names())
    assert {"MatryoshkaLoss", "CachedGISTEmbedLoss", "DistillKLDivLoss"} <= known
    assert set(ROLES_NEEDED) <= set(definitions)
    training = config_schema()["properties"]["training"]
    fields = next(kind for kind in training["anyOf"] if "properties" in kind)["properties"]
    assert set(training_fields()) - set(fields) == {
        *("output_dir", "run_name", "resume_from_checkpoint", "do_train", "do_eval", "do_predict"),
    }
    assert fields["learning_rate"]["default"] == 5e-5
    assert fields["batch_sampler"]["default"] == "batch_sampler"
    assert "rate" in fields["learning_rate"]["description"]


def put(*path_and_value):
    *path, value = path_and_value

    def change(tree):
        node = tree
        for key in path[:-1]:
            node = node[key]
        node[path[-1]] = value

    return change


MISTAKES = {
    "an unknown key": put("modle", 1),
    "an unknown key of a section": put("model", "revison", "x"),
    "an unknown role": put("datasets", "train", "columns", "query", "role", "query"),
    "an unknown field of the trainer": put("training", "learning_rat", 1),
    "a field that mmst sets": put("training", "output_dir", "x"),
    "a text for a number": put("training", "learning_rate", "fast"),
    "a batch of nothing": put("training", "per_device_train_batch_size", 0),
    "an unknown strategy": put("training", "save_strategy", "sometimes"),
    "an unknown loss": put("loss", 1, "type", "MatrioshkaLoss"),
    "an unknown argument of a loss": put("loss", 0, "args", {"mini_batch": 4}),
    "an argument of another type": put("loss", 0, "args", {"mini_batch_size": "many"}),
    "an argument that only Python can give": put("loss", 0, "args", {"similarity_fct": "cos_sim"}),
    "a loss without an argument that it needs": put("loss", 1, {"type": "MatryoshkaLoss"}),
    "an evaluator that columns can't make": put("evaluators", "pages", "type", "TranslationEvaluator"),
    "an unknown argument of an evaluator": put("evaluators", "pages", "args", {"batch": 1}),
    "an unknown precision": put("evaluators", "pages", "precisions", ["int4"]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_found(mistake):
    tree = quickstart()
    assert faults_of(tree) == []
    MISTAKES[mistake](tree)
    assert faults_of(tree)


@pytest.mark.parametrize(
    "change",
    [
        put("loss", 0, "args", {"mini_batch_size": "auto", "mask_false_negatives": 0.1}),
        put("loss", 0, {"type": "CachedGISTEmbedLoss", "args": {"guide": {"name_or_path": "some/model"}}}),
        put("loss", 0, {"type": "my_package.losses.MyLoss", "args": {"anything": 1}}),
        put("loss", 1, "args", "${more}"),
        put("training", "learning_rate", "${rate}"),
        put("training", "learning_rate", 1),
        put("training", "lr_scheduler_kwargs", {"min_lr": 1e-7}),
        put("model", "dtype", "${dtype}"),
        put("model", "adapter", {}),
        put("evaluators", None),
        put("datasets", "eval", "${datasets.train}"),
    ],
)
def test_what_a_config_may_say_fits(change):
    tree = quickstart()
    change(tree)
    assert faults_of(tree) == []


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("model.adapter.", ["use_dora", "merge"]),
        ("model.adapter.r", ["Rank: the width of the matrices.", "takes: a whole number", "default: 32"]),
        ("training.learning_rate", ["takes: a number, 0 or more", "default: 5.0e-05"]),
        ("training.save_strategy", ["takes: one of 'no', steps, epoch, best"]),
        ("datasets.*.columns", ["others are dropped", "role", "one of anchor, positive, negative, label"]),
        ("datasets.train.columns.query.role", ["one of anchor, positive, negative, label", "none; it has to be given"]),
        ("loss.0.args.mini_batch_size", ["CachedMultipleNegativesRankingLoss", "or auto", "default: 32"]),
        ("loss.0.type", ["CoSENTLoss: ", "the dotted path of a class of your own"]),
        ("MatryoshkaLoss", ["matryoshka_dims", "n_dims_per_step", "a list of which each is a whole number"]),
        ("MatryoshkaLoss.n_dims_per_step", ["default: -1"]),
        ("MatryoshkaRetrievalEvaluator", ["batch_size", "inputs per forward pass"]),
        ("datasets", ["*.path", "*.columns"]),
        ("training", ["per_device_train_batch_size", "warmup_steps"]),
        ("training.label_smoothing_factor", ["It can do nothing here"]),
    ],
)
def test_a_key_is_explained(key, words, run):
    result = run("schema", key)
    assert result.exit_code == 0, result.output
    for word in words:
        assert word in " ".join(result.stdout.split())


@pytest.mark.parametrize(
    ("key", "suggestion"),
    [
        ("training.learning_rat", "Did you mean training.learning_rate"),
        ("learning_rate", "training.learning_rate"),
        ("model.adaptor.r", "model.adapter.r"),
        ("datasets.train.colums", "datasets.*.columns"),
        ("MatrioshkaLoss", "MatryoshkaLoss"),
        ("xyzzy", "`mmst schema` prints all"),
    ],
)
def test_a_mistyped_key_names_the_near_ones(key, suggestion, run):
    result = run("schema", key)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: mmst schema {key}: there is no such key.")
    assert suggestion in result.stderr


def test_all_the_ways_of_an_argument_are_told_with_their_losses():
    ways = find_key("loss.0.args.scale")
    owners = [name for way in ways for name in way.of]
    assert len(ways) > 1
    assert {"MultipleNegativesRankingLoss", "CoSENTLoss"} <= set(owners)
    assert len(owners) == len(set(owners))


def test_it_is_printed_and_written(run, tmp_path):
    assert json.loads(run("schema").stdout) == config_schema()
    assert run("schema", "--output", "s.json").exit_code == 0
    assert json.loads((tmp_path / "s.json").read_text()) == config_schema()
    refused = run("schema", "--output", "s.json")
    assert refused.exit_code == 2
    assert "s.json exists" in refused.stderr
    assert run("schema", "--output", "s.json", "--overwrite").exit_code == 0
    assert run("schema", "model", "--output", "t.json").exit_code == 2


def test_init_writes_it_beside_the_config_and_leaves_one_that_is_there(run, tmp_path):
    written = run("init", "quickstart", "--output", "mine/a.yaml", "--json")
    assert json.loads(written.stdout) == {"config": "mine/a.yaml", "schema": f"mine/{FILE}"}
    beside = tmp_path / "mine" / FILE
    assert json.loads(beside.read_text()) == config_schema()
    assert f"mine/{FILE} is there already" in run("init", "quickstart", "--output", "mine/c.yaml").stderr
    beside.write_text("{}")
    again = run("init", "quickstart", "--output", "mine/b.yaml")
    assert again.exit_code == 0
    assert f"`mmst schema --output mine/{FILE} --overwrite` writes it anew" in again.stderr
    assert beside.read_text() == "{}"
