"""Ranks, recall and accuracy against numbers from paper."""

import pytest
import torch

from zoo.evaluate import Retrieval, median_rank, ranks, recall_at, retrieval, top_k_accuracy


def f64(rows):
    return torch.tensor(rows, dtype=torch.float64)


# 4 texts (rows), 4 images (columns), text i belongs to image i
MIXED = f64(
    [
        [0.9, 0.1, 0.2, 0.3],  # best: rank 1
        [0.8, 0.5, 0.6, 0.1],  # behind 0.8 and 0.6: rank 3
        [0.2, 0.7, 0.4, 0.4],  # behind 0.7 and beside a 0.4: rank 3
        [0.5, 0.6, 0.7, 0.35],  # last: rank 4
    ]
)
# image 0: 0.9 is best; image 1: behind 0.7 and 0.6; image 2: behind 0.6 and 0.7; image 3: behind
# 0.4
TO_TEXTS = [1, 3, 3, 2]
# 2 images (rows), 5 captions (columns): the first image has captions 0 and 3, the second 1, 2, 4
CAPTIONS = f64([[0.1, 0.9, 0.3, 0.8, 0.2], [0.6, 0.5, 0.4, 0.6, 0.1]])
OWNED = torch.tensor([[True, False, False, True, False], [False, True, True, False, True]])


def test_ranks_on_paper_in_both_directions():
    assert ranks(MIXED).tolist() == [1, 3, 3, 4]
    assert ranks(MIXED.T).tolist() == TO_TEXTS


@pytest.mark.parametrize(
    ("k", "to_images", "to_texts"),
    [(1, 1 / 4, 1 / 4), (2, 1 / 4, 2 / 4), (3, 3 / 4, 1.0), (4, 1.0, 1.0)],
)
def test_recall_is_the_share_of_ranks_up_to_k(k, to_images, to_texts):
    assert recall_at(MIXED, k) == to_images
    assert recall_at(MIXED.T, k) == to_texts


def test_of_several_relevant_columns_the_best_counts():
    """Image 0: its 0.8 stands behind 0.9. Image 1: its 0.5 stands behind both 0.6."""
    assert ranks(CAPTIONS, OWNED).tolist() == [2, 3]
    assert ranks(CAPTIONS.T, OWNED.T).tolist() == [2, 2, 1, 1, 2]
    assert recall_at(CAPTIONS, 2, OWNED) == 1 / 2
    assert recall_at(CAPTIONS.T, 1, OWNED.T) == 2 / 5


@pytest.mark.parametrize("score", [0.0, -3.0, 1.0, -torch.inf, torch.inf])
def test_a_model_that_gives_all_one_score_has_found_nothing(score):
    same = torch.full((5, 5), score)
    assert ranks(same).tolist() == [5] * 5
    assert [recall_at(same, k) for k in (1, 4, 5)] == [0.0, 0.0, 1.0]
    assert top_k_accuracy(same, torch.arange(5), 4) == 0.0


def test_relevant_columns_that_tie_do_not_stand_in_each_others_way():
    assert ranks(f64([[0.5, 0.5, 0.1]]), torch.tensor([[True, True, False]])).tolist() == [1]
    assert ranks(f64([[0.5, 0.5, 0.5]]), torch.tensor([[True, True, False]])).tolist() == [2]


@pytest.mark.parametrize(
    ("rows", "median"),
    [
        (MIXED, 3.0),
        (MIXED[:2, :2], 1.5),  # ranks 1 and 2
        (f64([[1, 0, 0], [0, 1, 0], [3, 2, 1]]), 1.0),
        (f64([[7.0]]), 1.0),
    ],
    ids=["four", "two", "three", "one"],
)
def test_the_median_rank_is_the_middle_one(rows, median):
    assert median_rank(rows) == median


def test_the_median_rank_knows_what_is_relevant():
    assert median_rank(CAPTIONS, OWNED) == 2.5


def test_retrieval_says_all_of_it_for_as_many_as_there_are_to_choose_from():
    found = retrieval(CAPTIONS, OWNED)
    assert found == Retrieval(queries=2, gallery=5, recall={1: 0.0, 5: 1.0}, median_rank=2.5)
    back = retrieval(CAPTIONS.T, OWNED.T, ks=(1, 2, 3))
    assert back == Retrieval(queries=5, gallery=2, recall={1: 2 / 5, 2: 1.0}, median_rank=2.0)
    assert retrieval(MIXED).recall == {1: 1 / 4}


@pytest.mark.parametrize(("k", "share"), [(1, 1 / 3), (2, 2 / 3), (3, 1.0)])
def test_accuracy_counts_rows_that_have_a_label(k, share):
    logits = f64([[2, 1, 0], [2, 1, 0], [2, 1, 0], [2, 1, 0]])
    assert top_k_accuracy(logits, torch.tensor([0, -100, 1, 2]), k) == share


def test_accuracy_takes_the_first_place_by_itself():
    assert top_k_accuracy(f64([[2, 1], [2, 1]]), torch.tensor([0, 1])) == 1 / 2


def test_small_dtypes_are_ranked_too():
    assert ranks(MIXED.bfloat16()).tolist() == [1, 3, 3, 4]


SQUARE = torch.zeros(3, 3)
LABELS = torch.tensor([0, 1, 2])


@pytest.mark.parametrize(
    ("act", "sentence"),
    [
        (lambda: recall_at(SQUARE, 4), "k is 4; expected 1 to 3"),
        (lambda: recall_at(SQUARE, 0), "k is 0; expected 1 to 3"),
        (lambda: recall_at(torch.zeros(3, 2), 3, torch.ones(3, 2).bool()), "k is 3; .* 1 to 2"),
        (lambda: top_k_accuracy(SQUARE, LABELS, 4), "k is 4; expected 1 to 3"),
        (lambda: recall_at(torch.zeros(3, 2), 1), "3 rows and 2 columns: say with `relevant`"),
        (lambda: ranks(torch.zeros(0, 0)), "no rows has nothing to rank"),
        (lambda: ranks(SQUARE / 0), "9 of the 9 similarities are NaN"),
        (lambda: ranks(SQUARE, torch.eye(3) > 1), "no column is relevant to row 0"),
        (lambda: ranks(SQUARE, LABELS[:, None] < LABELS), "no column is relevant to row 2"),
        (lambda: top_k_accuracy(SQUARE, LABELS + 1), "label 3 is no class: they are 0 to 2"),
        (lambda: top_k_accuracy(SQUARE, LABELS - 1), "label -1 is no class: they are 0 to 2"),
        (lambda: top_k_accuracy(SQUARE, LABELS * 0 - 100), "no rows has nothing to rank"),
    ],
    ids=[
        "k-large",
        "k-none",
        "k-gallery",
        "k-classes",
        "oblong",
        "empty",
        "nan",
        "first-lonely",
        "last-lonely",
        "label-large",
        "label-negative",
        "no-labels",
    ],
)
def test_what_cannot_be_ranked_is_refused(act, sentence):
    with pytest.raises(ValueError, match=sentence):
        act()
