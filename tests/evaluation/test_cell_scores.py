import numpy as np
import pytest
import torch
from sentence_transformers.util import cos_sim, quantize_embeddings

from mmst_cli.config.rules_evaluators import PRECISIONS
from mmst_cli.errors import DataError
from mmst_cli.evaluation.cell_scores import RetrievalVectors, cell_scoring
from mmst_cli.vectors.quantise import OVERSAMPLING
from mmst_cli.vectors.rescoring import Rescoring


@pytest.fixture(scope="module")
def vectors():
    torch.manual_seed(0)
    queries, corpus = (torch.nn.functional.normalize(torch.randn(n, 40) + 0.3, dim=1) for n in (9, 60))
    return RetrievalVectors(queries, corpus, cos_sim)


def scores(vectors, dim, precision, k=2, **options):
    found = cell_scoring(vectors, dim, precision, k, **options)
    found = found.scoring() if isinstance(found, Rescoring) else found
    every = slice(0, found.counts[0])
    return torch.cat([tile for _, tile in found.tiles(every)], dim=1)


def shipped(values, dim):
    return values if dim == values.shape[1] else torch.nn.functional.normalize(values[:, :dim], dim=1)


@pytest.mark.parametrize("dim", [40, 24, 7])
def test_float32_is_what_the_library_gets_by_truncating(vectors, dim):
    expected = cos_sim(vectors.queries[:, :dim], vectors.corpus[:, :dim])
    assert torch.equal(scores(vectors, dim, "float32"), expected)


@pytest.mark.parametrize("dim", [40, 24, 7])
def test_int8_equals_a_direct_computation(vectors, dim):
    queries, corpus = shipped(vectors.queries, dim).numpy(), shipped(vectors.corpus, dim).numpy()
    ranges = np.vstack([corpus.min(axis=0), corpus.max(axis=0)])
    direct = [quantize_embeddings(values, "int8", ranges=ranges).astype(np.float32) for values in (queries, corpus)]
    assert torch.allclose(scores(vectors, dim, "int8"), cos_sim(*direct), atol=1e-6)


@pytest.mark.parametrize("dim", [40, 24, 7])
def test_binary_equals_the_hamming_distance_of_the_packed_bits(vectors, dim):
    queries, corpus = (
        quantize_embeddings(shipped(values, dim), "ubinary") for values in (vectors.queries, vectors.corpus)
    )
    hamming = np.bitwise_count(queries[:, None] ^ corpus[None]).sum(axis=2)
    assert np.array_equal(scores(vectors, dim, "binary").numpy(), dim - 2.0 * hamming)


@pytest.mark.parametrize("dim", [40, 7])
def test_rescoring_puts_the_nearest_by_hamming_in_front_in_the_order_of_the_float_query(vectors, dim):
    k = 2
    coarse, final = scores(vectors, dim, "binary"), scores(vectors, dim, "binary-rescored", k)
    bits = (shipped(vectors.corpus, dim) > 0).float()
    fine = shipped(vectors.queries, dim) @ bits.T
    for row in range(len(coarse)):
        threshold = coarse[row].sort(descending=True).values[OVERSAMPLING * k - 1]
        candidates = (coarse[row] >= threshold).nonzero().flatten()
        front = final[row].argsort(descending=True)[: len(candidates)]
        assert set(front.tolist()) == set(candidates.tolist())
        assert (fine[row][front].diff() <= 0).all()
        rest = (coarse[row] < threshold).nonzero().flatten()
        assert torch.equal(final[row][rest].argsort(stable=True), coarse[row][rest].argsort(stable=True))


def test_rescoring_everything_is_the_order_of_the_float_query(vectors):
    fine = vectors.queries @ (vectors.corpus > 0).float().T
    assert torch.equal(scores(vectors, 40, "binary-rescored", k=15), fine)


def test_float16_rounds_the_corpus(vectors):
    assert torch.equal(scores(vectors, 40, "float16"), cos_sim(vectors.queries, vectors.corpus.half().float()))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_constant_dimension_is_no_trouble(vectors, precision):
    queries, corpus = vectors.queries.clone(), vectors.corpus.clone()
    queries[:, 3], corpus[:, 3] = 0.25, 0.25
    assert scores(RetrievalVectors(queries, corpus, cos_sim), 40, precision).isfinite().all()


@pytest.mark.parametrize("precision", [p for p in PRECISIONS if p != "int8"])
def test_a_single_document_works(vectors, precision):
    assert scores(RetrievalVectors(vectors.queries, vectors.corpus[:1], cos_sim), 40, precision).shape == (9, 1)


def test_int8_of_a_single_document_needs_ranges(vectors):
    alone = RetrievalVectors(vectors.queries, vectors.corpus[:1], cos_sim)
    with pytest.raises(DataError, match="can't be told from 1"):
        scores(alone, 40, "int8")
    assert scores(alone, 40, "int8", ranges=vectors.ranges(40)).shape == (9, 1)


def test_given_ranges_are_used(vectors):
    wide = np.vstack([np.full(40, -9.0), np.full(40, 9.0)]).astype(np.float32)
    assert not torch.equal(scores(vectors, 40, "int8", ranges=wide), scores(vectors, 40, "int8"))
