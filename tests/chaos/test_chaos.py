"""Many letters, every fault, three accounts: nothing is lost, and nobody is mailed twice but where the ledger says so.

The seed is printed when the run fails; ``CHAOS_SEED=… CHAOS_LETTERS=… make chaos`` plays the same script again.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from postroom_worker.dev.chaos.run import patience_s

LETTERS = int(os.environ.get("CHAOS_LETTERS", "60"))
SEED = int(os.environ.get("CHAOS_SEED") or (77 if os.environ.get("CI") else Random().randrange(10_000)))
"""A change is judged by the same script each time; developers play others."""


@pytest.mark.timeout(2 * patience_s(LETTERS))
def test_three_accounts_agree_whatever_goes_wrong(tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("postroom")
    options = (f"--letters={LETTERS}", f"--seed={SEED}", "--folder", tmp_path / "chaos")
    done = subprocess.run([program, "chaos", *options], check=False)
    assert done.returncode == 0, "what it printed tells why"
