"""The second model: told from an embedding model by what it is, and asked what it takes."""

import numpy as np
import pytest
import torch
from sentence_transformers.base.modality import InputFormatter

from mmst_cli.config.schema import ModelConfig
from mmst_cli.errors import ModelError, WorkError
from mmst_cli.mining.second_model import SecondModel, check_second, is_cross_encoder, load_second, score_pairs
from mmst_cli.model.precision import Precision


def test_what_a_model_is(cross_encoder, tiny_model_path):
    assert is_cross_encoder(str(cross_encoder))
    assert not is_cross_encoder("builtin:tiny-text")
    assert not is_cross_encoder(str(tiny_model_path))


def test_a_cross_encoder_is_loaded_and_asked(cross_encoder, text_pairs, text_model, rows_of, mine):
    second = load_second(ModelConfig(name_or_path=str(cross_encoder)), torch.device("cpu"), Precision())
    pairs = text_pairs(40, 3)
    rows = rows_of(pairs)
    check_second(second, rows.key, *rows.columns)
    found = mine(rows, text_model, second=second, second_model="x", num_negatives=1, max_score=1.0)
    assert len(found.kept) > 10
    asked = [
        (pairs[row]["query"], pairs[n]["answer"]) for row, n in zip(found.kept, found.negatives[:, 0], strict=True)
    ]
    np.testing.assert_allclose(found.scores[:, 1], second.cross.predict(asked), atol=1e-5)
    again = mine(rows, text_model, second=second, second_model="x", num_negatives=1, max_score=1.0)
    np.testing.assert_array_equal(found.scores, again.scores)


def test_under_mixed_precision_it_scores_in_float32(cross_encoder, text_pairs):
    second = load_second(ModelConfig(name_or_path=str(cross_encoder)), torch.device("cpu"), Precision(torch.bfloat16))
    pairs = [(row["query"], row["answer"]) for row in text_pairs(40, 3)]
    with second.precision.forward_of(second.cross):
        scores = second.cross.predict(pairs, activation_fn=torch.nn.Identity(), convert_to_tensor=True)
    assert scores.dtype == torch.float32
    assert (scores != scores.bfloat16().float()).float().mean() > 0.9


def test_what_it_does_not_take_is_refused(cross_encoder, page_rows, encoded, rows_of):
    rows = [{"query": query, "image": {"bytes": encoded(page), "path": None}} for query, page in page_rows(3)]
    prepared = rows_of(rows, positive="image", names=("query", "image"))
    second = load_second(ModelConfig(name_or_path=str(cross_encoder)), torch.device("cpu"), Precision())
    with pytest.raises(ModelError, match="is a CrossEncoder of text, and column image holds image"):
        check_second(second, prepared.key, *prepared.columns)
    embedding = load_second(ModelConfig(name_or_path="builtin:tiny-text"), torch.device("cpu"), Precision())
    with pytest.raises(ModelError, match=r"second_model: builtin:tiny-text: .*image: the model takes text"):
        check_second(embedding, prepared.key, *prepared.columns)


def test_one_that_is_not_there(tmp_path):
    with pytest.raises(ModelError, match="no such folder"):
        load_second(ModelConfig(name_or_path="./nothing/here"), torch.device("cpu"), Precision())


def test_one_that_tells_classes_is_refused(make_cross_encoder):
    with pytest.raises(ModelError, match="tells 3 classes of pairs"):
        load_second(ModelConfig(name_or_path=str(make_cross_encoder(3))), torch.device("cpu"), Precision())


def test_a_score_that_is_none_is_told_with_its_row(make_cross_encoder, text_pairs, text_model, rows_of, mine):
    second = load_second(
        ModelConfig(name_or_path=str(make_cross_encoder(broken=True))), torch.device("cpu"), Precision()
    )
    with pytest.raises(WorkError, match=r"datasets.train, row 0, column query: .* gave a score that is not finite"):
        mine(rows_of(text_pairs(10)), text_model, second=second, second_model="x", num_negatives=1, max_score=1.0)


def test_a_text_that_is_an_address_of_media_stays_a_text_beside_media(pages):
    asked = []

    class Taker:
        dtype, device = torch.float32, torch.device("cpu")

        def predict(self, pairs, **_):
            asked.extend(pairs)
            return np.zeros(len(pairs))

    address = "https://example.com/a.png"
    pairs = [(address, pages[0]), ("a page", pages[0]), (address, "an answer")]
    score_pairs(SecondModel("taker", Precision(), cross=Taker()), pairs, 2)
    assert asked == [({"text": address}, pages[0]), *pairs[1:]]
    formatter = InputFormatter("any-to-any", supported_modalities=["text", "image", "message"])
    (told, _) = formatter.pair_to_messages(asked[0])
    assert told == {"role": "query", "content": [{"type": "text", "text": address}]}
