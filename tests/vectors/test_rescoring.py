"""Search in two steps over many documents."""

import subprocess
import sys
from pathlib import Path

SEARCH = """
import resource, torch
from mmst_cli.vectors.ranking import Relevance
from mmst_cli.vectors.rescoring import Rescoring
from mmst_cli.vectors.scoring import Scoring
torch.manual_seed(0)
queries, documents, answers = torch.randn(1000, 8).sign(), torch.randn(150_000, 8).sign(), torch.arange(1000)
wanted = Relevance(answers, answers, torch.ones(1000).double(), torch.randperm(len(documents)), 1000)
counts, device = (len(queries), len(documents)), documents.device
scoring = Scoring(queries.__getitem__, documents.__getitem__, lambda some, other: some @ other.T, counts, device)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
Rescoring(scoring, scoring, 40).ranks(wanted, 100)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_what_is_kept_of_each_tile_holds_no_memory_of_the_tile():
    done = subprocess.run(
        [sys.executable, "-c", SEARCH],
        env={"PYTHONPATH": str(Path(__file__).parents[2] / "src"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) < 260 * 1024  # KiB; all scores would be 586 MiB
