"""Texts that say the same but for case, spacing, punctuation, or a few words in a long one.

Short texts differ by a word where their meaning does, so only what is left after normalisation must be equal. Of long
ones the sets of three words in a row are compared: MinHash (Broder, 1997) with banding finds the pairs, their exact
Jaccard similarity has the last word.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import xxhash
from datasketch import MinHash

Arrays = Mapping[str, npt.NDArray[Any]]

LONG = 50  # words from which a few may differ
MIN_JACCARD = 0.9
_SHINGLE = 3  # words
_BANDS, _ROWS = 16, 4  # finds 99.9% of pairs at a Jaccard similarity of 0.8, 10% at 0.3
_MINHASH = MinHash(_BANDS * _ROWS, seed=1, scheme="affine32", hashfunc=int)  # shingles are numbers already
_NO_WORDS = re.compile(r"[\W_]+")


def sketch_text(text: str) -> dict[str, npt.NDArray[Any]]:
    """Return what is kept of a text to compare it by.

    Returns:
        ``keys``, uint64: two texts that share none are not near; ``shingles``, uint64, sorted: of a long text its
        sets of words, of a short one nothing; ``whole``, uint64 of shape (1,): the digest of the normalised text.
    """
    words = normalise(text).split()
    whole = np.array([xxhash.xxh3_64_intdigest(_bytes(words))], dtype=np.uint64)
    if len(words) < LONG:
        return {"keys": whole, "shingles": np.empty(0, np.uint64), "whole": whole}
    found = {xxhash.xxh3_64_intdigest(_bytes(words[i : i + _SHINGLE])) for i in range(len(words) - _SHINGLE + 1)}
    shingles = np.array(sorted(found), dtype=np.uint64)
    return {"keys": np.concatenate([whole, _band_keys(shingles)]), "shingles": shingles, "whole": whole}


def _bytes(words: Sequence[str]) -> bytes:
    return " ".join(words).encode("utf-8", "surrogatepass")


def normalise(text: str) -> str:
    """Return a text in compatible characters and small letters, its words with one space between; all of it if none.

    Examples:
        ``"Find the  Page!"`` and ``"find the page"`` become one; ``"?"`` stays itself.
    """
    plain = unicodedata.normalize("NFKC", text).casefold()
    return _NO_WORDS.sub(" ", plain).strip() or plain.strip()


def _band_keys(shingles: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return a key for each band of the text's MinHash."""
    made = _MINHASH.copy()
    made.update_batch((shingles & np.uint64(0xFFFFFFFF)).tolist())
    bands = made.hashvalues.reshape(_BANDS, _ROWS)
    keys = (xxhash.xxh3_64_intdigest(row.tobytes(), seed=band + 1) for band, row in enumerate(bands))
    return np.fromiter(keys, dtype=np.uint64)


def are_near(a: Arrays, b: Arrays) -> bool:
    """Whether two texts say the same; both are what :func:`sketch_text` returned."""
    if a["whole"][0] == b["whole"][0]:
        return True
    shorter, longer = sorted((len(a["shingles"]), len(b["shingles"])))
    if shorter < MIN_JACCARD * longer or not shorter:
        return False
    common = len(np.intersect1d(a["shingles"], b["shingles"], assume_unique=True))
    return common / (shorter + longer - common) >= MIN_JACCARD
