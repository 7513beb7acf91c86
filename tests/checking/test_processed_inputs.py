"""What the processor makes of inputs, and how columns are distributed."""

import json

import pytest

from mmst_cli.checking.processed_inputs import quantiles


def finding(result, kind):
    return next(f for f in result.findings if f.kind == kind)


@pytest.fixture
def short_model(job):
    """A function that writes a config whose model takes 40 tokens of a text."""

    def write(**sets):
        path = job({"query": "anchor:text", "image": "positive:image"}, **sets)
        config = json.loads(path.read_text())
        config["model"]["processor"] = {"model_max_length": 40}
        path.write_text(json.dumps(config))
        return path

    return write


def test_texts_that_are_cut_are_counted_with_what_they_lose(short_model, check, picture):
    texts = ["find it", "word " * 30, "word " * 60]
    rows = [{"query": text, "image": picture(i)} for i, text in enumerate(texts)]
    result = check(short_model(train=rows), model=True)
    processed = result.columns["train"]["query"]["processed"]
    assert processed["max_tokens"] == 40
    assert processed["tokens"]["max"] == 40
    assert processed["truncated"] == 2
    found = finding(result, "truncated")
    assert (found.count, found.of) == (2, 3)
    assert "are cut at 40 tokens" in found.sentence
    longest = found.examples[0]
    assert longest.names[0].row == 2
    assert int(longest.note.split()[0]) > 60


def test_a_prompt_takes_some_of_the_tokens(short_model, check, picture):
    rows = [{"query": "find it", "image": picture(0)}, {"query": "word", "image": picture(1)}]
    path = short_model(train=rows, eval=rows)
    plain = json.loads(path.read_text())
    alone = tokens_and_cut(check(path, model=True))
    assert alone["train"][1] == alone["eval"][1] == 0
    plain["prompts"] = {"anchor": "Which page says this? "}
    path.write_text(json.dumps(plain))
    of_file = tokens_and_cut(check(path, model=True, overwrite=True))
    assert of_file["train"] == of_file["eval"] and of_file["train"][0] > alone["train"][0]
    plain["datasets"]["train"]["prompts"] = {"anchor": "word " * 30}
    path.write_text(json.dumps(plain))
    own = tokens_and_cut(check(path, model=True, overwrite=True))
    assert own["eval"] == of_file["eval"] and own["train"] == (40, 2)


def tokens_and_cut(result):
    found = {name: result.columns[name]["query"]["processed"] for name in ("train", "eval")}
    return {name: (one["tokens"]["max"], one["truncated"]) for name, one in found.items()}


def test_pixels_are_those_before_and_after_the_bounds(job, check, picture):
    path = job({"query": "anchor:text", "image": "positive:image"}, train=[{"query": "one", "image": picture(0)}])
    config = json.loads(path.read_text())
    config["model"]["processor"] = {"min_pixels": 1024, "max_pixels": 4096}
    path.write_text(json.dumps(config))
    processed = check(path, model=True).columns["train"]["image"]["processed"]
    assert processed["pixels"]["median"] == 96 * 128
    assert processed["pixels_seen"]["max"] <= 4096


def test_a_model_of_several_routes_is_asked_too(job, check, picture):
    path = job({"query": "anchor:text", "image": "positive:image"}, train=[{"query": "one", "image": picture(0)}])
    config = json.loads(path.read_text())
    routes = {"text": {"name_or_path": "builtin:tiny-text"}, "image": {"name_or_path": "builtin:tiny-clip"}}
    config["model"] = {"routes": routes, "dimension": 16}
    path.write_text(json.dumps(config))
    columns = check(path, model=True).columns["train"]
    assert columns["query"]["processed"]["tokens"]["max"] > 0
    assert columns["image"]["processed"]["pixels_seen"]["max"] > 0


def test_the_most_common_texts_and_the_balance_of_labels_are_told(job, check, picture):
    columns = {"query": "anchor:text", "image": "positive:image", "score": "label:text"}
    rows = [
        {"query": "the same question" if i < 5 else f"a question number {i}", "image": picture(i), "score": int(i == 0)}
        for i in range(20)
    ]
    result = check(job(columns, loss="CoSENTLoss", train=rows))
    query, score = result.columns["train"]["query"], result.columns["train"]["score"]
    assert query["most_common"] == [{"text": "the same question", "rows": 5}]
    assert (query["different"], query["rows"]) == (16, 20)
    assert score["counts"] == {"0": 19, "1": 1}
    assert finding(result, "labels").sentence == "95.0% of the labels are 0."


def test_languages_are_told_apart(job, check, picture):
    texts = ["Where is the page with the large table?", "Wo ist die Seite mit der großen Tabelle?"]
    rows = [{"query": text, "image": picture(i)} for i, text in enumerate(texts)]
    assert check(job({"query": "anchor:text", "image": "positive:image"}, train=rows)).columns["train"]["query"][
        "languages"
    ] == {"en": 0.5, "de": 0.5}


@pytest.mark.parametrize("text", ["Joe\u2019s pizza bar", "Pizza \u2013 Napoli", "1234 5678 9012 3456", "phố cổ Hà"])
def test_the_language_of_few_words_or_of_digits_is_not_told(job, check, picture, text):
    rows = [{"query": text, "image": picture(0)}]
    columns = check(job({"query": "anchor:text", "image": "positive:image"}, train=rows)).columns
    assert "languages" not in columns["train"]["query"]


def test_quantiles_of_nothing_are_nothing():
    import numpy as np

    assert quantiles(np.array([np.nan])) == {}
    assert quantiles(np.array([1.0, 3.0, np.nan]))["median"] == 2


def test_what_the_processor_refuses_is_a_finding(job, check, picture):
    rows = [{"query": query, "image": picture(n)} for n, query in enumerate(("one", "a <|image_pad|> mark", "three"))]
    columns = {"query": "anchor:text", "image": "positive:image"}
    result = check(job(columns, train=rows), model=True)
    found = next(found for found in result.findings if found.kind == "refused")
    assert (found.dataset, found.column, found.count, list(found.rows)) == ("train", "query", 1, [1])
    assert "Found 1 <|image_pad|> tokens" in found.rows[1]
    assert result.failed
