# SPDX-License-Identifier: BSD-3-Clause
"""Nothing gets out while the saved configuration is brought back; what was current goes on at once."""
import os

import pytest

from operator_rig import Leatd, have_hugepages
from restart_rig import RestartLab, restart_under_traffic

pytestmark = [pytest.mark.skipif(os.geteuid() != 0, reason="needs root: taps and network namespaces"),
              pytest.mark.skipif(not have_hugepages(512), reason="needs hugepages: connections outlive leatd in files of them")]
CORES = sorted(os.sched_getaffinity(0))[-2:]


@pytest.fixture(params=[1, 2], ids=["one_worker", "two_workers"])
def lab(tmp_path, request):
    if len(CORES) < request.param:
        pytest.skip("needs two cores")
    cores = ["--cores", ",".join(map(str, CORES[-request.param:]))]
    with Leatd(tmp_path, "--log-format", "json", *cores, is_huge=True) as leatd:
        made = RestartLab(leatd.start(), tmp_path)
        yield made
        leatd.stop()
        made.clean()


def test_nothing_gets_out_while_the_configuration_is_restored(lab):
    restart_under_traffic(lab, 3)
