# SPDX-License-Identifier: BSD-3-Clause
"""Nothing gets out while the saved configuration is brought back; what was current goes on at once."""
import os
import threading

import pytest

from operator_rig import Leatd, have_hugepages
from restart_rig import RestartLab, close_eyes, restart_under_traffic
from vhost_guest import Guest
from waiting import wait_for

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


GUEST = "10.66.0.9"


def frame_of(guest, target):
    scapy = pytest.importorskip("scapy.all", reason="needs scapy")
    return bytes(scapy.Ether(src=guest["mac"], dst=guest["gateway_mac"]) / scapy.IP(src=GUEST, dst=target) /
                 scapy.UDP(sport=5000, dport=9) / b"x")


def connected(path):
    try:
        return Guest(path, size=256)
    except OSError:
        return None


@pytest.mark.parametrize("is_killed", [True, False], ids=["KILL", "TERM"])
def test_nothing_of_a_denied_guest_gets_out_while_the_configuration_is_restored(lab, is_killed):
    """A vhost-user guest is there again before the policies are."""
    leatd = lab.leatd
    about = lab.ctl("endpoint", "attach", "id=guest", "kind=vhost-user", f"addresses={GUEST}/32")
    lab.ctl("policy", "bind", "policy=none", "endpoint=guest")
    frame = frame_of(about, lab.backend.address)
    guest = connected(about["socket"])
    watcher = lab.watch(lab.backend.space, "eth0", [f"{GUEST}/32"], [])
    assert guest.send(frame)
    wait_for(lambda: leatd.drops(about["port"]).get("policy_denied"), "the guest may not send")
    for _ in range(3):
        guest.close()
        if is_killed:
            leatd.kill()
        else:
            leatd.stop()
        starting = threading.Thread(target=leatd.start)
        starting.start()
        guest = wait_for(lambda: connected(about["socket"]), "the guest is connected again")
        n = 0
        while starting.is_alive() or n == 0:
            guest.send(frame)
            n += 1
        starting.join()
        wait_for(lambda: leatd.drops(about["port"]).get("policy_denied"), "what waited is judged")
        assert set(leatd.drops(about["port"])) <= {"policy_denied", "restoring"}
    guest.close()
    (_, bad), = close_eyes([watcher])
    assert bad == []
