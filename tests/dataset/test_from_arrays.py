"""From plain arrays and tables to a dataset."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from simplechrome.dataset.building.arrays import (
    GIVEN,
    add_expression,
    add_genes,
    from_arrays,
    label_expression,
)
from simplechrome.errors import ConfigError, DatasetFormatError, InputFormatError

Caplog = pytest.LogCaptureFixture

MakeDataset = Callable[..., xr.Dataset]
NAN = np.nan

GENES = pd.DataFrame(
    {
        "gene_id": ["g4", "g1", "g2", "other"],
        "gene_name": ["D", "A", None, "X"],
        "chrom": ["chr2", "chr1", "chr1", "chr3"],
        "tss": [400, 100, 200, 1],
        "strand": ["-", "+", ".", "+"],
    }
)


def test_values_land_where_they_belong(make_dataset: MakeDataset) -> None:
    dataset = make_dataset()
    window = dataset["signal"].sel(cell_type="B", mark="H3K27me3")
    # Cell type 1, gene 2, bin 3, mark 1.
    assert window.isel(gene=2, bin=3).item() == 1000 + 200 + 30 + 1
    assert dataset["gene_id"].values.tolist() == ["g1", "g2", "g3", "g4"]


def test_what_is_not_given_is_unknown(make_dataset: MakeDataset) -> None:
    dataset = make_dataset()
    assert dataset["mark_present"].values.all()
    assert (dataset["observed"].values == 1).all()
    assert np.isnan(dataset["depth"].values).all()
    assert np.isnan(dataset["expression"].values).all()
    assert (dataset["label"].values == -1).all()
    assert "tss" not in dataset.coords
    assert "published_split" not in dataset.coords


@pytest.mark.parametrize(
    ("bins", "starts"), [(4, [-200, -100, 0, 100]), (5, [-200, -100, 0, 100, 200]), (1, [0])]
)
def test_the_tss_lies_in_the_middle(
    make_dataset: MakeDataset, bins: int, starts: list[int]
) -> None:
    signal = np.zeros((1, 1, bins, 1))
    assert make_dataset(signal)["bin_start"].values.tolist() == starts
    given = np.array(starts) + 50
    assert make_dataset(signal, bin_start=given)["bin_start"].values.tolist() == given.tolist()


@pytest.mark.parametrize(
    ("given", "dtype"),
    [("u1", "u2"), ("i8", "u2"), (">u2", "u2"), ("u2", "u2"), ("f8", "f4"), (">f4", "f4")],
)
def test_counts_are_uint16_and_floats_float32(
    make_dataset: MakeDataset, given: str, dtype: str
) -> None:
    signal = np.arange(8).reshape(1, 2, 4, 1).astype(given)
    stored = make_dataset(signal)["signal"].values
    assert stored.dtype == np.dtype(dtype)
    assert stored.tolist() == signal.tolist()


def test_counts_above_65535_become_float32(make_dataset: MakeDataset) -> None:
    for largest, dtype in ((65_535, np.uint16), (65_536, np.float32)):
        stored = make_dataset(np.full((1, 1, 2, 1), largest))["signal"].values
        assert stored.dtype == dtype
        assert (stored == largest).all()


def test_nan_is_stored_as_zero_and_lowers_what_was_observed(make_dataset: MakeDataset) -> None:
    signal = np.ones((1, 2, 4, 2))
    signal[0, 0, :3, 1] = NAN  # three of four bins of the first gene, second mark
    signal[0, 1, :, 0] = NAN
    dataset = make_dataset(signal)
    assert dataset["observed"].values.tolist() == [[[1.0, 0.25], [0.0, 1.0]]]
    assert dataset["signal"].values[0, 0, :, 1].tolist() == [0, 0, 0, 1]
    assert dataset["signal"].values[0, 1, :, 0].tolist() == [0, 0, 0, 0]


def test_a_missing_mark_is_masked_and_empty(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(mark_present=np.array([[True, False], [True, True]]))
    assert (dataset["signal"].sel(cell_type="A", mark="H3K27me3") == 0).all()
    assert (dataset["observed"].sel(cell_type="A", mark="H3K27me3") == 0).all()
    assert dataset["signal"].values[1, 3, 3].tolist() == [1330, 1331]
    assert dataset["signal"].dtype == np.uint16


@given(
    hnp.arrays(np.float64, (2, 3, 4, 2), elements=st.floats(0, 9, width=32) | st.just(NAN)),
    hnp.arrays(bool, (2, 2)),
)
@settings(max_examples=20, deadline=None)
def test_the_arrays_of_the_caller_stay_as_they_are(
    make_dataset: MakeDataset, signal: np.ndarray, present: np.ndarray
) -> None:
    held = {
        "mark_present": present,
        "expression": np.array([[1, NAN, 3], [0, 0, 1]]),
        "depth": np.array([[1, NAN], [2, 3]]),
        "observed": np.ones((2, 3, 2), np.float32),
        "genes": GENES.replace("g4", "g3"),
    }
    arrays = {"signal": signal} | held
    before = {name: value.copy() for name, value in arrays.items()}
    made = make_dataset(signal, **held)
    add_expression(made, pd.DataFrame({"A": [1.0]}, index=["g1"]))
    for name, value in before.items():
        if isinstance(value, pd.DataFrame):
            pd.testing.assert_frame_equal(arrays[name], value)
        else:
            assert np.array_equal(arrays[name], value, equal_nan=True)


def test_given_labels_win_over_expression(make_dataset: MakeDataset) -> None:
    expression = np.array([[1, 2, 3, 4], [4, 3, 2, 1]])
    by_rule = make_dataset(expression=expression)
    assert by_rule["label"].values.tolist() == [[0, 0, 1, 1], [1, 1, 0, 0]]
    assert by_rule["label"].attrs["rule"] == "median"
    label = np.array([[1, 1, 1, -1], [0, 0, 0, 1]])
    by_file = make_dataset(expression=expression, label=label)
    assert by_file["label"].values.tolist() == label.tolist()
    assert by_file["label"].attrs["rule"] == GIVEN


def test_the_record_is_kept(make_dataset: MakeDataset) -> None:
    source = {"name": "ä.csv", "bytes": 3}
    dataset = make_dataset(
        assembly="hg19", sources=[source], note="simulated", units="mean_signal", bin_size=50
    )
    assert dataset.attrs == {
        "format_version": 1,
        "bin_size": 50,
        "assembly": "hg19",
        "sources": [source],
        "note": "simulated",
    }
    assert dataset.attrs["sources"][0] is not source
    assert dataset["signal"].attrs["units"] == "mean_signal"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"signal": np.full((1, 1, 2, 1), -3)}, "negative counts, down to -3"),
        ({"signal": np.full((1, 1, 2, 1), "1")}, "expected numbers"),
        ({"signal": np.full((1, 1, 2, 1), np.inf)}, "infinite values"),
        ({"signal": np.full((1, 1, 2, 1), 1e300)}, "infinite values"),
        ({"marks": ["m"]}, "`marks` does not fit the signal: found shape (1,)"),
        ({"gene_ids": "g1"}, "expected (gene) = (4,)"),
        ({"cell_types": ["A", "B", "C"]}, "`cell_types` does not fit"),
        ({"mark_present": [True, True]}, "expected (cell_type, mark) = (2, 2)"),
        ({"expression": np.zeros((4, 2))}, "expected (cell_type, gene) = (2, 4)"),
        ({"observed": np.ones((2, 4))}, "expected (cell_type, gene, mark) = (2, 4, 2)"),
        ({"depth": [1, 2]}, "`depth` does not fit"),
        ({"label": np.zeros(4)}, "`label` does not fit"),
        ({"published_split": ["train"]}, "`published_split` does not fit"),
        ({"bin_start": [0, 100]}, "`bin_start` does not fit the signal: found shape (2,)"),
        # int8 would make 0 of each of these.
        ({"label": np.full((2, 4), NAN)}, "holds nan;"),
        ({"label": np.full((2, 4), 256)}, "holds 256;"),
        ({"label": np.full((2, 4), 0.5)}, "holds 0.5;"),
    ],
)
def test_what_does_not_fit_is_refused(
    make_dataset: MakeDataset, changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputFormatError) as caught:
        make_dataset(**changed)
    assert message in str(caught.value)


def test_a_signal_without_cell_types_says_how_to_add_them() -> None:
    with pytest.raises(InputFormatError, match=r"shape \(3, 4, 2\)(.|\n)*signal\[np\.newaxis\]"):
        from_arrays(np.zeros((3, 4, 2)), marks=["m"], gene_ids=["g"], cell_types=["A"])


def test_what_is_no_dataset_is_refused(make_dataset: MakeDataset) -> None:
    with pytest.raises(DatasetFormatError, match="`gene_id` occur more than once"):
        make_dataset(gene_ids=["a", "b", "c", "a"])


# add_genes


def test_genes_are_placed_by_id(make_dataset: MakeDataset, caplog: Caplog) -> None:
    dataset = make_dataset(genes=GENES)
    assert dataset["chrom"].values.tolist() == ["chr1", "chr1", "", "chr2"]
    assert dataset["tss"].values.tolist() == [100, 200, -1, 400]
    assert dataset["strand"].values.tolist() == ["+", ".", ".", "-"]
    assert dataset["gene_name"].values.tolist() == ["A", "", "", "D"]
    assert dataset["tss"].dtype == np.int64
    assert "1 of 4 genes are not in the gene table and have no place: g3" in caplog.text


def test_tables_of_other_pandas_types_are_read_alike(make_dataset: MakeDataset) -> None:
    plain = make_dataset(genes=GENES)
    assert make_dataset(genes=GENES.convert_dtypes()).identical(plain)
    categories = GENES.assign(chrom=GENES["chrom"].astype("category"))
    assert make_dataset(genes=categories).identical(plain)
    genes = GENES.assign(tss=[400, NAN, 200, 1], chrom=["chr2", None, "chr1", "chr3"])
    dataset = make_dataset(genes=genes)
    assert dataset["tss"].values.tolist() == [-1, 200, -1, 400]
    assert dataset["chrom"].values.tolist() == ["", "chr1", "", "chr2"]


def test_the_published_split_of_the_data_wins_over_the_gene_table(
    make_dataset: MakeDataset,
) -> None:
    genes = GENES.assign(published_split=["test", "train", "valid", "train"])
    from_table = make_dataset(genes=genes)
    assert from_table["published_split"].values.tolist() == ["train", "valid", "", "test"]
    from_data = make_dataset(genes=genes, published_split=["test"] * 4)
    assert from_data["published_split"].values.tolist() == ["test"] * 4


@pytest.mark.parametrize(
    ("genes", "message"),
    [
        (GENES.assign(gene_id=["TP53", "MYC", "KIT", "ALK"]), "None of the dataset's 4 genes"),
        (pd.concat([GENES, GENES[:2]]), "2 genes are in the gene table more than once"),
        (GENES.drop(columns="tss"), "has no tss, only gene_id, gene_name, chrom"),
        (GENES.drop(columns=["gene_id", "strand"]), "has no gene_id and no strand"),
    ],
)
def test_a_gene_table_that_does_not_fit_is_refused(
    make_dataset: MakeDataset, genes: pd.DataFrame, message: str
) -> None:
    with pytest.raises(InputFormatError) as caught:
        add_genes(make_dataset(), genes)
    assert message in str(caught.value)


# add_expression

EXPRESSION = pd.DataFrame(
    {"B": [10.0, 20, 30, 5], "A": [3.0, 2, 1, 0], "C": 0.0}, index=["g3", "g2", "g1", "other"]
)


def test_expression_is_matched_by_gene_and_cell_type(
    make_dataset: MakeDataset, caplog: Caplog
) -> None:
    dataset = add_expression(make_dataset(), EXPRESSION, units="TPM")
    levels = dataset["expression"].values
    assert levels[0].tolist() == pytest.approx([1, 2, 3, NAN], nan_ok=True)
    assert levels[1].tolist() == pytest.approx([30, 20, 10, NAN], nan_ok=True)
    # The median is that of the dataset's own genes: 2 and 20, without `other`.
    assert dataset["label"].values.tolist() == [[0, 0, 1, -1], [1, 0, 0, -1]]
    assert dataset["label"].attrs["rule"] == "median"
    assert dataset["expression"].attrs["units"] == "TPM"
    assert "1 of 4 genes have no expression" in caplog.text


def test_a_table_without_a_cell_type_leaves_its_expression_and_labels(
    make_dataset: MakeDataset,
) -> None:
    first = add_expression(make_dataset(), EXPRESSION)
    second = add_expression(first, EXPRESSION[["B"]])
    xr.testing.assert_identical(first, second)


def test_labels_of_the_data_are_kept_and_disagreement_is_counted(
    make_dataset: MakeDataset, caplog: Caplog
) -> None:
    # By the median: A 0 0 1 ?, B 1 0 0 ?. In A one of three differs; g4 cannot be compared.
    given = make_dataset(label=np.array([[1, 0, 1, 1], [-1, -1, 0, -1]]))
    dataset = add_expression(given, EXPRESSION)
    assert dataset["label"].values.tolist() == [[1, 0, 1, 1], [1, 0, 0, -1]]
    assert dataset["label"].attrs["rule"] == GIVEN
    assert "A: 1 of 3 labels of the file differ from the rule 'median'" in caplog.text
    assert "B:" not in caplog.text


def test_labels_by_an_earlier_rule_follow_the_new_one(make_dataset: MakeDataset) -> None:
    first = add_expression(make_dataset(), EXPRESSION)
    second = add_expression(first, EXPRESSION, rule="threshold:2.5")
    assert second["label"].values.tolist() == [[0, 0, 1, -1], [1, 1, 1, -1]]
    assert first["label"].values.tolist() == [[0, 0, 1, -1], [1, 0, 0, -1]]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (EXPRESSION[["C"]], "none of the dataset's cell types: its columns are C"),
        (EXPRESSION.rename(index=str.upper), "is in the expression table (G3"),
        (pd.concat([EXPRESSION, EXPRESSION]), "4 genes are in the expression table more than once"),
        (EXPRESSION[["A", "B", "A"]], "more than once: A"),
    ],
)
def test_an_expression_table_that_does_not_fit_is_refused(
    make_dataset: MakeDataset, table: pd.DataFrame, message: str
) -> None:
    with pytest.raises(InputFormatError) as caught:
        add_expression(make_dataset(), table)
    assert message in str(caught.value)


def test_names_are_kept_as_strings() -> None:
    dataset = from_arrays(
        np.zeros((1, 2, 2, 1)),
        marks=np.array(["m"]),
        gene_ids=pd.Series(["000003", "000005"]),
        cell_types=("E012",),
    )
    assert dataset["gene_id"].values.tolist() == ["000003", "000005"]
    assert dataset["mark"].dtype == object


# label_expression


def labels(values: list[float], rule: str = "median") -> list[int]:
    return label_expression(np.array([values], np.float32), rule)[0].tolist()


def test_above_the_median_is_high() -> None:
    assert labels([1, 2, 3, 4]) == [0, 0, 1, 1]  # median 2.5


def test_a_gene_at_the_median_is_low() -> None:
    assert labels([3, 1, 2]) == [1, 0, 0]  # median 2
    assert labels([0, 0, 0, 5]) == [0, 0, 0, 1]  # median 0: most genes are silent
    assert labels([7, 7, 7]) == [0, 0, 0]


def test_unmeasured_genes_are_unknown_and_do_not_move_the_median() -> None:
    assert labels([NAN, 1, NAN, 2, 3]) == [-1, 0, -1, 0, 1]  # median of 1, 2, 3
    assert labels([NAN, NAN]) == [-1, -1]
    assert labels([np.inf, 1, 2]) == [-1, 0, 1]


def test_the_median_is_not_rounded_to_float32() -> None:
    # Between two neighboring float32 numbers there is a median, but no float32.
    low = np.float32(1)
    for _ in range(4):
        high = np.nextafter(low, np.float32(2))
        assert label_expression(np.array([[low, high]])).tolist() == [[0, 1]]
        low = high


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("mean", [0, 0, 0, 1]),  # mean of 1, 2, 3, 10 is 4
        ("quantile:0.75", [0, 0, 0, 1]),  # 3 + 0.25 x 7 = 4.75
        ("quantile:0.1", [0, 1, 1, 1]),  # 1.3
        ("threshold:2", [0, 0, 1, 1]),
        ("threshold:-1", [1, 1, 1, 1]),
        ("tertiles", [0, 0, -1, 1]),  # thirds end at 2 and 3; up to 2 is low, above 3 high
    ],
)
def test_other_rules(rule: str, expected: list[int]) -> None:
    assert labels([1, 2, 3, 10], rule) == expected


def test_a_threshold_is_as_exact_as_the_values() -> None:
    # 0.1 is 0.100000001 in float32, and is not above a threshold of 0.1 all the same.
    assert labels([0.1, 0.2], "threshold:0.1") == [0, 1]
    assert label_expression(np.array([[1, 2]]), "threshold:1.5").tolist() == [[0, 1]]


@pytest.mark.parametrize(
    "rule",
    [
        *("", "medain", "median:3", "tertiles:2"),
        *("quantile", "quantile:0", "quantile:1", "quantile:nan"),
        *("threshold:nan", "threshold:", "threshold:high"),
    ],
)
def test_other_words_are_no_rules(rule: str) -> None:
    with pytest.raises(ConfigError, match="median, mean, tertiles, quantile:Q"):
        label_expression(np.full((1, 2), NAN), rule)


@given(
    hnp.arrays(
        np.float32,
        st.integers(1, 30),
        elements=st.floats(0, 1e4, width=32) | st.just(NAN) | st.just(0.0),
    )
)
def test_the_median_rule_is_half_high_at_most_and_keeps_order(values: np.ndarray) -> None:
    before = values.copy()
    label = label_expression(values[None])[0]
    assert np.array_equal(values, before, equal_nan=True)
    assert ((label == -1) == np.isnan(values)).all()
    high, low = values[label == 1], values[label == 0]
    assert high.size <= low.size
    if high.size:
        assert high.min() > low.max()
