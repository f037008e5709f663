# SPDX-License-Identifier: BSD-3-Clause
"""What tests/lab/test_restart_gate.py does a few times, RESTARTS (50) times by KILL and as often by TERM."""
import os
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))

from operator_rig import Leatd
from restart_rig import RestartLab, restart_under_traffic

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: taps and network namespaces")


@pytest.fixture
def lab(tmp_path):
    with Leatd(tmp_path, "--log-format", "json", is_huge=True) as leatd:
        made = RestartLab(leatd.start(), tmp_path)
        yield made
        leatd.stop()
        made.clean()


def test_hundred_restarts_let_nothing_out(lab):
    restart_under_traffic(lab, int(os.environ.get("RESTARTS", "50")))
