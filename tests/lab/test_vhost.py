# SPDX-License-Identifier: BSD-3-Clause
"""vhost-user ports with honest guests: sockets, both roles, restarts of either side, queues, buffers, offloads, many at once."""
import os
import signal
import socket
import stat
import struct
import subprocess
import time

import pytest

import vhost_guest as vg
from vhost_guest import BASE_FEATURES, OFFLOADS, RIG, Guest, Rig, exchange, frame, tcp_frame
from waiting import wait_for

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(not os.path.exists(RIG), reason="vhost_rig is not built"),
]


@pytest.fixture
def rig():
    with Rig() as made:
        yield made
        if made.alive():
            wait_for(lambda: made.command("mbufs") == "0", "no mbuf is left in use")


def pair(rig, queues=1):
    for name in "ab":
        rig.add(name, queues=queues)
    rig.pair("a", "b")


def describe(rig, name):
    return dict(part.split("=", 1) for part in rig.describe(name).replace('"', "").split(" ") if "=" in part)


# --- sockets and restarts ------------------------------------------------------------------------------------------


def test_vhost_two_guests_exchange_frames(rig):
    pair(rig)
    with Guest(rig.path("a")) as a, Guest(rig.path("b")) as b:
        rig.wait_up("a", "b")
        exchange(a, b, 200)
        assert rig.stats("a")["rx"] == rig.stats("a")["tx"] == 200
        assert rig.drops("a") == {}


def test_vhost_socket_has_owner_and_mode_and_goes_with_its_folder(rig):
    path = os.path.join(rig.folder, "pods", "one", "vhost.sock")
    rig.command("add", "a", path, "server", 1, "0620", 1234, 5678)
    st = os.stat(path)
    assert stat.S_ISSOCK(st.st_mode) and stat.S_IMODE(st.st_mode) == 0o620
    assert (st.st_uid, st.st_gid) == (1234, 5678)
    rig.command("del", "a")
    assert not os.path.exists(os.path.dirname(path))


def test_vhost_socket_stays_when_kept_and_a_stale_one_is_replaced(rig):
    rig.add("a")
    rig.command("keep", "a")
    assert stat.S_ISSOCK(os.stat(rig.path("a")).st_mode)
    rig.add("a")
    with Guest(rig.path("a")):
        rig.wait_up("a")


def test_vhost_socket_of_somebody_else_is_left_alone(rig):
    other = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    other.bind(rig.path("a"))
    other.listen(1)
    with pytest.raises(RuntimeError, match="another process listens"):
        rig.add("a")
    other.close()
    with open(rig.path("b"), "w", encoding="ascii") as file:
        file.write("mine")
    with pytest.raises(RuntimeError, match="is not a socket"):
        rig.add("b")
    os.symlink(rig.path("b"), rig.path("c"))
    with pytest.raises(RuntimeError, match="is not a socket"):
        rig.add("c")
    with open(rig.path("b"), encoding="ascii") as file:
        assert file.read() == "mine"


def test_vhost_add_with_bad_arguments_names_the_problem(rig):
    with pytest.raises(RuntimeError, match="longer than 107"):
        rig.add("a", path="/tmp/" + "x" * 120)
    with pytest.raises(RuntimeError, match="absolute path"):
        rig.add("a", path="relative.sock")
    with pytest.raises(RuntimeError):
        rig.add("a", queues=17)
    rig.add("a")


def test_vhost_guest_comes_back_ten_times(rig):
    pair(rig)
    with Guest(rig.path("b")) as b:
        for _ in range(10):
            with Guest(rig.path("a")) as a:
                rig.wait_up("a", "b")
                exchange(a, b, 5)
            rig.wait_down("a")
            assert rig.is_up("b")
    assert describe(rig, "a")["connects"] == "10"


def test_vhost_client_role_connects_to_the_guest_whenever_it_is_there(rig):
    rig.add("a", role="client")
    rig.add("b")
    rig.pair("a", "b")
    with Guest(rig.path("b")) as b:
        for _ in range(3):
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            listener.bind(rig.path("a"))
            listener.listen(1)
            listener.settimeout(vg.DEADLINE_S)
            sock, _ = listener.accept()
            with Guest(sock=sock) as a:
                rig.wait_up("a", "b")
                exchange(a, b, 5)
            listener.close()
            os.unlink(rig.path("a"))
            rig.wait_down("a")


def test_vhost_rig_killed_and_started_again_serves_the_same_sockets(tmp_path):
    folder = str(tmp_path)
    for _ in range(2):
        with Rig(folder=folder) as rig:
            pair(rig)
            with Guest(rig.path("a")) as a, Guest(rig.path("b")) as b:
                rig.wait_up("a", "b")
                exchange(a, b, 5)
            rig.process.send_signal(signal.SIGKILL)
            rig.process.wait()
            rig.quit = lambda: None
    assert not [name for name in os.listdir("/run") if name.startswith("leat-vhost-")]


def test_vhost_client_role_reaches_its_guest_within_a_second_of_a_restart(tmp_path):
    folder = str(tmp_path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(os.path.join(folder, "a.sock"))
    listener.listen(4)
    listener.settimeout(vg.DEADLINE_S)
    for _ in range(2):
        with Rig(folder=folder) as rig:
            rig.add("a", role="client")
            rig.pair("a", "a")
            begin = time.monotonic()
            sock, _ = listener.accept()
            with Guest(sock=sock) as guest:
                rig.wait_up("a")
                guest.send(frame(1))
                guest.wait_frames(1)
            assert time.monotonic() - begin < 10  # a second on a quiet machine
            rig.process.send_signal(signal.SIGKILL)
            rig.process.wait()
            rig.quit = lambda: None
    listener.close()


def test_vhost_port_added_and_deleted_leaves_the_others_traffic_whole(rig):
    pair(rig)
    with Guest(rig.path("a")) as a, Guest(rig.path("b")) as b:
        rig.wait_up("a", "b")
        for n in range(20):
            rig.add(f"x{n}")
            a.send(frame(n))
            with Guest(rig.path(f"x{n}")):
                rig.wait_up(f"x{n}")
                a.send(frame(n + 100))
                rig.command("del", f"x{n}")
            got = b.wait_frames(2)
            assert [f for _, f in got] == [frame(n), frame(n + 100)]
        assert rig.drops("a") == {}


# --- buffers, queues, offloads -------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [14, 60, 1514, 2036, 2037, 9014, 9230])
def test_vhost_frame_of_any_length_arrives_whole(rig, length):
    pair(rig)
    with Guest(rig.path("a")) as a, Guest(rig.path("b")) as b:
        rig.wait_up("a", "b")
        sent = (frame(5, 18) + os.urandom(max(length, 18) - 18))[:length]
        a.send(sent)
        assert [f for _, f in b.wait_frames(1)] == [sent]


@pytest.mark.parametrize("pieces", [1, 2, 7, 50])
def test_vhost_indirect_descriptors_arrive_whole(rig, pieces):
    pair(rig)
    features = BASE_FEATURES | 1 << vg.F_INDIRECT
    with Guest(rig.path("a"), features=features) as a, Guest(rig.path("b")) as b:
        rig.wait_up("a", "b")
        assert describe(rig, "a")["indirect"] == "yes"
        sent = frame(1, 18) + os.urandom(1400)
        a.send_indirect(sent, pieces)
        assert [f for _, f in b.wait_frames(1)] == [sent]


def test_vhost_without_mergeable_buffers_small_frames_pass(rig):
    pair(rig)
    features = BASE_FEATURES & ~(1 << vg.F_MRG_RXBUF)
    with Guest(rig.path("a"), features=features) as a, Guest(rig.path("b"), features=features) as b:
        rig.wait_up("a", "b")
        assert describe(rig, "b")["mergeable"] == "no"
        exchange(a, b)


def test_vhost_event_index_wakes_the_sleeping_worker(rig):
    """Without publishing by flag: the guest looks at the avail event index as the device leaves it."""
    pair(rig)
    features = BASE_FEATURES | 1 << vg.F_EVENT_IDX
    with Guest(rig.path("a"), features=features) as a, Guest(rig.path("b")) as b:
        rig.wait_up("a", "b")
        ring = a.rings[1]
        for n in range(5):
            def event(r=ring):
                return struct.unpack("<H", a.read(r.used + 4 + 8 * r.size, 2))[0]
            wait_for(lambda i=ring.avail_idx: event() == i, "leat asks for the next entry")
            a.send(frame(n))
            b.wait_frames(1)


def test_vhost_two_queue_pairs_carry_traffic_with_two_workers():
    with Rig(workers=2) as rig:
        pair(rig, queues=2)
        with Guest(rig.path("a"), queues=2) as a, Guest(rig.path("b"), queues=2) as b:
            rig.wait_up("a", "b")
            assert a.max_queues == 2 and describe(rig, "a")["queues"] == "2/2"
            for n in range(40):
                wait_for(lambda i=n: a.send(frame(i), queue=i % 2), "room in the ring")
            got = {f for _, f in b.wait_frames(40)}
            assert got == {frame(n) for n in range(40)}
            # one worker a queue pair, so packets of worker 1 came by the second one
            assert all(ring.used_seen > 0 for ring in b.rings[::2])


def test_vhost_workers_share_the_one_queue_of_a_guest():
    with Rig(workers=2) as rig:
        pair(rig, queues=2)
        with Guest(rig.path("a"), queues=2) as a, Guest(rig.path("b"), queues=1) as b:
            rig.wait_up("a", "b")
            assert describe(rig, "b")["queues"] == "1/2"
            for n in range(40):
                wait_for(lambda i=n: a.send(frame(i), queue=i % 2), "room in the ring")
            assert {f for _, f in b.wait_frames(40)} == {frame(n) for n in range(40)}


def test_vhost_queue_disabled_by_the_guest_is_not_used(rig):
    rig.add("a", queues=2)
    rig.pair("a", "a")
    with Guest(rig.path("a"), queues=2) as a:
        rig.wait_up("a")
        a.channel.send(vg.SET_VRING_ENABLE, struct.pack("<II", 3, 0))
        a.channel.ask(vg.GET_FEATURES)
        assert describe(rig, "a")["queues"] == "1/2"
        a.send(frame(1), queue=1)
        a.send(frame(2), queue=0)
        assert [f for _, f in a.wait_frames(1)] == [frame(2)]
        a.channel.send(vg.SET_VRING_ENABLE, struct.pack("<II", 3, 1))
        assert [f for _, f in a.wait_frames(1)] == [frame(1)]


def test_vhost_second_pair_may_start_later_and_in_the_middle_of_its_ring(rig):
    """As a frontend does that brings its rings back after leatd was away."""
    rig.add("a", queues=2)
    rig.pair("a", "a")
    with Guest(rig.path("a"), queues=2, start=False) as a:
        a.negotiate()
        a.set_memory()
        for ring in a.rings[:2]:
            a.start_ring(ring)
        a.refill(a.rings[0])
        rig.wait_up("a")
        for ring in a.rings[2:]:
            ring.avail_idx = ring.used_seen = 500
            a.write(ring.avail + 2, struct.pack("<H", 500))
            a.write(ring.used + 2, struct.pack("<H", 500))
            a.start_ring(ring, base=500, enable=False)
        a.channel.ask(vg.GET_FEATURES)
        a.send(frame(1), queue=0)
        assert [f for _, f in a.wait_frames(1)] == [frame(1)]
        for ring in a.rings[2:]:
            a.channel.send(vg.SET_VRING_ENABLE, struct.pack("<II", ring.index, 1))
        for n in range(10):
            a.send(frame(n), queue=1)
        assert [f for _, f in a.wait_frames(10)] == [frame(n) for n in range(10)]
        assert rig.drops("a") == {} and describe(rig, "a")["quarantines"] == "0"


def test_vhost_guest_mtu_is_shown(rig):
    rig.add("a")
    with Guest(rig.path("a"), features=BASE_FEATURES | 1 << vg.F_MTU, mtu=9000):
        rig.wait_up("a")
        assert describe(rig, "a")["guest_mtu"] == "9000"


def test_vhost_offloads_follow_what_the_guest_negotiated(rig):
    rig.add("a")
    for features, expected in ((0, 0), (1 << vg.F_GUEST_CSUM, 1), (1 << vg.F_GUEST_TSO4, 0), (OFFLOADS, 7)):
        with Guest(rig.path("a"), features=BASE_FEATURES | features):
            rig.wait_up("a")
            assert rig.stats("a")["offloads"] == expected
        rig.wait_down("a")


def test_vhost_what_leat_cannot_carry_is_not_offered(rig):
    rig.add("a")
    with Guest(rig.path("a"), start=False) as guest:
        offered = guest.negotiate()
        for bit in (vg.F_GUEST_UFO, vg.F_HOST_UFO, 9, 13, 26, 33, vg.F_PACKED):  # UFO, ECN, dirty log, IOMMU, packed rings
            assert not offered >> bit & 1, bit
        for bit in (vg.F_CSUM, vg.F_HOST_TSO4, vg.F_HOST_TSO6, vg.F_MRG_RXBUF, vg.F_INDIRECT, vg.F_MTU):
            assert offered >> bit & 1, bit


@pytest.mark.parametrize("version, start, gso", [(4, 34, 1), (6, 54, 4)])
def test_vhost_super_frame_and_checksum_request_travel_between_guests(rig, version, start, gso):
    pair(rig)
    features = BASE_FEATURES | OFFLOADS
    with Guest(rig.path("a"), features=features) as a, Guest(rig.path("b"), features=features) as b:
        rig.wait_up("a", "b")
        small, big = tcp_frame(100, version), tcp_frame(40000, version)
        a.send(small, vg.net_header(flags=1, csum_start=start, csum_offset=16))
        a.send(big, vg.net_header(flags=1, csum_start=start, csum_offset=16, gso_type=gso, gso_size=1440,
                                  hdr_len=start + 20))
        got = b.wait_frames(2)
        for header, data, sent in ((*got[0], small), (*got[1], big)):
            flags, _, _, _, csum_start, csum_offset = struct.unpack_from("<BBHHHH", header)
            assert (flags, csum_start, csum_offset) == (1, start, 16)
            assert len(data) == len(sent) and data[:start + 16] == sent[:start + 16]
        assert struct.unpack_from("<BHH", got[0][0], 1)[0] == 0
        assert struct.unpack_from("<BHH", got[1][0], 1) == (gso, start + 20, 1440)
        assert rig.stats("a")["rx_flagged"] == 2


# --- many ----------------------------------------------------------------------------------------------------------


def test_vhost_256_ports_at_once(rig):
    n = 256
    begin = time.monotonic()
    for i in range(n):
        rig.add(f"p{i}")
    added_s = time.monotonic() - begin
    for i in range(0, n, 2):
        rig.pair(f"p{i}", f"p{i + 1}")
    guests = [Guest(rig.path(f"p{i}"), size=16) for i in range(n)]
    try:
        rig.wait_up(*(f"p{i}" for i in range(n)))
        for i in range(0, n, 2):
            guests[i].send(frame(i))
        for i in range(0, n, 2):
            assert guests[i + 1].wait_frames(1)[0][1] == frame(i)
    finally:
        for guest in guests:
            guest.close()
    assert added_s < 10
    wait_for(lambda: not any(rig.is_up(f"p{i}") for i in range(n)), "all are down")


def test_vhost_add_without_descriptors_says_so_and_the_rest_works():
    with Rig(max_fds=256) as rig:
        added = 0
        with pytest.raises(RuntimeError, match="file descriptors run out.*limit is 256"):
            for added in range(256):
                rig.add(f"p{added}")
        assert added > 2
        rig.pair("p0", "p1")
        with Guest(rig.path("p0")) as a, Guest(rig.path("p1")) as b:
            rig.wait_up("p0", "p1")
            exchange(a, b)
        rig.command("del", "p0")
        rig.command("del", "p1")
        rig.add("q0")


def cpu_s(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("features", [BASE_FEATURES, BASE_FEATURES | 1 << vg.F_EVENT_IDX], ids=["flags", "event-idx"])
def test_vhost_idle_ports_cost_little_and_wake_up(rig, features):
    for i in range(8):
        rig.add(f"p{i}")
    rig.pair("p0", "p1")
    guests = [Guest(rig.path(f"p{i}"), features=features) for i in range(8)]
    rig.wait_up(*(f"p{i}" for i in range(8)))
    before, begin = cpu_s(rig.process.pid), time.monotonic()
    wait_for(lambda: time.monotonic() - begin > 1, "a second")
    used = (cpu_s(rig.process.pid) - before) / (time.monotonic() - begin)
    assert used < 0.05, f"{used:.1%} of a core"
    guests[0].send(frame(1))
    if features >> vg.F_EVENT_IDX & 1:
        os.eventfd_write(guests[0].rings[1].kick, 1)
    guests[1].wait_frames(1)
    for guest in guests:
        guest.close()


# --- DPDK's own virtio driver --------------------------------------------------------------------------------------


class PmdGuest:
    """dpdk-testpmd with virtio-user devices, forwarding between them: packets sent once go round and round."""

    def __init__(self, vdevs, queues=1):
        prefix = f"leat-vhost-pmd-{os.getpid()}-{time.monotonic_ns()}"
        args = ["dpdk-testpmd", "-l", "0,1", "--no-pci", "--in-memory", "--single-file-segments", "--socket-mem=128",
                f"--file-prefix={prefix}", "--no-telemetry"]
        for i, vdev in enumerate(vdevs):
            args.append(f"--vdev=net_virtio_user{i},{vdev},queues={queues},queue_size=256")
        args += ["--", "-i", "--total-num-mbufs=4096", f"--rxq={queues}", f"--txq={queues}", "--burst=32"
                 ]
        self.process = subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        text=True, bufsize=1)
        self.text = ""

    def command(self, line):
        self.process.stdin.write(line + "\n")

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def quit(self):
        self.command("stop")
        self.command("quit")
        text, _ = self.process.communicate(timeout=vg.DEADLINE_S)
        assert self.process.returncode == 0, text[-2000:]


def free_hugepages():
    with open("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", encoding="ascii") as file:
        return int(file.read())


needs_testpmd = pytest.mark.skipif(
    not any(os.access(os.path.join(d, "dpdk-testpmd"), os.X_OK) for d in os.environ["PATH"].split(":")) or
    not os.path.exists("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages") or free_hugepages() < 128,
    reason="needs dpdk-testpmd and 256 MiB of free hugepages")


@needs_testpmd
@pytest.mark.parametrize("options", ["mrg_rxbuf=1", "mrg_rxbuf=0", "mrg_rxbuf=1,packed_vq=1", "mrg_rxbuf=0,packed_vq=1",
                                     "mrg_rxbuf=1,in_order=1", "mrg_rxbuf=1,packed_vq=1,in_order=1"])
def test_vhost_testpmd_packets_go_round(rig, options):
    pair(rig)
    pmd = PmdGuest([f"path={rig.path(name)},{options}" for name in "ab"])
    try:
        rig.wait_up("a", "b")
        features = int(describe(rig, "a")["features"], 16)
        assert features >> vg.F_PACKED & 1 == 0, "a guest that could have packed rings gets split ones"
        if "in_order" in options:
            assert features >> 35 & 1 == 1, "VIRTIO_F_IN_ORDER"
        pmd.command("start tx_first 4")
        wait_for(lambda: min(rig.stats(n)["rx"] for n in "ab") > 20000, "packets in both directions")
        for name in "ab":
            assert set(rig.drops(name)) <= {"tx_full"}
        pmd.quit()
    finally:
        pmd.kill()
    rig.wait_down("a")


@needs_testpmd
def test_vhost_testpmd_two_queues(rig):
    pair(rig, queues=2)
    pmd = PmdGuest([f"path={rig.path(name)},mrg_rxbuf=1" for name in "ab"], queues=2)
    try:
        rig.wait_up("a", "b")
        wait_for(lambda: describe(rig, "a")["queues"] == "2/2", "both queues are enabled")
        pmd.command("start tx_first 4")
        wait_for(lambda: min(rig.stats(n)["rx"] for n in "ab") > 20000, "packets in both directions")
        pmd.quit()
    finally:
        pmd.kill()


@needs_testpmd
def test_vhost_testpmd_killed_comes_back(rig):
    pair(rig)
    for _ in range(2):
        pmd = PmdGuest([f"path={rig.path(name)},mrg_rxbuf=1" for name in "ab"])
        try:
            rig.wait_up("a", "b")
            before = rig.stats("a")["rx"]
            pmd.command("start tx_first 4")
            wait_for(lambda b=before: rig.stats("a")["rx"] > b + 5000, "packets")
        finally:
            pmd.kill()
        rig.wait_down("a")
        rig.wait_down("b")


@needs_testpmd
def test_vhost_testpmd_as_server_survives_the_rig(tmp_path):
    """leat as client: testpmd keeps its sockets, the rig is killed and started again, packets flow again."""
    folder = str(tmp_path)
    pmd = None
    try:
        for n in range(2):
            with Rig(folder=folder) as rig:
                for name in "ab":
                    rig.add(name, role="client")
                rig.pair("a", "b")
                pmd = pmd or PmdGuest([f"path={rig.path(name)},mrg_rxbuf=1,server=1" for name in "ab"])
                rig.wait_up("a", "b")
                pmd.command("stop")
                pmd.command("start tx_first 4")
                wait_for(lambda: min(rig.stats(name)["rx"] for name in "ab") > 5000, f"packets, round {n}")
                rig.process.send_signal(signal.SIGKILL)
                rig.process.wait()
                rig.quit = lambda: None
    finally:
        if pmd:
            pmd.kill()
