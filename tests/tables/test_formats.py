"""Leaderboards against tables written by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from vitfaith.errors import ArtifactError, InputError
from vitfaith.figures.drawing.names import decimal, number
from vitfaith.tables.cells import leaderboard, mark_of
from vitfaith.tables.latex import to_latex
from vitfaith.tables.markdown import to_markdown
from vitfaith.tables.text import escape_latex, escape_markdown, latex_table, markdown_table

DIRECTIONS = {"saco": "higher", "deletion_auc": "lower"}


@pytest.fixture
def summary() -> pd.DataFrame:
    rows = [
        ("random", "saco", "k=10", 64, 0, -0.0004, -0.05, 0.049),
        ("rollout", "saco", "k=10", 64, 0, 0.2453, 0.21, 0.28),
        ("transformer_mm", "saco", "k=10", 61, 3, 0.4558, 0.41, 0.50),
        ("random", "deletion_auc", "", 64, 0, 0.55, 0.5, 0.6),
        ("rollout", "deletion_auc", "", 64, 0, 0.40, 0.35, 0.45),
        ("transformer_mm", "deletion_auc", "", 64, 0, 0.45, 0.4, 0.5),
    ]
    columns = ["method", "metric", "variant", "n", "flagged", "mean", "low", "high"]
    frame = pd.DataFrame(rows, columns=columns).assign(confidence=0.95)
    own = {f"{name}_own": frame[name] for name in ("n", "mean", "low", "high")}
    return frame.assign(compared=True, asked=64, **own)


@pytest.fixture
def statistics() -> pd.DataFrame:
    rows = [
        ("rollout", "random", "saco", "k=10", 0.02),
        ("transformer_mm", "random", "saco", "k=10", 0.0001),
        ("transformer_mm", "rollout", "saco", "k=10", 0.0001),
        ("rollout", "random", "deletion_auc", "", 0.3),
        ("random", "rollout", "deletion_auc", "", 0.0001),
    ]
    return pd.DataFrame(rows, columns=["method", "opponent", "metric", "variant", "p"])


def test_markdown(summary: pd.DataFrame, statistics: pd.DataFrame) -> None:
    board = leaderboard(summary, DIRECTIONS, statistics=statistics)
    assert to_markdown(board, title="clean_none", digits=2) == (
        "### clean\\_none\n"
        "\n"
        "| Method | Deletion AUC ↓ | SaCo (k=10) ↑ |\n"
        "| --- | --- | --- |\n"
        "| Rollout | **0.40** [0.35, 0.45], n=64 | 0.25\\* [0.21, 0.28], n=64 |\n"
        "| Transformer-MM | 0.45 [0.40, 0.50], n=64 | **0.46**\\*\\*\\* [0.41, 0.50], n=61 |\n"
        "| Random | 0.55 [0.50, 0.60], n=64 | 0.00 [−0.05, 0.05], n=64 |\n"
        "\n"
        "n = 61 to 64 images per mean, the same for all methods compared in a column; 95 % confidence intervals in brackets; "
        "best mean in bold. 3 values are flagged (constant map, NaN or undefined score) and in no mean. Wilcoxon signed-rank "
        "test against Random, Holm over the 1 to 2 tests against it in a column: \\* p \\< 0.05, \\*\\* p \\< 0.01, "
        "\\*\\*\\* p \\< 0.001.\n"
    )


def test_latex(summary: pd.DataFrame, statistics: pd.DataFrame) -> None:
    board = leaderboard(summary, DIRECTIONS, statistics=statistics)
    assert to_latex(board, caption="Clean, 100 % of images.", label="tab:clean", digits=2) == (
        "\\begin{table}\n"
        "\\centering\n"
        "\\begin{tabular}{lll}\n"
        "\\toprule\n"
        "Method & Deletion AUC $\\downarrow$ & SaCo (k=10) $\\uparrow$ \\\\\n"
        "\\midrule\n"
        "Rollout & \\textbf{0.40} [0.35, 0.45] (64) & 0.25$^{*}$ [0.21, 0.28] (64) \\\\\n"
        "Transformer-MM & 0.45 [0.40, 0.50] (64) & \\textbf{0.46}$^{***}$ [0.41, 0.50] (61) \\\\\n"
        "Random & 0.55 [0.50, 0.60] (64) & 0.00 [$-$0.05, 0.05] (64) \\\\\n"
        "\\bottomrule\n"
        "\\end{tabular}\n"
        "\\caption{Clean, 100 \\% of images. Number of images in parentheses. 95 \\% confidence intervals in brackets; best "
        "mean in bold. 3 values are flagged (constant map, NaN or undefined score) and in no mean. Wilcoxon signed-rank test "
        "against Random, Holm over the 1 to 2 tests against it in a column: * p \\textless{} 0.05, ** p \\textless{} 0.01, *** p "
        "\\textless{} 0.001.}\n"
        "\\label{tab:clean}\n"
        "\\end{table}\n"
    )
    same = to_latex(leaderboard(summary.assign(n=64), DIRECTIONS), caption="Clean.")
    assert "\\caption{Clean. n = 64 images. 95 \\% confidence intervals in brackets; best mean in bold. " in same
    assert "(64)" not in same


def test_row_order_does_not_matter(summary: pd.DataFrame, statistics: pd.DataFrame) -> None:
    straight = leaderboard(summary, DIRECTIONS, statistics=statistics)
    shuffled = leaderboard(
        summary.sample(frac=1, random_state=1), DIRECTIONS, statistics=statistics.sample(frac=1, random_state=2)
    )
    assert to_latex(straight) == to_latex(shuffled)
    assert to_markdown(straight) == to_markdown(shuffled)


def test_ties_are_all_best_and_missing_values_none(summary: pd.DataFrame) -> None:
    saco = summary[summary.metric == "saco"].copy()
    saco["mean"] = [0.5, np.nan, 0.5]
    saco.loc[saco.method == "rollout", ["low", "high", "n"]] = [np.nan, np.nan, 0]
    saco[["mean_own", "low_own", "high_own", "n_own"]] = saco[["mean", "low", "high", "n"]]
    saco["compared"] = saco.n > 0
    board = leaderboard(saco, DIRECTIONS)
    assert board.methods == ("random", "transformer_mm", "rollout")
    assert [board.cells[i, 0].best for i in range(3)] == [True, True, False]
    assert "| Rollout | –† [–, –], n=0 |" in to_markdown(board)
    assert "Rollout & --$^{\\dagger}$ [--, --] (0)" in to_latex(board)
    nothing = leaderboard(saco.assign(mean=np.nan), DIRECTIONS)
    assert not any(cell.best for cell in nothing.cells.values())


def test_method_without_a_metric_has_an_empty_cell(summary: pd.DataFrame) -> None:
    board = leaderboard(summary.iloc[:-1], DIRECTIONS)
    assert board.methods == ("rollout", "random", "transformer_mm")  # not in the first column: at the bottom
    assert "| Transformer-MM |  | **0.456**" in to_markdown(board)
    assert "Transformer-MM &  & \\textbf{0.456}" in to_latex(board)


def test_baseline_and_order(summary: pd.DataFrame, statistics: pd.DataFrame) -> None:
    order = ["transformer_mm", "random", "rollout"]
    board = leaderboard(summary, DIRECTIONS, statistics=statistics, baseline="rollout", order=order)
    assert list(board.methods) == order
    marks = {(board.methods[i], board.columns[j][0]): cell.mark for (i, j), cell in board.cells.items()}
    assert marks["transformer_mm", "saco"] == "***"
    assert marks["random", "deletion_auc"] == "***"
    assert marks["rollout", "saco"] == ""
    with pytest.raises(InputError, match="order must list"):
        leaderboard(summary, DIRECTIONS, order=order[:2])


def test_columns_are_in_numeric_order(summary: pd.DataFrame) -> None:
    saco = summary[summary.metric == "saco"]
    board = leaderboard(pd.concat([saco, saco.assign(variant="k=5"), saco.assign(variant="k=20")]), DIRECTIONS)
    assert [variant for _, variant in board.columns] == ["k=5", "k=10", "k=20"]


def test_errors(summary: pd.DataFrame) -> None:
    with pytest.raises(ArtifactError, match="two rows for random, saco; select one condition"):
        leaderboard(pd.concat([summary, summary]), DIRECTIONS)
    with pytest.raises(ArtifactError, match="no column 'low'"):
        leaderboard(summary.drop(columns="low"), DIRECTIONS)
    with pytest.raises(ArtifactError, match="empty"):
        leaderboard(summary.iloc[:0], DIRECTIONS)
    with pytest.raises(InputError, match="directions lacks 'deletion_auc'"):
        leaderboard(summary, {"saco": "higher"})


@pytest.mark.parametrize(
    ("value", "digits", "expected"),
    [
        (0.12345, 3, "0.123"),
        (-0.0004, 3, "0.000"),
        (-0.0005, 2, "0.00"),
        (-1.5, 1, "-1.5"),
        (2, 0, "2"),
        (float("nan"), 3, "–"),
    ],
)
def test_numbers(value: float, digits: int, expected: str) -> None:
    assert number(value, digits) == expected
    assert decimal(value, digits) == expected.replace("-", "−")


def test_marks() -> None:
    assert [mark_of(p) for p in (0, 0.00099, 0.001, 0.0099, 0.01, 0.049, 0.05, 1, np.nan)] == [
        "***", "***", "**", "**", "*", "*", "", "", "",
    ]  # fmt: skip


def test_escapes() -> None:
    assert escape_latex("a_b & 50% of $x$ {#1} ~^\\ <y>") == (
        r"a\_b \& 50\% of \$x\$ \{\#1\} \textasciitilde{}\textasciicircum{}\textbackslash{} \textless{}y\textgreater{}"
    )
    assert escape_latex("two\nlines × 3 ↑") == r"two lines $\times$ 3 $\uparrow$"
    assert escape_markdown("a|b *c* _d_ `e` [f] <g>\nh") == r"a\|b \*c\* \_d\_ \`e\` \[f\] \<g\> h"


def test_names_are_escaped_in_tables(summary: pd.DataFrame) -> None:
    odd = summary.replace({"method": {"rollout": "my_x|y%2"}})
    board = leaderboard(odd, DIRECTIONS)
    assert r"my\_x|y\%2 & " in to_latex(board)
    assert r"| my\_x\|y%2 | " in to_markdown(board)


def test_tables_keep_every_cell_as_it_is() -> None:
    rows = [["1e5", "", " spaced"], ["007", "0x1f", "日本"], ["nan", "True", "−0.50"]]
    assert markdown_table(["a", "a", ""], rows) == (
        "| a | a |  |\n| --- | --- | --- |\n| 1e5 |  |  spaced |\n| 007 | 0x1f | 日本 |\n| nan | True | −0.50 |"
    )
    assert markdown_table(["a"], []) == "| a |\n| --- |"
    assert latex_table(["a", "a", ""], rows) == [
        r"\begin{tabular}{lll}",
        r"\toprule",
        r"a & a &  \\",
        r"\midrule",
        r"1e5 &  &  spaced \\",
        r"007 & 0x1f & 日本 \\",
        r"nan & True & −0.50 \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]
    assert latex_table(["a", "a"], []) == [
        r"\begin{tabular}{ll}",
        r"\toprule",
        r"a & a \\",
        r"\midrule",
        r"\bottomrule",
        r"\end{tabular}",
    ]
