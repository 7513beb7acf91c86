import json

import pytest

from mmst_cli.config.schema import ColumnConfig, Modality, Role
from mmst_cli.errors import ConfigError, DataError

ANCHOR = ColumnConfig(role=Role.anchor)
RED = (255, 0, 0)


def columns(**fields):
    return {"query": ANCHOR, "document": ColumnConfig(role=Role.positive, **fields)}


def parts(**names):
    return columns(parts=names or {"text": "ocr", "image": "page"})


def documents(rows):
    return list(rows.values(rows.columns[1]))


@pytest.fixture
def fault(prepare, parquet):
    def of(declared, error=DataError, **values):
        with pytest.raises(error) as caught:
            prepare(parquet(**values), declared)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return of


# Parts


def test_an_input_of_several_columns(parquet, prepare, png):
    rows = prepare(parquet(query=["a", "b"], ocr=["x", "y"], page=[png(), png("blue")], other=[1, 2]), parts())
    first, second = documents(rows)
    assert list(first) == ["text", "image"]
    assert (first["text"], second["text"]) == ("x", "y")  # the model takes a part that is a text as it is
    assert (first["image"].getpixel((0, 0)), second["image"].getpixel((0, 0))) == (RED, (0, 0, 255))
    assert rows.columns[1].modalities == (Modality.text, Modality.image)
    assert list(rows.read(rows.rows[0])) == ["query", "document"]


def test_a_part_may_be_missing(parquet, prepare, png):
    path = parquet(query=["a", "b", "c"], ocr=["x", None, "z"], page=[None, png(), png()])
    assert [list(document) for document in documents(prepare(path, parts()))] == [
        ["text"],
        ["image"],
        ["text", "image"],
    ]


def test_all_parts_missing(fault, png):
    message = fault(parts(), query=["a", "b"], ocr=["x", None], page=[png(), None])
    assert message == "datasets.train, row 1, column document: nothing in ocr and page. Remove the row, or fill it."


def test_a_part_of_another_type(fault, png):
    message = fault(parts(), query=["a"], ocr=[5], page=[png()])
    assert message.startswith("datasets.train, row 0, column document: declared text, found int64 in column ocr.")
    message = fault(parts(), query=["a"], ocr=["x"], page=[5])
    assert message.startswith("datasets.train.columns.document: declared image, but the column holds int64 in column")


def test_a_part_that_is_not_there(fault, png):
    message = fault(parts(text="ocrr", image="page"), ConfigError, query=["a"], ocr=["x"], page=[png()])
    assert message == (
        "datasets.train.columns.document.parts: no such column ocrr; the dataset has query, ocr, page."
        " Did you mean ocr?"
    )


def test_a_broken_part_names_row_and_part(fault, png):
    pages = [png()] * 99 + [png()[:-40]] + [png()] * 50
    message = fault(parts(), query=["a"] * 150, ocr=["x"] * 150, page=pages)
    assert message.startswith("datasets.train, row 99, column document: image: ")


def test_a_missing_file_of_a_part(fault, png, tmp_path):
    (tmp_path / "a.png").write_bytes(png())
    pages = ["a.png"] * 99 + ["b.png"] + ["a.png"] * 50
    message = fault(parts(), query=["a"] * 150, ocr=["x"] * 150, page=pages)
    assert message == f"datasets.train, row 99, column page: no such image file: {tmp_path / 'b.png'}"


def test_texts_of_parts_that_look_like_files(parquet, prepare, png, tmp_path):
    (tmp_path / "a.png").write_bytes(png())
    rows = prepare(parquet(query=["a"], ocr=["a.png"], page=["a.png"]), parts())
    assert documents(rows)[0]["text"] == "a.png"


# Columns of mappings


def test_a_column_of_mappings(parquet, prepare, png):
    cells = [{"text": "x", "image": {"bytes": png(), "path": None}}, {"text": "y", "image": None}]
    first, second = documents(prepare(parquet(query=["a", "b"], document=cells), columns(modality=Modality.mixed)))
    assert (first["text"], first["image"].getpixel((0, 0))) == ("x", RED)
    assert second == {"text": "y"}


@pytest.mark.parametrize(
    ("cell", "found"),
    [({"text": None, "image": None}, "empty"), ({"txt": "a"}, "found txt"), (None, "nothing there")],
)
def test_mappings_that_are_no_inputs(cell, found, fault):
    message = fault(columns(modality=Modality.mixed), query=["a", "b"], document=[{"text": "x", "image": None}, cell])
    assert message.startswith("datasets.train, row ")
    assert found in message


def test_texts_declared_mixed(fault):
    message = fault(columns(modality=Modality.mixed), query=["a"], document=["x"])
    assert message.startswith("datasets.train.columns.document: declared mixed, but the column holds ")
    assert "string. A mixed input is a mapping of text, image, audio and video." in message


# Messages


def chat(text, image):
    return [
        {"role": "system", "content": [{"type": "text", "text": "Be short.", "image": None}]},
        {
            "role": "user",
            "content": [{"type": "text", "text": text, "image": None}, {"type": "image", "text": None, "image": image}],
        },
    ]


def test_a_column_of_messages_as_tables_give_them(parquet, prepare, png, tmp_path):
    (tmp_path / "a.png").write_bytes(png())
    rows = prepare(parquet(query=["a"], document=[chat("x", "a.png")]), columns(modality=Modality.message))
    (messages,) = documents(rows)
    assert [message["role"] for message in messages] == ["system", "user"]
    assert messages[1]["content"][0] == {"type": "text", "text": "x"}
    assert messages[1]["content"][1]["image"].getpixel((0, 0)) == RED


def test_messages_as_json(parquet, prepare, png, tmp_path):
    (tmp_path / "a.png").write_bytes(png())
    path = parquet(query=["a"], document=[json.dumps(chat("x", "a.png"))])
    assert documents(prepare(path, columns(modality=Modality.message)))[0][1]["content"][1]["image"].size == (20, 24)


def test_messages_of_several_kinds_in_a_json_lines_file(tmp_path, prepare, png):
    (tmp_path / "a.png").write_bytes(png())
    chats = [[{"role": "user", "content": "x"}], [{"role": "user", "content": [{"type": "image", "image": "a.png"}]}]]
    lines = [json.dumps({"query": "a", "document": messages}) for messages in chats]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    first, second = documents(prepare(tmp_path / "rows.jsonl", columns(modality=Modality.message)))
    assert first == [{"role": "user", "content": "x"}]
    assert second[0]["content"][0]["image"].getpixel((0, 0)) == RED


def test_an_unknown_kind_of_content(fault):
    messages = [{"role": "user", "content": [{"type": "smell", "smell": "x"}]}]
    message = fault(columns(modality=Modality.message), query=["a"], document=[messages])
    assert message.startswith("datasets.train, row 0, column document: message 0, part 0: unknown type smell;")


def test_a_list_of_chats_becomes_rows(parquet, prepare):
    chats = [[{"role": "user", "content": text}] for text in "xyz"]
    rows = prepare(parquet(query=["a", "b"], document=[chats[:2], chats[2:]]), columns(modality=Modality.message))
    assert [messages[0]["content"] for messages in documents(rows)] == ["x", "y", "z"]
    as_text = [json.dumps(messages) for messages in chats]
    rows = prepare(parquet(query=["a", "b"], document=[as_text[:2], as_text[2:]]), columns(modality=Modality.message))
    assert [messages[0]["content"] for messages in documents(rows)] == ["x", "y", "z"]


# Templates

TEMPLATE = [
    {"role": "system", "content": "Find {kind} pages."},
    {"role": "user", "content": [{"text": "{title} ({year})"}, {"image": "page"}]},
]


def test_a_chat_made_of_columns(parquet, prepare, png):
    path = parquet(query=["a"], kind=["old"], title=["x {y}"], year=[1999], page=[png()])
    rows = prepare(path, columns(message=TEMPLATE))
    (messages,) = documents(rows)
    assert messages[0] == {"role": "system", "content": [{"type": "text", "text": "Find old pages."}]}
    assert messages[1]["content"][0]["text"] == "x {y} (1999)"
    assert messages[1]["content"][1]["image"].getpixel((0, 0)) == RED


def test_a_chat_without_its_image(parquet, prepare, png):
    path = parquet(query=["a", "b"], kind=["old"] * 2, title=["x"] * 2, year=[1, 2], page=[png(), None])
    assert [len(messages[1]["content"]) for messages in documents(prepare(path, columns(message=TEMPLATE)))] == [2, 1]


def test_a_column_that_a_template_lacks(fault, png):
    message = fault(
        columns(message=TEMPLATE), ConfigError, query=["a"], kind=["old"], titel=["x"], year=[1], page=["p"]
    )
    assert "datasets.train.columns.document: no such column title; the dataset has query, kind, titel" in message
    assert message.endswith("Did you mean titel?")


def test_lists_in_the_text_of_a_template(fault, png):
    message = fault(columns(message=TEMPLATE), query=["a"], kind=[["x"]], title=["x"], year=[1], page=[png()])
    assert message == ("datasets.train, row 0, column document: the template puts kind into a text, but it holds list.")


def test_a_missing_file_of_a_template(fault, png, tmp_path):
    (tmp_path / "a.png").write_bytes(png())
    pages = ["a.png"] * 99 + ["b.png"] + ["a.png"] * 50
    names = {"query": ["a"] * 150, "kind": ["old"] * 150, "title": ["x"] * 150, "year": [1] * 150}
    assert "row 99, column page: no such image file: " in fault(columns(message=TEMPLATE), **names, page=pages)


def test_one_column_in_several_inputs(parquet, prepare, png):
    declared = columns(parts={"text": "query", "image": "page"})
    rows = prepare(parquet(query=["a"], page=[png()]), declared)
    assert list(rows.values(rows.columns[0])) == ["a"]
    assert documents(rows)[0]["text"] == "a"


@pytest.mark.parametrize("declared", [Modality.mixed, Modality.message])
@pytest.mark.parametrize(
    ("wrong", "found"), [("gone.png", "no such image file: "), ("broken.png", "the image can't be read")]
)
def test_one_wrong_file_of_150_inside_of_inputs(declared, wrong, found, fault, png, tmp_path):
    (tmp_path / "a.png").write_bytes(png())
    (tmp_path / "broken.png").write_bytes(png()[:-40])
    cells = [{"text": "x", "image": wrong if row == 99 else "a.png"} for row in range(150)]
    if declared is Modality.message:
        cells = [chat(**cell) for cell in cells]
    message = fault(columns(modality=declared), query=["a"] * 150, document=cells)
    assert message.startswith("datasets.train, row 99, column document: ")
    assert found in message
