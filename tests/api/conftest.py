# SPDX-License-Identifier: BSD-3-Clause
"""A leatd, a client and namespaces for each test."""
import os

import pytest

from node import Leatd, Netns


@pytest.fixture
def leatd(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("root is needed for /run/leat and network namespaces")
    daemon = Leatd(tmp_path / "leatd.log")
    yield daemon
    daemon.clean()


@pytest.fixture
def running(leatd):
    return leatd.start()


@pytest.fixture
def client(running):
    return running.client()


@pytest.fixture
def netns():
    made = []

    def make():
        made.append(Netns())
        return made[-1]

    yield make
    for ns in made:
        ns.delete()
