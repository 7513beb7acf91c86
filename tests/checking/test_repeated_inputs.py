"""Faults between inputs."""

import numpy as np
import pytest

from mmst_cli.checking.false_negatives import _share_of_batches, _without_repeats

COLUMNS = {"query": "anchor:text", "image": "positive:image", "other": "negative:image", "third": "negative:image"}


def smaller(page):
    return page.resize((70, 94))


def rows_of(result, kind):
    return {f.dataset: dict(f.rows) for f in result.findings if f.kind == kind}


def counts(result):
    return {(f.kind, f.dataset): f.count for f in result.findings}


def test_pages_of_evaluation_in_training_are_found_in_every_column_of_documents(job, check, picture):
    train = [
        {"query": "one", "image": picture(0), "other": picture(1)},
        {"query": "two", "image": picture(2), "other": picture(0, "again.png", smaller)},
        {"query": "three", "image": picture(3), "other": picture(4)},
        {"query": "four", "image": picture(5, "copy.png"), "other": picture(6)},
    ]
    held_out = [{"query": "five", "image": picture(0)}, {"query": "six", "image": picture(5)}]
    found = rows_of(check(job(COLUMNS, train=train, eval=held_out)), "leakage")["train"]
    assert found == {
        0: "identical to eval.image row 0",
        1: "nearly identical to eval.image row 0",
        3: "identical to eval.image row 1",
    }


def test_queries_of_evaluation_in_training_are_a_warning(job, check, picture):
    train = [{"query": "Find it!", "image": picture(0)}, {"query": "another", "image": picture(1)}]
    held_out = [{"query": "find it", "image": picture(2)}]
    result = check(job(COLUMNS, train=train, eval=held_out))
    assert counts(result) == {("shared-anchors", "train"): 1}
    assert not result.failed


def test_rows_that_come_again_are_found_and_those_with_another_anchor_are_not(job, check, picture):
    train = [
        {"query": "one", "image": picture(0)},
        {"query": "two", "image": picture(0)},
        {"query": "one", "image": picture(0, "same.png")},
        {"query": "ONE", "image": picture(0, "small.png", smaller)},
        {"query": "one", "image": picture(1)},
    ]
    found = rows_of(check(job(COLUMNS, train=train)), "duplicates")["train"]
    assert found == {2: "identical to row 0", 3: "nearly identical to row 0"}


def test_rows_that_differ_in_their_label_are_different(job, check, picture):
    columns = {**COLUMNS, "score": "label:text"}
    rows = [{"query": "one", "image": picture(0), "score": score} for score in (1.0, 0.5, 1.0)]
    found = rows_of(check(job(columns, loss="CoSENTLoss", train=rows)), "duplicates")["train"]
    assert set(found) == {2}


def test_negatives_that_are_positives_of_their_anchor(job, check, picture):
    train = [
        {"query": "one", "image": picture(0), "other": picture(0, "own.png", smaller), "third": picture(1)},
        {"query": "two", "image": picture(2), "other": picture(3), "third": picture(4)},
        {"query": "two", "image": picture(3), "other": picture(5), "third": picture(6)},
        {"query": "three", "image": picture(7), "other": picture(2), "third": picture(8)},
    ]
    found = rows_of(check(job(COLUMNS, train=train)), "own-positive")["train"]
    assert found == {0: "other is its own positive", 1: "other is a positive of the same anchor"}


def test_the_same_negative_twice_in_a_row(job, check, picture):
    train = [
        {"query": "one", "image": picture(0), "other": picture(1), "third": picture(1, "again.png", smaller)},
        {"query": "two", "image": picture(2), "other": picture(1), "third": picture(3)},
    ]
    assert rows_of(check(job(COLUMNS, train=train)), "repeated-negatives")["train"] == {
        0: "other and third are the same"
    }


def test_documents_of_evaluation_with_a_twin_are_found_and_identical_ones_are_not(job, check, picture):
    held_out = [
        {"query": "one", "image": picture(0)},
        {"query": "two", "image": picture(0, "twin.png", smaller)},
        {"query": "three", "image": picture(1)},
        {"query": "four", "image": picture(1, "copy.png")},
    ]
    train = [{"query": "five", "image": picture(5)}]
    result = check(job(COLUMNS, train=train, eval=held_out))
    assert counts(result)[("twins", "eval")] == 1


def test_what_cannot_be_read_is_the_same_as_nothing(job, check, picture):
    train = [{"query": f"query {i}", "image": name} for i, name in enumerate(("a.png", "a.png", picture(0)))]
    result = check(job(COLUMNS, train=train, eval=[{"query": "other", "image": "a.png"}]))
    assert not rows_of(result, "duplicates")
    assert not rows_of(result, "leakage")


def test_how_often_a_batch_meets_a_false_negative(job, check, picture):
    pages = [picture(i) for i in range(12)]
    rows = [{"query": f"query {i}", "image": page} for i, page in enumerate([*pages, pages[0], pages[1]])]
    result = check(job(COLUMNS, train=rows))
    finding = next(f for f in result.findings if f.kind == "false-negatives")
    assert finding.count == 4
    assert "a batch of 4 rows holds a positive that answers another row's anchor in" in finding.sentence
    assert "no_duplicates keeps identical ones apart" in finding.advice
    kept = check(job(COLUMNS, train=rows), "training.batch_sampler=no_duplicates", overwrite=True)
    assert "false-negatives" not in {f.kind for f in kept.findings}
    labelled = job({**COLUMNS, "score": "label:text"}, "CoSENTLoss", train=[{**row, "score": 1.0} for row in rows])
    assert "false-negatives" not in {f.kind for f in check(labelled, overwrite=True).findings}


def test_a_positive_that_a_third_row_shows_to_answer_is_a_false_negative(job, check):
    rows = [{"query": f"what {q}", "image": f"reply {p}"} for q in ("alpha", "beta") for p in ("one", "two")]
    columns = {"query": "anchor:text", "image": "positive:text"}
    found = check(job(columns, train=rows), "training.batch_sampler=no_duplicates").findings
    finding = next(one for one in found if one.kind == "false-negatives")
    assert finding.count == 4
    # A batch is two rows that share neither query nor reply, and each has what answers the other's query.
    assert "in 100.0% of" in finding.sentence
    assert "each anchor has one positive" in finding.advice
    kept = check(job(columns, train=rows[:3]), "training.batch_sampler=no_duplicates", overwrite=True).findings
    share = next(one for one in kept if one.kind == "false-negatives").sentence
    assert (
        0.55 < float(share.split("anchor in ")[1].split("%")[0]) / 100 < 0.75
    )  # the first row drawn is not the bridge


@pytest.mark.parametrize(("pairs", "size"), [(1, 10), (5, 8), (20, 16)])
def test_the_share_of_batches_is_that_of_drawing_without_replacement(pairs, size):
    count = 100
    groups = np.concatenate([np.repeat(np.arange(pairs), 2), np.arange(pairs, count - pairs)])
    # A pair is in a batch with probability size (size - 1) / (count (count - 1)); pairs are nearly independent.
    one = size * (size - 1) / (count * (count - 1))
    assert _share_of_batches([groups], None, size) == pytest.approx(1 - (1 - one) ** pairs, abs=0.04)


def test_rows_of_evaluation_that_ask_the_same_again_are_told(job, check, picture):
    columns = {"query": "anchor:text", "image": "positive:image"}
    held_out = [
        {"query": "one", "image": picture(0)},
        {"query": "two", "image": picture(1)},
        {"query": "one", "image": picture(2)},
        {"query": "one", "image": picture(0)},
    ]
    train = [{"query": "three", "image": picture(3)}]
    result = check(job(columns, train=train, eval=held_out))
    assert counts(result) == {("repeated-queries", "eval"): 1, ("duplicates", "eval"): 1}
    found = next(found for found in result.findings if found.kind == "repeated-queries")
    assert found.sentence == "1 row repeats the query of an earlier one with another answer, for 1 query in all."


def test_rows_are_kept_as_the_sampler_takes_them():
    rng = np.random.default_rng(3)
    sides = [rng.integers(0, 40, 200), rng.integers(0, 60, 200)]
    for size in (5, 30, 100):
        rows = rng.permutation(200)
        expected, seen = [], [set(), set()]
        for row in rows.tolist():
            values = [int(side[row]) for side in sides]
            if len(expected) < size and not any(value in known for value, known in zip(values, seen, strict=True)):
                expected.append(row)
                for value, known in zip(values, seen, strict=True):
                    known.add(value)
        assert _without_repeats(rows, sides, size).tolist() == expected
