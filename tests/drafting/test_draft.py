"""`mmst init --from`: configs drafted from tables of many kinds, each tried by a dry run."""

import csv
import io
import json

import pytest
from datasets import Audio, Dataset, DatasetDict, Features, Value
from datasets import Image as ImageFeature
from media_samples import clip, tone, wav, write_mp4, write_pdf
from PIL import Image
from typer.testing import CliRunner

from mmst_cli.cli import app
from mmst_cli.config.json_schema import config_schema
from mmst_cli.config.load import load_config, read_tree
from mmst_cli.training.train import run_training

COUNT = 24
QUESTIONS = [f"what is shown under number {number}" for number in range(200)]
ANSWERS = [f"the thing that is called {number} lies on the table beside the other ones" for number in range(200)]


@pytest.fixture
def init(tmp_path, monkeypatch):
    """A function that drafts a config in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, ["init", "--from", *map(str, arguments)])


def picture(number):
    return Image.new("RGB", (48, 64), (number * 9 % 256, 120, 255 - number * 5 % 256))


def png(number):
    file = io.BytesIO()
    picture(number).save(file, "PNG")
    return file.getvalue()


def write_csv(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def write_jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def embedded_images(folder):
    features = Features({"id": Value("int64"), "query": Value("string"), "image": ImageFeature()})
    rows = [{"id": n, "query": QUESTIONS[n], "image": {"bytes": png(n), "path": None}} for n in range(COUNT)]
    Dataset.from_list(rows, features=features).to_parquet(str(folder / "pages.parquet"))
    return "pages.parquet"


def bare_bytes(folder):
    rows = [{"what": QUESTIONS[n], "stored": png(n)} for n in range(COUNT)]
    Dataset.from_list(rows).to_parquet(str(folder / "bytes.parquet"))
    return "bytes.parquet"


def image_paths(folder):
    (folder / "data" / "photos").mkdir(parents=True)
    for number in range(COUNT):
        picture(number).save(folder / "data" / "photos" / f"{number}.jpg")
    rows = [{"photo": f"photos/{n}.jpg", "caption": QUESTIONS[n], "lang": "en"} for n in range(COUNT)]
    write_csv(folder / "data" / "photos.csv", rows)
    return "data/photos.csv"


def triplets(folder):
    rows = [
        {"anchor": QUESTIONS[n], "positive": ANSWERS[n], "negative": ANSWERS[n + 1], "doc_id": f"d{n}"}
        for n in range(120)
    ]
    write_jsonl(folder / "triplets.jsonl", rows)
    return "triplets.jsonl"


def listed_negatives(folder):
    rows = [{"question": QUESTIONS[n], "answer": ANSWERS[n], "negatives": ANSWERS[1 : 3 + n % 2]} for n in range(COUNT)]
    write_jsonl(folder / "negatives.jsonl", rows)
    return "negatives.jsonl"


def scored_pairs(folder):
    rows = [{"sentence1": QUESTIONS[n], "sentence2": ANSWERS[n], "score": n % 6 / 5} for n in range(120)]
    write_csv(folder / "pairs.csv", rows)
    return "pairs.csv"


def sounds(folder):
    features = Features({"audio": Audio(), "transcription": Value("string")})
    rows = [
        {"audio": {"bytes": wav(tone(200 + 20 * n)), "path": None}, "transcription": QUESTIONS[n]} for n in range(COUNT)
    ]
    Dataset.from_list(rows, features=features).to_parquet(str(folder / "sounds.parquet"))
    return "sounds.parquet"


def clips(folder):
    (folder / "clips").mkdir()
    for number in range(COUNT):
        write_mp4(folder / "clips" / f"{number}.mp4", clip(number))
    write_jsonl(folder / "clips.jsonl", [{"clip": f"clips/{n}.mp4", "title": QUESTIONS[n]} for n in range(COUNT)])
    return "clips.jsonl"


def chats(folder):
    picture(1).save(folder / "shown.png")
    content = [{"type": "image", "image": "shown.png"}, {"type": "text", "text": "find its like"}]
    rows = [
        {"conversation": [{"role": "user", "content": json.loads(json.dumps(content))}], "answer": ANSWERS[n]}
        for n in range(COUNT)
    ]
    for number, row in enumerate(rows):
        row["conversation"][0]["content"][1]["text"] += f" {number}"
    write_jsonl(folder / "chats.jsonl", rows)
    return "chats.jsonl"


def documents(folder):
    for number in range(3):
        write_pdf(folder / f"manual-{number}.pdf", 2 + number)
    rows = [{"question": QUESTIONS[n], "manual": f"manual-{n % 3}.pdf"} for n in range(COUNT)]
    write_csv(folder / "manuals.csv", rows)
    return "manuals.csv"


def unknown_names(folder):
    rows = [{"spalte_b": ANSWERS[n], "spalte_a": QUESTIONS[n], "n": n} for n in range(COUNT)]
    Dataset.from_list(rows).to_parquet(str(folder / "unknown.parquet"))
    return "unknown.parquet"


def captioned_folder(folder):
    (folder / "photos").mkdir()
    for number in range(COUNT):
        picture(number).save(folder / "photos" / f"{number}.png")
    rows = [{"file_name": f"{n}.png", "caption": QUESTIONS[n]} for n in range(COUNT)]
    write_csv(folder / "photos" / "metadata.csv", rows)
    return "photos"


def classes(folder):
    rows = [{"text": QUESTIONS[n], "label": n % 3} for n in range(COUNT)]
    Dataset.from_list(rows).to_parquet(str(folder / "classes.parquet"))
    return "classes.parquet"


def teacher_scores(folder):
    """As `mmst mine` and `mmst score` write them: the positive's score, then that of each negative."""
    rows = [
        {
            **{"question": QUESTIONS[n], "answer": ANSWERS[n]},
            **{"negative_1": ANSWERS[n + 1], "negative_2": ANSWERS[n + 2]},
            "scores": [0.5, 0.4, 0.3],
            "teacher_scores": [0.9, 0.2 + n / 1000, 0.1],
        }
        for n in range(120)
    ]
    Dataset.from_list(rows).to_parquet(str(folder / "scored.parquet"))
    return "scored.parquet"


def mined(folder):
    """As `mmst mine` writes them: the scores are those of the model that mined."""
    rows = [
        {
            **{"question": QUESTIONS[n], "answer": ANSWERS[n], "negative_1": ANSWERS[n + 1]},
            "scores": [0.5, 0.4],
        }
        for n in range(COUNT)
    ]
    Dataset.from_list(rows).to_parquet(str(folder / "mined.parquet"))
    return "mined.parquet"


def margins(folder):
    rows = [
        {"query": QUESTIONS[n], "page": ANSWERS[n], "negative": ANSWERS[n + 1], "margin": f"[{3 + n % 7}.5]"}
        for n in range(COUNT)
    ]
    write_csv(folder / "margins.csv", rows)
    return "margins.csv"


def scored_lists(folder):
    rows = [
        {
            **{"query": QUESTIONS[n], "positive": ANSWERS[n], "negatives": ANSWERS[n + 1 : n + 3 + n % 2]},
            "labels": [7.5, -2.0, -3.0, -4.0][: 3 + n % 2],
        }
        for n in range(COUNT)
    ]
    write_jsonl(folder / "scored.jsonl", rows)
    return "scored.jsonl"


def vectors_beside(folder):
    """Lists of numbers that are no scores of the row's documents."""
    rows = [
        {
            **{"query": QUESTIONS[n], "positive": ANSWERS[n], "negative": ANSWERS[n + 1]},
            **{"embedding": [0.1, 0.2], "scores": [0.1] * 5},
        }
        for n in range(COUNT)
    ]
    write_jsonl(folder / "vectors.jsonl", rows)
    return "vectors.jsonl"


RANKING = "CachedMultipleNegativesRankingLoss"
TABLES = {
    embedded_images: ({"query": "anchor text", "image": "positive image"}, RANKING),
    bare_bytes: ({"what": "anchor text", "stored": "positive image"}, RANKING),
    image_paths: ({"caption": "anchor text", "photo": "positive image"}, RANKING),
    triplets: ({"anchor": "anchor text", "positive": "positive text", "negative": "negative text"}, RANKING),
    listed_negatives: ({"question": "anchor text", "answer": "positive text", "negatives": "negative text"}, RANKING),
    scored_pairs: ({"sentence1": "anchor text", "sentence2": "positive text", "score": "label text"}, "CoSENTLoss"),
    sounds: ({"transcription": "anchor text", "audio": "positive audio"}, RANKING),
    clips: ({"title": "anchor text", "clip": "positive video"}, RANKING),
    chats: ({"conversation": "anchor message", "answer": "positive text"}, RANKING),
    documents: ({"question": "anchor text", "manual": "positive image"}, RANKING),
    unknown_names: ({"spalte_a": "anchor text", "spalte_b": "positive text"}, RANKING),
    captioned_folder: ({"caption": "anchor text", "image": "positive image"}, RANKING),
    teacher_scores: (
        {
            **{"question": "anchor text", "answer": "positive text"},
            **{"negative_1": "negative text", "negative_2": "negative text", "teacher_scores": "label text"},
        },
        "DistillKLDivLoss",
    ),
    mined: ({"question": "anchor text", "answer": "positive text", "negative_1": "negative text"}, RANKING),
    margins: (
        {"query": "anchor text", "page": "positive text", "negative": "negative text", "margin": "label text"},
        "MarginMSELoss",
    ),
    scored_lists: (
        {"query": "anchor text", "positive": "positive text", "negatives": "negative text", "labels": "label text"},
        "DistillKLDivLoss",
    ),
    vectors_beside: ({"query": "anchor text", "positive": "positive text", "negative": "negative text"}, RANKING),
    classes: ({"text": "anchor text", "label": "label text"}, "BatchAllTripletLoss"),
}


@pytest.mark.parametrize("write", TABLES, ids=lambda write: write.__name__)
def test_a_draft_has_the_roles_says_what_was_guessed_and_passes_a_dry_run(write, init, tmp_path, quiet):
    from jsonschema import Draft7Validator

    expected, loss = TABLES[write]
    data = write(tmp_path)
    result = init(data, "--output", "drafts/mine.yaml")
    assert result.exit_code == 0, result.output
    assert "next: mmst train drafts/mine.yaml --dry-run" in result.stderr
    path = tmp_path / "drafts" / "mine.yaml"
    assert list(Draft7Validator(config_schema()).iter_errors(read_tree(path))) == []
    config = load_config(path)
    train = config.datasets["train"]
    assert {name: f"{column.role} {column.modality}" for name, column in train.columns.items()} == expected
    assert config.loss[0].type == loss
    lines = path.read_text().splitlines()
    declared = [next(line for line in lines if line.lstrip().startswith(f"{name}: {{role")) for name in expected]
    assert all("# guessed: " in line for line in declared)
    assert ("eval" in config.datasets) == (write in (triplets, scored_pairs, teacher_scores))
    run_training(config, dry_run=True, terminal=quiet)
    assert not (tmp_path / "runs").exists()


def test_what_is_special_about_a_column_is_declared(init, tmp_path):
    assert init(documents(tmp_path)).exit_code == 0
    assert load_config(tmp_path / "manuals.yaml").datasets["train"].columns["manual"].pages == "all"
    assert "write it in the table as manual.pdf#3" in (tmp_path / "manuals.yaml").read_text()
    assert init(listed_negatives(tmp_path)).exit_code == 0
    assert load_config(tmp_path / "negatives.yaml").datasets["train"].columns["negatives"].take == 2
    assert init(embedded_images(tmp_path)).exit_code == 0
    assert "# guessed: not used are id (numbers)" in (tmp_path / "pages.yaml").read_text()
    assert "manual.pdf#3" not in (tmp_path / "pages.yaml").read_text()


def test_a_teacher_s_scores_are_learned_and_not_evaluated_with(init, tmp_path):
    assert init(teacher_scores(tmp_path)).exit_code == 0
    config = load_config(tmp_path / "scored.yaml")
    assert config.loss[0].args == {"student_temperature": 0.05, "teacher_temperature": 0.05}
    assert "teacher_scores" not in config.datasets["eval"].columns and "batch_sampler" not in config.training
    assert config.evaluators["held-back"].type == "MatryoshkaRetrievalEvaluator"
    text = (tmp_path / "scored.yaml").read_text()
    assert "guessed: by its name and its 3 numbers a row" in text and "not used are scores (lists of numbers)" in text
    assert init(scored_lists(tmp_path), "--output", "lists.yaml").exit_code == 0
    config = load_config(tmp_path / "lists.yaml")
    assert [config.datasets["train"].columns[name].take for name in ("negatives", "labels")] == [2, 3]
    assert config.loss[0].args["teacher_temperature"] == 1.0


def test_scores_of_the_model_that_mined_are_left_out_and_what_they_would_be_is_said(init, tmp_path):
    assert init(mined(tmp_path)).exit_code == 0
    assert "# scores would be {role: label} for DistillKLDivLoss" in (tmp_path / "mined.yaml").read_text()


@pytest.mark.parametrize(("count", "at_most"), [(120, None), (10_400, 1000)])
def test_of_many_rows_some_are_evaluated_on(count, at_most, init, tmp_path):
    write_csv(tmp_path / "a.csv", [{"query": f"what is {n}", "answer": f"it is {n}"} for n in range(count)])
    assert init("a.csv").exit_code == 0
    datasets = load_config(tmp_path / "a.yaml").datasets
    assert datasets["eval"].max_rows == at_most
    assert datasets["train"].max_rows is None


def test_judged_data_become_a_config_for_evaluation(init, tmp_path):
    from mmst_cli.evaluation.evaluate import run_evaluation
    from mmst_cli.evaluation.evaluation_request import EvaluationOptions, find_config
    from mmst_cli.terminal import Terminal

    (tmp_path / "beir" / "qrels").mkdir(parents=True)
    write_jsonl(tmp_path / "beir/queries.jsonl", [{"_id": f"q{n}", "text": QUESTIONS[n]} for n in range(5)])
    corpus = [{"_id": f"d{n}", "title": f"No. {n}", "text": ANSWERS[n]} for n in range(9)]
    write_jsonl(tmp_path / "beir/corpus.jsonl", corpus)
    for split in ("train", "test"):
        lines = ["query-id\tcorpus-id\tscore", *(f"q{n}\td{n}\t1" for n in range(5))]
        (tmp_path / f"beir/qrels/{split}.tsv").write_text("\n".join(lines) + "\n")
    result = init("beir")
    assert result.exit_code == 0, result.output
    assert "next: mmst eval beir.yaml" in result.stderr
    text = (tmp_path / "beir.yaml").read_text()
    assert "# guessed: the judgements in qrels/test; also train" in text
    outcome = run_evaluation(find_config("beir.yaml", None, []), EvaluationOptions(), Terminal(json_results=True))
    assert outcome.to_dict()
    again = init("beir", "--output", "beir.yaml")
    assert again.exit_code == 2
    assert "beir.yaml exists" in again.stderr


def one_column(folder):
    write_csv(folder / "a.csv", [{"text": text} for text in QUESTIONS])
    return "a.csv", "the only column to embed is text (texts), and training takes pairs"


def three_texts(folder):
    rows = [{"a": QUESTIONS[n], "b": ANSWERS[n], "c": QUESTIONS[n + 1]} for n in range(COUNT)]
    write_jsonl(folder / "a.jsonl", rows)
    return (
        "a.jsonl",
        "could not be told which column is what is asked (the anchor) among a (texts), b (texts), c (texts)",
    )


def lost_images(folder):
    write_csv(folder / "a.csv", [{"query": QUESTIONS[n], "image": f"img/{n}.png"} for n in range(COUNT)])
    return "a.csv", "column image names img/0.png, which isn't in"


def numbers_only(folder):
    write_csv(folder / "a.csv", [{"x": n, "y": n + 1} for n in range(COUNT)])
    return "a.csv", "no column holds different texts or media to embed: x (numbers), y (numbers)"


def bare_pictures(folder):
    (folder / "photos").mkdir()
    picture(1).save(folder / "photos" / "1.png")
    return "photos", "it holds media and nothing that asks for them"


def table_with_another_name(folder):
    (folder / "photos").mkdir()
    picture(1).save(folder / "photos" / "1.png")
    picture(2).save(folder / "photos" / "2.png")
    write_csv(folder / "photos" / "captions.csv", [{"file": f"{n}.png", "caption": QUESTIONS[n]} for n in (1, 2)])
    return "photos", "read as images alone, without photos/captions.csv. Name that table: `--from photos/captions.csv`"


def bare_documents(folder):
    (folder / "manuals").mkdir()
    write_pdf(folder / "manuals" / "a.pdf", 2)
    return "manuals", "it holds media and nothing that asks for them"


def one_document(folder):
    write_pdf(folder / "a.PDF", 2)
    return "a.PDF", "it is an image or a document, and training takes pairs. Name a table"


def one_recording(folder):
    (folder / "a.wav").write_bytes(wav(tone(300)))
    return "a.wav", "it is a recording, and training takes pairs. Name a table"


def captions_in_text_files(folder):
    (folder / "photos").mkdir()
    picture(1).save(folder / "photos" / "1.png")
    (folder / "photos" / "1.txt").write_text("a photo")
    return "photos", "captions in .txt files beside media aren't read. Write metadata.csv"


def sounds_and_pictures(folder):
    (folder / "1.wav").write_bytes(wav(tone(300)))
    picture(1).save(folder / "1.png")
    write_csv(folder / "a.csv", [{"query": "1.wav", "image": "1.png"} for _ in range(COUNT)])
    return "a.csv", "no built-in model takes audio and image together"


def nothing_there(_folder):
    return "no/such/file.csv", "no such file"


def no_table(folder):
    (folder / "a.docx").write_bytes(b"PK")
    return "a.docx", "files of rows end in"


def broken_table(folder):
    (folder / "a.parquet").write_bytes(b"PAR1 and no more")
    return "a.parquet", "can't be read"


UNTOLD = [
    *(one_column, three_texts, lost_images, numbers_only, bare_pictures, bare_documents, captions_in_text_files),
    *(table_with_another_name, one_document, one_recording),
    *(sounds_and_pictures, nothing_there, no_table, broken_table),
]


@pytest.mark.parametrize("write", UNTOLD, ids=lambda write: write.__name__)
def test_what_can_not_be_told_is_said_and_nothing_is_written(write, init, tmp_path):
    data, words = write(tmp_path)
    result = init(data, "--output", "mine.yaml")
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("error: --from: ")
    assert words in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "mine.yaml").exists()


def test_a_name_can_not_become_keys_of_the_config(init, tmp_path):
    rows = [{"query\nmodel: x": QUESTIONS[n], "answer: [": ANSWERS[n], "other\nloss: y": n} for n in range(COUNT)]
    write_jsonl(tmp_path / "a.jsonl", rows)
    result = init("a.jsonl")
    assert result.exit_code == 0, result.output
    assert set(load_config(tmp_path / "a.yaml").datasets["train"].columns) == {"query\nmodel: x", "answer: ["}


def test_a_part_of_data_is_named(init, tmp_path):
    DatasetDict({name: Dataset.from_dict({"query": QUESTIONS, "answer": ANSWERS}) for name in ("a", "b")}).save_to_disk(
        str(tmp_path / "saved")
    )
    missing = init("saved")
    assert missing.exit_code == 2
    assert missing.stderr.startswith("error: --split: train")
    assert init("saved", "--split", "b").exit_code == 0
    datasets = load_config(tmp_path / "saved.yaml").datasets
    assert (datasets["train"].split, datasets["eval"].split) == ("b[:90%]", "b[90%:]")
    assert init("saved", "--split", "b[:50%]", "--output", "half.yaml").exit_code == 0
    assert {name: section.split for name, section in load_config(tmp_path / "half.yaml").datasets.items()} == {
        "train": "b[:50%]"
    }
    assert init("builtin:pages", "--name", "eval").exit_code == 0
    assert load_config(tmp_path / "pages.yaml").datasets["train"].name == "eval"
    alone = CliRunner().invoke(app, ["init", "vdr", "--split", "b"])
    assert alone.exit_code == 2
    assert "--split: it is about data" in alone.stderr


def test_a_name_and_data_together_are_refused(init):
    result = init("a.csv", "vdr")
    assert result.exit_code == 2
    assert "Leave out one of the two" in result.stderr


def test_columns_that_can_not_be_told_are_named(init, tmp_path):
    data, _ = three_texts(tmp_path)
    for arguments, expected in (
        (["--anchor", "c"], None),
        (["--anchor", "c", "--positive", "a"], {"c": "anchor", "a": "positive"}),
    ):
        result = init(data, *arguments)
        assert (result.exit_code == 0) == (expected is not None)
    columns = load_config(tmp_path / "a.yaml").datasets["train"].columns
    assert {name: str(column.role) for name, column in columns.items()} == {"c": "anchor", "a": "positive"}
    assert "# guessed: by --anchor" not in (tmp_path / "a.yaml").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--anchor", "aa"], "--anchor aa: a.jsonl has no such column."),
        (
            ["--positive", "a", "--anchor", "n"],
            "--anchor n: it holds numbers, and an anchor is one text or medium a row",
        ),
    ],
)
def test_a_column_that_is_named_wrongly_is_refused(arguments, words, init, tmp_path):
    write_jsonl(tmp_path / "a.jsonl", [{"a": QUESTIONS[n], "b": ANSWERS[n], "n": n} for n in range(COUNT)])
    result = init("a.jsonl", *arguments)
    assert result.exit_code == 2
    assert words in result.stderr


def test_empty_lists_of_negatives_are_filled(init, tmp_path, quiet):
    rows = [{"query": QUESTIONS[n], "doc": ANSWERS[n], "negatives": ANSWERS[1 : n % 3 + 1]} for n in range(COUNT)]
    write_jsonl(tmp_path / "a.jsonl", rows)
    assert init("a.jsonl").exit_code == 0
    column = load_config(tmp_path / "a.yaml").datasets["train"].columns["negatives"]
    assert (column.take, column.fill) == (1, "sample")
    run_training(load_config(tmp_path / "a.yaml"), dry_run=True, terminal=quiet)


def labelled(labels, name="label"):
    return [{"premise": QUESTIONS[n], "hypothesis": ANSWERS[n], name: value} for n, value in enumerate(labels)]


@pytest.mark.parametrize(
    ("labels", "name", "words"),
    [
        ([0] * 110 + [1, 2], "label", "whether label, which is 0, 1, 2, says how well a pair belongs together"),
        (["entailment", "neutral"] * 12, "gold_label", "what gold_label, which is entailment, neutral, says of a pair"),
    ],
)
def test_classes_of_pairs_are_not_taken_for_grades(labels, name, words, init, tmp_path):
    write_jsonl(tmp_path / "a.jsonl", labelled(labels, name))
    result = init("a.jsonl")
    assert result.exit_code == 2
    assert words in result.stderr
    assert not (tmp_path / "a.yaml").exists()


@pytest.mark.parametrize(
    ("labels", "name", "loss"),
    [
        ([0, 1] * 12, "is_duplicate", "CoSENTLoss"),
        ([0, 1, 2, 3] * 6, "relevance", "CoSENTLoss"),
        ([0.5, 0.25, 1.0] * 8, "label", "CoSENTLoss"),
        ([1] * 24, "label", RANKING),
    ],
)
def test_labels_of_pairs(labels, name, loss, init, tmp_path):
    write_jsonl(tmp_path / "a.jsonl", labelled(labels, name))
    assert init("a.jsonl").exit_code == 0
    config = load_config(tmp_path / "a.yaml")
    assert config.loss[0].type == loss
    assert (name in config.datasets["train"].columns) == (loss == "CoSENTLoss")


def test_one_row_is_nothing_to_train_on(init, tmp_path):
    write_jsonl(tmp_path / "a.jsonl", [{"query": "a", "doc": "b"}])
    result = init("a.jsonl")
    assert result.exit_code == 2
    assert "it has one row" in result.stderr


@pytest.mark.parametrize(
    ("asked", "answers"),
    [("Frage", "Antwort"), ("pregunta", "respuesta"), ("Requête", "Réponse"), ("domanda", "risposta")],
)
def test_columns_named_in_other_languages(asked, answers, init, tmp_path):
    rows = "".join(f"what is thing {number} and what of it;thing {number}\n" for number in range(12))
    (tmp_path / "rows.csv").write_text(f"{asked};{answers}\n{rows}", encoding="utf-8")
    assert init("rows.csv").exit_code == 0
    columns = load_config(tmp_path / "rows.yaml").datasets["train"].columns
    assert {name: column.role for name, column in columns.items()} == {asked: "anchor", answers: "positive"}
