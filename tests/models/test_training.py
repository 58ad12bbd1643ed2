import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from models.calibration import p_defect_of, worst_tile_logits
from models.evaluation import auroc
from models.training import CannotTrain, Floats, TrainingSettings, fit_heads, grouped_folds, train

OK = (True, False, False)
SETTINGS = TrainingSettings(architecture="small_cnn", sides_px=(64,), penalties=(0.01, 0.1))


def parts(n: int = 120, width: int = 20, tiles: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features (n, T, D) whose class shows on one tile only, labels, and groups of two images."""
    rng = np.random.default_rng(0)
    label = np.repeat(rng.permutation(np.arange(n // 2) % 3), 2)
    features = rng.normal(0, 1, (n, tiles, width)).astype(np.float32)
    features[np.arange(n), rng.integers(tiles, size=n), label] += 6.0 * (label > 0)
    return features, label, np.repeat(np.arange(n // 2), 2)


def one_hot(label: np.ndarray) -> Floats:
    return np.asarray(np.eye(3)[label])


@pytest.mark.parametrize("width", [5, 300])
def test_the_fit_agrees_with_scikit_learn(width: int) -> None:
    features, label, _ = parts(width=width)
    rows = features[:, 0].astype(np.float64)
    head = fit_heads(rows, one_hot(label), (0.5,), iterations=2000)[0.5]
    reference = LogisticRegression(C=1 / (0.5 * width), tol=1e-8, max_iter=5000).fit(
        (rows - head.mean) / head.scale, label
    )
    expected = reference.predict_log_proba((rows - head.mean) / head.scale)
    found = head.logits(rows)
    found -= np.logaddexp.reduce(found, axis=1, keepdims=True)
    assert found == pytest.approx(expected, abs=0.02)


def test_soft_targets_give_soft_answers() -> None:
    features, label, _ = parts()
    hard = fit_heads(features[:, 0], one_hot(label), (0.1,))[0.1]
    soft = fit_heads(features[:, 0], 0.7 * one_hot(label) + 0.1, (0.1,))[0.1]
    assert p_defect_of(hard.logits(features[label == 0, 0]), OK).mean() < 0.15
    assert 0.15 < p_defect_of(soft.logits(features[label == 0, 0]), OK).mean() < 0.35


def test_weight_two_counts_like_two_rows() -> None:
    features, label, _ = parts(width=4)
    twice = fit_heads(np.concatenate([features[:, 0]] * 2), np.tile(one_hot(label), (2, 1)), (1.0,))[1.0]
    weighted = fit_heads(features[:, 0], one_hot(label), (1.0,), weight=np.full(len(label), 2.0))[1.0]
    assert weighted.weight == pytest.approx(twice.weight, abs=1e-3)


def test_out_of_fold_scores_separate_what_can_be_separated() -> None:
    features, label, group = parts()
    trained = train({64: features}, one_hot(label), group, OK, SETTINGS)
    assert trained.logits.shape == (120, 1, 3)
    assert auroc(p_defect_of(trained.logits[:, 0], OK), label > 0) > 0.9
    assert set(trained.losses) == {(64, 0.01), (64, 0.1)}
    assert trained.losses[64, trained.penalty] == min(trained.losses.values())


def test_labels_without_meaning_give_no_better_than_chance() -> None:
    features, label, group = parts(n=120)
    shuffled = np.repeat(np.random.default_rng(5).permutation(label[::2]), 2)
    trained = train({64: features}, one_hot(shuffled), group, OK, SETTINGS)
    assert 0.3 < auroc(p_defect_of(trained.logits[:, 0], OK), shuffled > 0) < 0.7


def test_the_better_input_size_is_chosen() -> None:
    features, label, group = parts()
    noise = np.random.default_rng(9).normal(size=features.shape).astype(np.float32)
    assert train({64: noise, 96: features}, one_hot(label), group, OK, SETTINGS).side_px == 96


def test_a_defect_on_one_tile_of_many_is_learned() -> None:
    features, label, group = parts(n=180, tiles=6)
    trained = train({64: features}, one_hot(label), group, OK, SETTINGS)
    assert trained.logits.shape == (180, 6, 3)
    assert auroc(p_defect_of(worst_tile_logits(trained.logits, OK), OK), label > 0) > 0.9


def test_the_same_data_and_seed_give_the_same_model() -> None:
    features, label, group = parts()
    first, second = (train({64: features}, one_hot(label), group, OK, SETTINGS) for _ in range(2))
    assert (first.head.weight == second.head.weight).all()
    assert (first.logits == second.logits).all()


def test_balancing_helps_the_rare_class() -> None:
    features, label, group = parts(n=120)
    kept = (label == 0) | (group % 8 == 0)
    arguments = ({64: features[kept]}, one_hot(label[kept]), group[kept], OK)
    plain = train(*arguments, TrainingSettings(penalties=(0.3,)))
    balanced = train(*arguments, TrainingSettings(penalties=(0.3,), balanced=True))
    rare = label[kept] > 0
    assert p_defect_of(balanced.logits[rare, 0], OK).mean() > p_defect_of(plain.logits[rare, 0], OK).mean()


def test_a_class_of_a_single_part_is_no_obstacle() -> None:
    features, label, group = parts()
    label = np.where(group == 0, 2, np.minimum(label, 1))
    assert np.isfinite(train({64: features}, one_hot(label), group, OK, SETTINGS).logits).all()


@pytest.mark.parametrize("label", [np.zeros(120, int), np.ones(120, int)])
def test_one_kind_of_part_cannot_be_trained_on(label: np.ndarray) -> None:
    features, _, group = parts()
    with pytest.raises(CannotTrain, match=r"0 (good|defective) parts"):
        train({64: features}, one_hot(label), group, OK, SETTINGS)


def test_no_ok_class_cannot_be_trained_on() -> None:
    features, label, group = parts()
    with pytest.raises(CannotTrain, match="0 good parts"):
        train({64: features}, one_hot(label), group, (False, False, False), SETTINGS)


def test_groups_stay_whole_and_classes_are_spread() -> None:
    _, label, group = parts(n=300)
    fold = grouped_folds(label, group, 5, np.random.default_rng(0))
    assert all(len(set(fold[group == one])) == 1 for one in set(group.tolist()))
    for one in range(3):
        counts = np.bincount(fold[label == one], minlength=5)
        assert counts.max() - counts.min() <= 4
    assert (fold == grouped_folds(label, group, 5, np.random.default_rng(0))).all()


def test_few_groups_give_fewer_folds() -> None:
    assert sorted(set(grouped_folds([0, 0, 1], ["a", "a", "b"], 5, np.random.default_rng(0)).tolist())) == [0, 1]
