"""Loading: what comes out is models, and every mistake is named by its key, all of them at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmst_cli.config.load import config_to_yaml, load_config
from mmst_cli.config.schema import Config, Dtype, Role, Section, Use
from mmst_cli.config.signatures import TRAINER_FIELDS_ELSEWHERE, training_fields
from mmst_cli.errors import ConfigError

CONFIGS = Path(__file__).parents[2] / "configs"
SMALL = """
matryoshka_dims: [64, 32]
model: {name_or_path: some/model}
datasets:
  train:
    use: train
    path: some/data
    columns:
      query: {role: anchor}
      image: {role: positive, modality: image}
loss:
  - type: MultipleNegativesRankingLoss
    args: {scale: 20}
evaluators:
  hard: {type: MatryoshkaRetrievalEvaluator, dataset: train, dims: "${matryoshka_dims}"}
training: {learning_rate: 2e-5}
"""


@pytest.fixture
def write(tmp_path):
    def write(text: str) -> Path:
        path = tmp_path / "job.yaml"
        path.write_text(text)
        return path

    return write


def faults_of(path, overrides=()):
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides)
    return caught.value.faults


def only_plain(value) -> bool:
    if isinstance(value, Section):
        return all(only_plain(item) for _, item in value)
    if type(value) is dict:
        return all(only_plain(item) for item in value.values())
    if type(value) is list:
        return all(only_plain(item) for item in value)
    return value is None or isinstance(value, str | int | float | bool)


@pytest.mark.parametrize("name", ["vdr.yaml", "vdr-fp32.yaml"])
def test_shipped_configs_load_as_plain_models(name):
    config = load_config(CONFIGS / name)
    assert isinstance(config, Config)
    assert only_plain(config)


def test_values_of_the_reference_config():
    config = load_config(CONFIGS / "vdr.yaml")
    assert config.output_dir == "runs/Qwen3-VL-Embedding-2B-vdr"
    assert config.model.dtype is Dtype.bfloat16
    assert config.datasets["eval"].path == "tomaarsen/llamaindex-vdr-en-train-preprocessed"
    assert config.datasets["train"].use is Use.train
    assert [c.role for c in config.datasets["train"].columns.values()] == [*Role][:3]
    assert config.loss[1].args == {"matryoshka_dims": [2048, 1536, 1024, 512, 256, 128, 64]}
    assert config.training["learning_rate"] == 2e-5


def test_fp32_differs_from_the_reference_in_name_and_dtype_only():
    reference, other = load_config(CONFIGS / "vdr.yaml"), load_config(CONFIGS / "vdr-fp32.yaml")
    assert other.model.dtype is Dtype.float32
    assert other.training["bf16"] is True
    other.model.dtype = reference.model.dtype
    other.run_name, other.output_dir = reference.run_name, reference.output_dir
    assert other == reference


def test_defaults_are_filled_and_can_be_referred_to(write):
    config = load_config(write(SMALL), ["model.revision=${datasets.train.split}"])
    assert config.output_dir == "runs/run"
    assert config.model.revision == "train"
    assert config.loss[0].args == {"scale": 20}


def test_an_emptied_section_is_a_section_left_out(write):
    assert load_config(write(SMALL), ["evaluators=null", "loss="]).evaluators == {}


@pytest.mark.parametrize(
    ("override", "read"),
    [
        ("training.learning_rate=1e-5", lambda c: c.training["learning_rate"] == 1e-5),
        ("training.seed=7", lambda c: c.training["seed"] == 7),
        ("training.bf16=true", lambda c: c.training["bf16"] is True),
        (
            "training.lr_scheduler_kwargs.min_lr=1e-7",
            lambda c: c.training["lr_scheduler_kwargs"] == {"min_lr": 1e-7},
        ),
        ("loss.0.args.scale=4", lambda c: c.loss[0].args["scale"] == 4),
        ("loss.0.args.gather_across_devices=true", lambda c: c.loss[0].args["gather_across_devices"] is True),
        ("matryoshka_dims=[16]", lambda c: c.evaluators["hard"].dims == [16]),
        ("matryoshka_dims.1=8", lambda c: c.matryoshka_dims == [64, 8]),
        ("datasets.train.split=train[:300]", lambda c: c.datasets["train"].split == "train[:300]"),
        ("model.name_or_path=a=b", lambda c: c.model.name_or_path == "a=b"),
        ("run_name=night", lambda c: c.output_dir == "runs/night"),
        ("model.revision=null", lambda c: c.model.revision is None),
        ("evaluators.hard.dims=${matryoshka_dims}", lambda c: c.evaluators["hard"].dims == [64, 32]),
        (
            "datasets.more={use: eval, path: x, columns: {a: {role: anchor}}}",
            lambda c: c.datasets["more"].use is Use.eval,
        ),
    ],
)
def test_overrides(write, override, read):
    assert read(load_config(write(SMALL), [override]))


@pytest.mark.parametrize(
    ("override", "key", "words"),
    [
        # unknown keys at every level
        ("modle={}", "modle", ["unknown key", "Did you mean model?"]),
        ("model.dtpe=float32", "model.dtpe", ["unknown key", "Did you mean dtype?"]),
        ("datasets.train.spilt=x", "datasets.train.spilt", ["Did you mean split?"]),
        (
            "datasets.train.columns.image.rol=anchor",
            "datasets.train.columns.image.rol",
            ["Did you mean role?"],
        ),
        (
            "datasets.train.columns.image.xyz=1",
            "datasets.train.columns.image.xyz",
            ["Known here: role, modality"],
        ),
        ("loss.0.arg={}", "loss.0.arg", ["Did you mean args?"]),
        ("evaluators.hard.datset=x", "evaluators.hard.datset", ["Did you mean dataset?"]),
        # wrong types
        (
            "model=some/model",
            "model",
            ['the text "some/model"', "takes a mapping. Write model.name_or_path=some/model"],
        ),
        ("model.revision=123", "model.revision", ["the number 123", "takes text", "quotes"]),
        (
            "model.dtype=float23",
            "model.dtype",
            ["float23", "auto, float32, bfloat16, float16", "mean float32?"],
        ),
        ("model.dtype=[1]", "model.dtype", ["the list [1]", "one of auto"]),
        ("model.trust_remote_code=yep", "model.trust_remote_code", ["yep", "true or false"]),
        ("model.processor=[]", "model.processor", ["the list []", "takes a mapping"]),
        ("datasets=[]", "datasets", ["takes a mapping"]),
        ("datasets.train.max_rows=many", "datasets.train.max_rows", ["a whole number"]),
        ("datasets.train.max_rows=1.5", "datasets.train.max_rows", ["1.5", "a whole number"]),
        ("datasets.train.max_rows=true", "datasets.train.max_rows", ["found true", "a whole number"]),
        (
            "datasets.train.columns.query=text",
            "datasets.train.columns.query",
            ["mapping with role, modality"],
        ),
        (
            "datasets.train.columns.query.role=quary",
            "datasets.train.columns.query.role",
            ["anchor, positive"],
        ),
        ("loss={}", "loss", ["found an empty mapping", "takes a list"]),
        ("loss.0=MatryoshkaLoss", "loss.0", ["takes a mapping with type, args"]),
        ("matryoshka_dims=64", "matryoshka_dims", ["the number 64", "takes a list"]),
        ("evaluators.hard.dims=[64, big]", "evaluators.hard.dims.1", ['the text "big"', "a whole number"]),
        ("training=3", "training", ["takes a mapping"]),
        # missing required fields
        ("model=null", "model", ["missing"]),
        ("datasets=null", "datasets", ["missing", "a mapping"]),
        ("datasets.train.use=null", "datasets.train.use", ["missing", "one of train, eval"]),
        ("datasets.new.use=eval", "datasets.new.path", ["missing"]),
        ("datasets.train.columns.query.role=???", "datasets.train.columns.query.role", ["missing"]),
        ("loss.0={args: {}}", "loss.0.type", ["missing"]),
        ("evaluators.hard={type: x}", "evaluators.hard.dataset", ["missing"]),
        ("training.seed=???", "training.seed", ["still missing"]),
        # interpolations
        ("run_name=${matryoshka_dim}", "run_name", ["refers to nothing", "Did you mean matryoshka_dims?"]),
        ("loss.0.args.scale=${nope}", "loss.0.args.scale", ["${nope} refers to nothing"]),
        (
            "datasets.train.max_rows=${run_name}",
            "datasets.train.max_rows",
            ['the text "run"', "a whole number"],
        ),
        ("datasets.train.mine={num_negative: 1}", "datasets.train.mine.num_negative", ["Did you mean num_negatives?"]),
        ("datasets.train.mine.revision=???", "datasets.train.mine.revision", ["still missing"]),
        ("output_dir=???", "output_dir", ["missing. It takes text."]),
        ("run_name=${run_name}", "run_name", ["can't be resolved", "Recursive"]),
        ("model.processor=${model}", "model.processor", ["${model} can't be resolved", "parent"]),
        ("run_name='${x'", "run_name", ["can't be read as a YAML value"]),
        # overrides that are none
        ("training.seed", "training.seed", ["KEY=VALUE"]),
        ("=3", "=3", ["KEY=VALUE"]),
        ("loss.5.type=x", "loss.5.type", ["a list of 1", "not 5"]),
        ("loss.first.type=x", "loss.first.type", ["a list of 1", "not first"]),
        ("run_name.x=1", "run_name.x", ["Set run_name itself"]),
        ("evaluators.hard.dims.0=1", "evaluators.hard.dims.0", ["Set evaluators.hard.dims itself"]),
        ("training.seed=[1", "training.seed", ["can't be read as a YAML value"]),
        ("run_name=r\udcfcn", "run_name", ["bytes that are no text"]),  # as Python gives bytes of an argument
    ],
)
def test_one_mistake_is_one_sentence_by_its_key(write, override, key, words):
    overrides = ["run_name=run", override]
    faults = faults_of(write(SMALL), overrides)
    mine = [fault for fault in faults if fault.startswith((f"{key}:", f"{key} ")) or fault.partition(":")[0] == key]
    assert len(mine) == 1, faults
    for word in words:
        assert word in mine[0]


def test_interpolations_in_a_circle_end(write):
    faults = faults_of(write(SMALL), ["training.a={x: '${training.b}'}", "training.b={y: '${training.a}'}"])
    assert {fault.partition(":")[0] for fault in faults} == {"training.a.x.y", "training.b.y.x"}


def test_a_file_of_words_is_no_config(write):
    assert faults_of(write("just words"))[0].startswith("just words: unknown key. Known here: model, datasets")


def test_all_mistakes_are_told_at_once(write):
    faults = faults_of(
        write(SMALL),
        [
            "modle=1",
            "model.dtype=half",
            "datasets.train.columns.image.rol=x",
            "datasets.more={}",
            "run_name=${nope}",
            "novalue",
        ],
    )
    keys = {fault.partition(":")[0] for fault in faults}
    expected = {"modle", "model.dtype", "datasets.train.columns.image.rol", "run_name", "novalue"}
    assert expected | {"datasets.more.use", "datasets.more.path", "datasets.more.columns"} <= keys
    assert not [fault for fault in faults if "OmegaConf" in fault or "<" in fault]


def test_a_missing_file_names_what_was_looked_for_and_what_is_there(tmp_path):
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "vdr.yaml").touch()
    (fault,) = faults_of(tmp_path / "vrd.yaml")
    assert fault.startswith(f"{tmp_path / 'vrd.yaml'}: no such file")
    assert str(tmp_path / "configs" / "vdr.yaml") in fault


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("learning_rate=1e-5", "learning_rate: unknown key. Did you mean training.learning_rate?"),
        ("epochs=2", "epochs: unknown key. Did you mean training.num_train_epochs?"),
        ("evaluator=2", "evaluator: unknown key. Did you mean evaluators?"),
        ("model=some/model", "Write model.name_or_path=some/model, or name_or_path: some/model below it."),
    ],
)
def test_what_stands_a_level_too_high_is_told_where_it_goes(override, said):
    (fault,) = faults_of(CONFIGS / "vdr.yaml", [override])
    assert said in fault


def test_every_name_of_other_tools_is_of_a_field_there_is():
    assert set(TRAINER_FIELDS_ELSEWHERE.values()) <= training_fields().keys()
    assert not TRAINER_FIELDS_ELSEWHERE.keys() & training_fields().keys()


def test_a_folder_is_not_a_config(tmp_path):
    assert "this is a folder" in faults_of(tmp_path)[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("model:\n  name_or_path: [a\nb: c", "line 3, column 2"),
        ("a: 1\na: 2\n", "line 2, column 1"),
        ("a:\n\t- b", "line 2, column 1"),
        ("- a\n- b", "this is a list"),
        ("run_name: '${x'\n", "broken interpolation"),
    ],
)
def test_bad_yaml(write, text, words):
    (fault,) = faults_of(write(text))
    assert words in fault
    assert "\n" not in fault


@pytest.mark.parametrize("name", ["rows.csv", "rows.jsonl", "rows.parquet", "page.png", "rows.json"])
def test_data_in_place_of_a_config_is_told_how_to_become_one(tmp_path, name):
    content = {".png": b"\x89PNG\xff", ".parquet": b"PAR1\xff", ".json": b'[{"a": 1}]'}
    (tmp_path / name).write_bytes(content.get((tmp_path / name).suffix, b"query,page\nwhere is it,here: there\n"))
    (fault,) = faults_of(tmp_path / name)
    assert f"`mmst init --from {tmp_path / name}` writes a config for data." in fault
    (tmp_path / "photos").mkdir()
    (fault,) = faults_of(tmp_path / "photos")
    assert f"`mmst init --from {tmp_path / 'photos'}` writes a config for data." in fault


def test_a_file_that_is_no_text(tmp_path):
    path = tmp_path / "job.yaml"
    path.write_bytes(b"\xff\xfe\x00\x80")
    assert "can't be read" in faults_of(path)[0] and "--from" not in faults_of(path)[0]


def test_an_empty_file_lacks_everything(write):
    assert {fault.partition(":")[0] for fault in faults_of(write(""))} == {"model", "datasets"}


@pytest.mark.parametrize("name", ["vdr.yaml", "vdr-fp32.yaml"])
def test_yaml_reads_back_to_an_equal_config(write, name):
    config = load_config(CONFIGS / name)
    text = config_to_yaml(config)
    assert "${" not in text
    assert load_config(write(text)) == config
    assert [line.rstrip(":") for line in text.splitlines() if line[0].isalpha() and line.endswith(":")] == [
        *("model", "datasets", "matryoshka_dims", "loss", "evaluators", "training"),
    ]


def test_awkward_values_survive_writing(write):
    config = load_config(write(SMALL))
    config.training |= {
        "a": "1e5",
        "b": "no",
        "c": r"\${x}",
        "d": "${y}",
        "e": None,
        "f": {},
        "g": [1, [2]],
        "h": "é",
    }
    config.run_name = "true"
    config.datasets["train"].revision = "0123"
    text = config_to_yaml(config)
    assert load_config(write(text)) == config
    assert "attn_implementation: auto" in text
    assert "max_rows" not in text


def test_what_no_rule_of_yaml_refuses_is_refused_by_type(write):
    """Numbers stay numbers: true is none, a whole one will do for any, and no text is taken for one."""
    config = load_config(write(SMALL), ["datasets.train.weight=2", "media.fps=3"])
    assert type(config.datasets["train"].weight) is float
    assert type(config.media.fps) is float
    for override in ("media.fps=true", "media.fps='3'", "media.dpi=1.0", "datasets.train.split=1"):
        assert len(faults_of(write(SMALL), [override])) == 1


def test_keys_that_are_numbers_are_names(write):
    config = load_config(write(SMALL + "prompts: {1: x}\n"), ["datasets.train.columns={3: {role: anchor}}"])
    assert (list(config.datasets["train"].columns), config.prompts) == (["3"], {"1": "x"})


def test_every_field_is_described_in_the_json_schema():
    schema = Config.model_json_schema()
    sections = [schema, *(part for part in schema["$defs"].values() if "properties" in part)]
    assert len(sections) == len(Section.__subclasses__())
    for section in sections:
        assert section["additionalProperties"] is False
        for name, field in section["properties"].items():
            assert field.get("description"), (section["title"], name)
    assert set(schema["required"]) == {"model", "datasets"}


@pytest.mark.parametrize("name", ["no", "yes", "0", "2024", "null", "2024-01-01", "1e5"])
def test_a_key_is_a_name_whatever_yaml_takes_it_for(tmp_path, name):
    path = tmp_path / "job.yaml"
    path.write_text(
        f"output_dir: run\nmodel: {{name_or_path: m}}\ndatasets:\n  {name}:\n    use: train\n    path: rows.csv\n"
        f"    columns: {{{name}: {{role: anchor}}}}\n"
    )
    config = load_config(path)
    assert list(config.datasets) == [name] and list(config.datasets[name].columns) == [name]
    changed = load_config(path, [f"datasets.{name}.columns={{{name}: {{role: positive}}}}"])
    assert changed.datasets[name].columns[name].role == "positive"
    again = tmp_path / "again.yaml"
    again.write_text(config_to_yaml(config))
    assert load_config(again) == config


def test_a_path_that_ends_in_something_invisible_is_shown_in_quotes(tmp_path):
    with pytest.raises(ConfigError, match=r"^'.*job.yaml\\r': no such file"):
        load_config(f"{tmp_path}/job.yaml\r")


@pytest.mark.parametrize("field", ["eval_strategy", "save_strategy", "logging_strategy"])
def test_a_strategy_of_no_needs_no_quotes(tmp_path, field):
    path = tmp_path / "a.yaml"
    path.write_text(f"run_name: a\ndatasets: {{}}\nmodel: {{}}\noutput_dir: b\ntraining: {{{field}: no, bf16: no}}\n")
    for overrides in ((), (f"training.{field}=no",)):
        loaded = load_config(path, overrides)
        assert loaded.training == {field: "no", "bf16": False}
        (tmp_path / "b.yaml").write_text(config_to_yaml(loaded))
        assert load_config(tmp_path / "b.yaml") == loaded
