"""Models that losses name beside the one that is trained: loaded once, frozen, and no part of what is saved."""

import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import CachedGISTEmbedLoss, GISTEmbedLoss
from small_job import write_pages
from text_job import run, text_job, text_rows

from mmst_cli.builtin.tiny_text import build_tiny_text
from mmst_cli.config.schema import LossConfig
from mmst_cli.errors import ConfigError, MmstError, ModelError
from mmst_cli.model.patch_embedding import PatchProduct
from mmst_cli.model.precision import Precision
from mmst_cli.training.loss import build_loss
from mmst_cli.training.loss_models import LossModels

TEXT, VISION = ({"name_or_path": f"builtin:{name}"} for name in ("tiny-text", "tiny-qwen3-vl"))


def layer(kind, guide, **args):
    return {"type": kind, "args": {"guide": guide, **args}}


@pytest.fixture(scope="module")
def model():
    return SentenceTransformer(str(build_tiny_text()), device="cpu")


def features(model):
    rows = text_rows(6)
    return [model.preprocess([{"text": row[name]} for row in rows]) for name in ("query", "doc")]


@pytest.mark.parametrize("kind", [GISTEmbedLoss, CachedGISTEmbedLoss])
@pytest.mark.parametrize("guide", [TEXT, VISION], ids=["the same tokens", "other tokens"])
def test_a_named_guide_gives_the_librarys_own_loss(kind, guide, model, tiny_model_path):
    built = build_loss([LossConfig(**layer(kind.__name__, guide, margin=0.05))], model)
    folder = build_tiny_text() if guide is TEXT else tiny_model_path
    by_hand = kind(model, SentenceTransformer(str(folder), device="cpu").eval(), margin=0.05)
    assert torch.equal(built(features(model), None), by_hand(features(model), None))
    assert not built.guide.training and not any(p.requires_grad for p in built.guide.parameters())


def test_equal_sections_are_one_model_in_the_runs_precision(model):
    models = LossModels(torch.device("cpu"), Precision(torch.bfloat16))
    loaded = [
        models.load(LossConfig(**layer("GISTEmbedLoss", guide)), "loss.0.args")["guide"]
        for guide in (TEXT, TEXT, VISION)
    ]
    assert loaded[0] is loaded[1] is not loaded[2]
    seen = []
    loaded[0][0].register_forward_hook(lambda *_: seen.append(torch.is_autocast_enabled("cpu")))
    found = loaded[0](features(loaded[0])[0])["sentence_embedding"]
    assert seen == [True] and found.dtype is torch.float32


def test_a_guide_multiplies_patches_where_its_section_says_so():
    models = LossModels(torch.device("cpu"))
    guide = models.load(LossConfig(**layer("GISTEmbedLoss", {**VISION, "linear_patches": True})), "loss.0.args")
    assert any(type(module) is PatchProduct for module in guide["guide"].modules())
    with pytest.raises(ModelError, match=r"^loss\.0\.args\.guide\.linear_patches: true, but builtin:tiny-text has no"):
        models.load(LossConfig(**layer("GISTEmbedLoss", {**TEXT, "linear_patches": True})), "loss.0.args")


def test_a_guide_is_shared_by_sets_and_not_saved(tmp_path, quiet):
    config = text_job(tmp_path, max_steps=2, save_strategy="steps", save_steps=1)
    pairs = config["datasets"]["train"]
    config["datasets"] = {
        name: {**pairs, "loss": [layer(kind, TEXT)]}
        for name, kind in (("one", "GISTEmbedLoss"), ("two", "CachedGISTEmbedLoss"))
    }
    config["loss"] = []
    assert run(config, tmp_path, quiet).steps == 2
    weights = sum(file.stat().st_size for file in (tmp_path / "run/model").rglob("*.safetensors"))
    assert weights == (build_tiny_text() / "model.safetensors").stat().st_size
    assert not list((tmp_path / "run").rglob("loss.safetensors"))
    assert "builtin:tiny-text" in (tmp_path / "run/config.yaml").read_text()


@pytest.mark.parametrize(
    ("guide", "words"),
    [
        ({"name_or_path": "./nowhere"}, "no such folder"),
        ({**TEXT, "attn_implementation": "flash_attention_2"}, "flash_attention_2"),
    ],
)
def test_a_guide_that_cannot_be_had_is_named_before_data_are_read(guide, words, tmp_path, quiet):
    config = text_job(tmp_path)
    (tmp_path / "rows.parquet").unlink()
    config["loss"] = [layer("GISTEmbedLoss", guide)]
    with pytest.raises(MmstError, match=rf"^loss\.0\.args\.guide: .*{words}"):
        run(config, tmp_path, quiet)
    assert not (tmp_path / "run").exists()


def pages_job(folder, guide):
    config = text_job(folder, max_steps=1)
    config["model"]["name_or_path"] = "builtin:tiny-qwen3-vl"
    columns = {"query": {"role": "anchor"}, "image": {"role": "positive", "modality": "image"}}
    write_pages(folder / "pages.parquet", "train", 8)
    config["datasets"]["train"] |= {"path": str(folder / "pages.parquet"), "columns": columns}
    config["loss"] = [layer("CachedGISTEmbedLoss", guide, mini_batch_size=4)]
    return config


def test_a_guide_of_pages_has_the_models_processor(tmp_path, quiet):
    assert "gives a loss of" in run(pages_job(tmp_path, VISION), tmp_path, quiet, dry_run=True).verdict
    with pytest.raises(
        ConfigError, match=r"another tokenizer than the model, .* column image of datasets.train holds image"
    ):
        run(pages_job(tmp_path, TEXT), tmp_path, quiet, dry_run=True)


def test_a_users_own_loss_names_a_teacher(tmp_path, monkeypatch, quiet):
    (tmp_path / "own_taught.py").write_text(
        "import torch\n"
        "from sentence_transformers import SentenceTransformer\n\n"
        "class Taught(torch.nn.Module):\n"
        "    def __init__(self, model: SentenceTransformer, teacher: SentenceTransformer | None = None):\n"
        "        super().__init__()\n"
        "        self.model, self.teacher = model, teacher\n\n"
        "    def forward(self, features, labels):\n"
        "        wanted = [self.teacher(dict(one))['sentence_embedding'] for one in features]\n"
        "        found = [self.model(one)['sentence_embedding'] for one in features]\n"
        "        return sum(((a - b) ** 2).mean() for a, b in zip(found, wanted)) + found[0].mean()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    config = text_job(tmp_path, max_steps=1)
    config["loss"] = [{"type": "own_taught.Taught", "args": {"teacher": TEXT}}]
    assert "gives a loss of" in run(config, tmp_path, quiet, dry_run=True).verdict
    config["loss"][0]["args"] = {"teacher": "x"}
    with pytest.raises(ConfigError, match=r"^loss\.0\.args\.teacher: found the text x"):
        run(config, tmp_path, quiet, dry_run=True)
