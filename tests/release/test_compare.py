"""`benches/compare` on two reports."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def compare(tmp_path, *figures):
    reports = []
    for name, figure in zip(("baseline", "candidate"), figures):
        reports.append(tmp_path / f"{name}.md")
        reports[-1].write_text(f"| what | figure |\n| --- | --- |\n| one | {figure} |\n")
    return subprocess.run([ROOT / "benches/compare", *reports], capture_output=True, text=True, check=False)


def test_the_figures_of_a_row_are_read_whole(tmp_path):
    for figures, ratio in [(("2,455", "4,910"), "2.00×"), (("1.17× (2.73 µs)", "2.34×"), "2.00×"), (("1052 µs (487 pods/s, 1.3×)", "526 µs"), "0.50×")]:
        assert f"| {ratio} |" in compare(tmp_path, *figures).stdout, figures


def test_a_worse_figure_fails_and_the_same_does_not(tmp_path):
    assert compare(tmp_path, "1,000", "1,000").returncode == 0
    worse = compare(tmp_path, "1,000", "1,200")
    assert worse.returncode == 1 and worse.stdout.endswith("Slower: 1 worse, 0 better by more than 10 %; 0 more differ within the noise\n")
