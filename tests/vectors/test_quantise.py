import numpy
import pytest
import torch
from sentence_transformers.util import quantize_embeddings

from mmst_cli.errors import MmstError
from mmst_cli.vectors.quantise import PRECISIONS, VectorFormat, bytes_per_vector, quantise, ranges_of, shorten


@pytest.fixture
def vectors():
    return torch.nn.functional.normalize(torch.randn(200, 100, generator=torch.Generator().manual_seed(0)), dim=1)


@pytest.mark.parametrize("dim", [100, 64, 37, 1])
def test_equal_to_the_library(vectors, dim):
    short = shorten(vectors, dim)
    plain = torch.nn.functional.normalize(vectors[:, :dim], p=2, dim=1).numpy()
    assert numpy.array_equal(quantise(short, "float32"), plain)
    assert numpy.array_equal(quantise(short, "float16"), plain.astype("float16"))
    assert numpy.array_equal(quantise(short, "int8"), quantize_embeddings(plain, "int8"))
    assert numpy.array_equal(quantise(short, "binary"), quantize_embeddings(plain, "ubinary"))
    assert numpy.array_equal(quantise(short, "binary-rescored"), quantise(short, "binary"))


def test_a_tensor_in_half_and_an_array_give_the_same(vectors):
    half = vectors.bfloat16()
    for precision in PRECISIONS:
        assert numpy.array_equal(quantise(half, precision), quantise(half.float().numpy(), precision))


def test_int8_with_ranges_of_others(vectors):
    ranges = ranges_of(vectors[:150])
    direct = quantize_embeddings(vectors[150:].numpy(), "int8", calibration_embeddings=vectors[:150].numpy())
    assert numpy.array_equal(quantise(vectors[150:], "int8", ranges), direct)
    assert numpy.array_equal(quantise(vectors[150:151], "int8", ranges), direct[:1])


def test_one_constant_dimension(vectors):
    vectors[:, 3] = 0.25
    stored = quantise(vectors, "int8")
    assert set(stored[:, 3]) == {-128}
    assert numpy.array_equal(stored, quantize_embeddings(vectors.numpy(), "int8"))


@pytest.mark.parametrize(
    ("dim", "sizes"),
    [(2048, [8192, 4096, 2048, 256]), (100, [400, 200, 100, 13]), (1, [4, 2, 1, 1])],
)
def test_bytes_per_vector(dim, sizes):
    assert [bytes_per_vector(dim, precision) for precision in PRECISIONS] == sizes
    assert bytes_per_vector(dim, "binary-rescored") == sizes[-1]
    for precision, size in zip(PRECISIONS, sizes, strict=True):
        form = VectorFormat(dim, precision)
        stored = form.store(numpy.eye(2, dim, dtype="float32"))
        assert (stored.shape, stored.dtype) == ((2, form.values), form.value_type)
        assert stored.nbytes == 2 * size == 2 * form.bytes_per_vector


def test_bits_stand_in_the_order_of_the_dimensions():
    assert quantise(numpy.array([[1, -1, 0, 0, 0, 0, 0, 1, 1]], "float32"), "binary").tolist() == [
        [0b10000001, 0b10000000]
    ]


def test_no_vectors():
    for precision in PRECISIONS:
        form = VectorFormat(12, precision, numpy.zeros((2, 12), "float32"))
        assert form.store(torch.empty(0, 12)).shape == (0, form.values)


def test_what_cannot_be_stored_is_refused(vectors):
    spoilt = vectors.clone()
    spoilt[7, 0] = float("nan")
    for precision in PRECISIONS:
        with pytest.raises(MmstError, match="vector 7 of 200 holds NaN"):
            quantise(spoilt, precision)
    with pytest.raises(MmstError, match="can't be told from 1 vectors"):
        quantise(vectors[:1], "int8")
    with pytest.raises(MmstError, match="above 65,504"):
        quantise(vectors * 1e6, "float16")
    with pytest.raises(MmstError, match=r"ranges of 2 x 64 values.*not 2 x 100"):
        quantise(vectors[:, :64], "int8", ranges_of(vectors))
    with pytest.raises(MmstError, match="greatest value below the least"):
        quantise(vectors, "int8", ranges_of(vectors)[::-1])
    with pytest.raises(MmstError, match=r"no such precision.*Did you mean int8"):
        quantise(vectors, "int")
