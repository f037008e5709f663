# SPDX-License-Identifier: BSD-3-Clause
"""scripts/demo: podman, testpmd, the plugin and two daemons together, with less to move than by hand."""
import os
import subprocess

from conftest import BUILD, ROOT


def test_demo_passes_all_of_its_checks():
    done = subprocess.run([os.path.join(ROOT, "scripts", "demo"), "--bytes", "200000000"], capture_output=True,
                          text=True, timeout=400, stdin=subprocess.DEVNULL, env=dict(os.environ, LEAT_BUILD=BUILD))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing is left behind" in done.stdout
