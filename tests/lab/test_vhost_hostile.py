# SPDX-License-Identifier: BSD-3-Clause
"""Guests that stall, lie and break things on a vhost port: they lose their own connection or packets; a healthy pair of
ports beside them carries every packet, and the process lives."""
import os
import socket
import struct
import time

import pytest

import vhost_guest as vg
from vhost_descs import BAD_DESCS
from vhost_guest import BASE_FEATURES, OFFLOADS, RIG, Channel, Guest, Rig, exchange, frame
from waiting import wait_for

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(not os.path.exists(RIG), reason="vhost_rig is not built"),
]


class Lab:
    """A rig with a healthy pair a-b and a port c for the hostile guest, which echoes."""

    def __init__(self, rig):
        self.rig = rig
        for name in "abc":
            rig.add(name)
        rig.pair("a", "b")
        rig.pair("c", "c")
        self.a, self.b = Guest(rig.path("a")), Guest(rig.path("b"))
        rig.wait_up("a", "b")
        self.path = rig.path("c")

    def check_healthy(self):
        """The pair works, and so does a newcomer's whole handshake."""
        assert self.rig.alive(), self.rig.log_text()[-3000:]
        exchange(self.a, self.b)
        for name in "ab":
            assert self.rig.drops(name) == {}

    def check_port_usable(self):
        """An honest guest can use port c (again)."""
        with Guest(self.path) as guest:
            self.rig.wait_up("c")
            got = wait_for(lambda: guest.send(frame(7)), "room") and guest.wait_frames(1)
            assert got[0][1] == frame(7)

    def guest(self, **kw):
        guest = Guest(self.path, **kw)
        self.rig.wait_up("c")
        return guest

    def describe(self):
        return dict(part.split("=", 1) for part in self.rig.describe("c").replace('"', "").split(" ") if "=" in part)

    def wait_quarantined(self, n=1):
        wait_for(lambda: int(self.describe()["quarantines"]) >= n, "port c is quarantined")


@pytest.fixture
def lab():
    with Rig() as rig:
        made = Lab(rig)
        yield made
        assert rig.alive(), rig.log_text()[-3000:]
        wait_for(lambda: rig.command("mbufs") == "0", "no mbuf is left in use")
        made.a.close()
        made.b.close()


# --- the control channel -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", [
    b"\x01\x00\x00\x00",
    vg.message(vg.GET_FEATURES)[:11],
    vg.message(vg.SET_FEATURES, bytes(8))[:12],
    vg.message(vg.SET_MEM_TABLE, struct.pack("<II", 1, 0) + bytes(32))[:30],
], ids=["header-4", "header-11", "no-payload", "half-payload"])
def test_vhost_stalled_message_delays_nobody_and_is_cut_off(lab, start):
    stalled = Channel(lab.path)
    stalled.sock.sendall(start)
    begin = time.monotonic()
    lab.check_healthy()
    lab.rig.add("d")
    lab.rig.pair("d", "d")
    with Guest(lab.rig.path("d")) as other:  # a whole handshake beside it
        lab.rig.wait_up("d")
        other.send(frame(1))
        other.wait_frames(1)
    assert time.monotonic() - begin < 1.5
    stalled.wait_closed()
    stalled.close()
    assert "stalled in the middle" in lab.rig.log_text()
    lab.check_port_usable()


REFUSED = {
    "oversized": struct.pack("<III", vg.SET_FEATURES, 1, 0xffffffff),
    "size-265": struct.pack("<III", vg.SET_MEM_TABLE, 1, 265),
    "wrong-size": vg.message(vg.SET_FEATURES, bytes(4)),
    "version-0": vg.message(vg.GET_FEATURES, flags=0),
    "version-3": vg.message(vg.GET_FEATURES, flags=3),
    "is-a-reply": vg.message(vg.GET_FEATURES, flags=5),
    "flag-unknown": vg.message(vg.GET_FEATURES, flags=0x11),
    "request-0": vg.message(0),
    "request-max": vg.message(0xffffffff),
    "log-base": vg.message(vg.SET_LOG_BASE, bytes(16)),
    "back-channel": vg.message(vg.SET_SLAVE_REQ_FD),
    "in-flight": vg.message(vg.GET_INFLIGHT_FD, bytes(24)),
    "features": vg.message(vg.SET_FEATURES, b"\xff" * 8),
    "protocol": vg.message(vg.SET_PROTOCOL_FEATURES, b"\xff" * 8),
    "vring-index": vg.message(vg.SET_VRING_NUM, struct.pack("<II", 2, 64)),
    "vring-index-max": vg.message(vg.SET_VRING_ENABLE, struct.pack("<II", 0xffffffff, 1)),
    "vring-num-0": vg.message(vg.SET_VRING_NUM, struct.pack("<II", 0, 0)),
    "vring-num-63": vg.message(vg.SET_VRING_NUM, struct.pack("<II", 0, 63)),
    "vring-num-max": vg.message(vg.SET_VRING_NUM, struct.pack("<II", 0, 0x80000000)),
    "kick-no-fd": vg.message(vg.SET_VRING_KICK, struct.pack("<Q", 1)),
    "kick-index": vg.message(vg.SET_VRING_KICK, struct.pack("<Q", 0x1ff)),
    "kick-bits": vg.message(vg.SET_VRING_KICK, struct.pack("<Q", 1 << 40)),
    "rarp": vg.message(vg.SEND_RARP, bytes(8)),
    "mem-0": vg.message(vg.SET_MEM_TABLE, struct.pack("<II", 0, 0)),
    "mem-count": vg.message(vg.SET_MEM_TABLE, struct.pack("<II", 8, 0) + bytes(32)),
    "mem-no-fd": vg.message(vg.SET_MEM_TABLE, struct.pack("<IIQQQQ", 1, 0, 0, 4096, 0, 0)),
    "mtu-1": vg.message(vg.NET_SET_MTU, struct.pack("<Q", 1)),
    "status": vg.message(vg.SET_STATUS, struct.pack("<Q", 0x100)),
    "noise": bytes(range(256)),
}


def test_vhost_refused_messages_end_the_connection_and_nothing_else(lab):
    for name, data in REFUSED.items():
        before = int(lab.describe()["refused"])
        channel = Channel(lab.path)
        channel.sock.sendall(data)
        wait_for(lambda b=before: int(lab.describe()["refused"]) > b, f"{name} is refused")
        channel.wait_closed()
        channel.close()
    lab.check_healthy()
    lab.check_port_usable()


def refused_with_fds(lab, request, payload, fds):
    channel = Channel(lab.path)
    before = int(lab.describe()["refused"])
    channel.send(request, payload, fds)
    wait_for(lambda: int(lab.describe()["refused"]) > before, "the message is refused")
    channel.close()


def test_vhost_memory_that_is_no_shared_memory_is_refused(lab, tmp_path):
    plain = tmp_path / "plain"
    plain.write_bytes(bytes(8192))
    table = struct.pack("<IIQQQQ", 1, 0, 0, 4096, 0, 0)
    opened = [os.open("/dev/zero", os.O_RDWR), os.open("/dev/null", os.O_RDWR), os.pipe()[0],
              os.open("/proc/self/maps", os.O_RDONLY), os.eventfd(0)]
    if os.statvfs(tmp_path).f_fsid != os.statvfs("/dev/shm").f_fsid:
        opened.append(os.open(plain, os.O_RDWR))
    for fd in opened:
        refused_with_fds(lab, vg.SET_MEM_TABLE, table, [fd])
        os.close(fd)
    lab.check_healthy()
    lab.check_port_usable()


@pytest.mark.parametrize("size, offset", [(8192, 0), (4096, 4096), (1 << 63, 0), (4096, 1 << 63),
                                          ((1 << 64) - 4096, 4096), (4097, 0)])
def test_vhost_memory_region_beyond_its_file_is_refused(lab, size, offset):
    fd = os.memfd_create("short")
    os.ftruncate(fd, 4096)
    refused_with_fds(lab, vg.SET_MEM_TABLE, struct.pack("<IIQQQQ", 1, 0, 0, size, 0, offset), [fd])
    os.close(fd)
    lab.check_healthy()


def test_vhost_overlapping_regions_are_refused(lab):
    fd = os.memfd_create("twice")
    os.ftruncate(fd, 16384)
    regions = struct.pack("<QQQQ", 0, 8192, 0, 0) + struct.pack("<QQQQ", 4096, 8192, 0x100000, 8192)
    refused_with_fds(lab, vg.SET_MEM_TABLE, struct.pack("<II", 2, 0) + regions, [fd, fd])
    os.close(fd)


def test_vhost_queue_descriptor_that_is_no_eventfd_is_refused(lab):
    left, right = socket.socketpair()
    reader, writer = os.pipe()
    for request in (vg.SET_VRING_KICK, vg.SET_VRING_CALL):
        for fd in (left.fileno(), writer, reader):
            refused_with_fds(lab, request, struct.pack("<Q", 1), [fd])
    for n in (2, 8, 16, 100):
        refused_with_fds(lab, vg.SET_VRING_CALL, struct.pack("<Q", 1), [writer] * n)
    left.close()
    right.close()
    os.close(reader)
    os.close(writer)
    lab.check_healthy()
    lab.check_port_usable()


def test_vhost_guest_that_reads_no_replies_stops_only_itself(lab):
    greedy = Channel(lab.path)
    greedy.sock.settimeout(0.3)
    sent = 0
    try:
        for _ in range(200000):
            greedy.sock.sendall(vg.message(vg.GET_FEATURES) * 50)
            sent += 50
    except (TimeoutError, BrokenPipeError):
        pass
    assert sent < 200000 * 50, "leat stopped reading"
    lab.check_healthy()
    greedy.close()
    lab.check_port_usable()


def test_vhost_guests_that_come_and_go_in_a_loop_disturb_nobody(lab):
    end = time.monotonic() + 1
    while time.monotonic() < end:
        channel = Channel(lab.path)
        channel.sock.sendall(vg.message(vg.GET_FEATURES))
        channel.close()
    lab.check_healthy()
    wait_for(lambda: lab.describe()["connected"] == "no", "the last one is gone")
    lab.check_port_usable()


def test_vhost_flood_of_memory_tables_leaves_others_their_speed(lab):
    guest = lab.guest()
    guest.channel.sock.settimeout(0.2)
    other = os.memfd_create("other")
    os.ftruncate(other, guest.bytes)
    end = time.monotonic() + 1
    n = 0
    while time.monotonic() < end:
        try:
            guest.channel.send(vg.SET_MEM_TABLE, guest.mem_payload(), [guest.memfd if n % 2 else other])
            n += 1
        except TimeoutError:
            pass
    lab.check_healthy()
    guest.close()
    os.close(other)
    lab.rig.wait_down("c")
    lab.check_port_usable()


def test_vhost_stop_and_reset_in_the_middle_of_traffic(lab):
    guest = lab.guest()
    for i in range(20):
        guest.send(frame(i))
    guest.channel.send(vg.SET_VRING_ENABLE, struct.pack("<II", 1, 0))
    guest.channel.ask(vg.GET_VRING_BASE, struct.pack("<II", 1, 0))
    lab.rig.wait_down("c")
    guest.channel.send(vg.RESET_OWNER)
    guest.channel.ask(vg.GET_FEATURES)
    lab.check_healthy()
    guest.close()
    lab.check_port_usable()


def test_vhost_start_and_stop_in_a_loop_fills_no_log(lab):
    guest = lab.guest()
    end = time.monotonic() + 1
    n = 0
    while time.monotonic() < end:
        guest.channel.ask(vg.GET_VRING_BASE, struct.pack("<II", 1, 0))
        guest.start_ring(guest.rings[1])
        n += 1
    assert n > 30
    lab.check_healthy()
    assert lab.rig.log_text().count("port c: ") < 60
    guest.close()
    lab.rig.wait_down("c")
    lab.check_port_usable()


def test_vhost_rings_outside_memory_are_not_used(lab):
    guest = Guest(lab.path, start=False)
    guest.negotiate()
    guest.set_memory()
    for ring in guest.rings:
        i = ring.index
        guest.channel.send(vg.SET_VRING_NUM, struct.pack("<II", i, ring.size))
        guest.channel.send(vg.SET_VRING_ADDR, struct.pack("<IIQQQQ", i, 0, guest.user_base + guest.bytes - 8, 0,
                                                           1 << 63, 0))
        guest.channel.send(vg.SET_VRING_KICK, struct.pack("<Q", i), [ring.kick])
        guest.channel.send(vg.SET_VRING_CALL, struct.pack("<Q", i), [ring.call])
        guest.channel.send(vg.SET_VRING_ENABLE, struct.pack("<II", i, 1))
    try:
        guest.channel.ask(vg.GET_FEATURES)
    except ConnectionResetError:
        pass
    assert not lab.rig.is_up("c")
    lab.check_healthy()
    guest.close()
    lab.check_port_usable()


def test_vhost_link_to_another_pods_socket_is_not_followed(lab):
    lab.rig.add("d", role="client")
    os.symlink(lab.path, lab.rig.path("d"))
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(lab.rig.path("e"))
    listener.listen(1)
    listener.settimeout(vg.DEADLINE_S)
    lab.rig.add("e", role="client")
    sock, _ = listener.accept()
    with Guest(sock=sock):
        lab.rig.wait_up("e")  # so the link was looked at, too
    assert "connects=0" in lab.rig.describe("d")
    listener.close()
    lab.check_healthy()
    lab.check_port_usable()


# --- memory --------------------------------------------------------------------------------------------------------


def free_hugepages():
    with open("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", encoding="ascii") as file:
        return int(file.read())


@pytest.mark.parametrize("flags", [0, os.MFD_HUGETLB | os.MFD_HUGE_2MB], ids=["pages", "hugepages"])
def test_vhost_memory_truncated_while_running_quarantines_one_port(lab, flags):
    if flags and free_hugepages() < 4:
        pytest.skip("needs 8 MiB of free hugepages")
    guest = lab.guest(flags=flags)
    guest.send(frame(1))
    guest.wait_frames(1)
    os.ftruncate(guest.memfd, 0)
    os.eventfd_write(guest.rings[1].kick, 1)  # have the worker look
    lab.wait_quarantined()
    lab.rig.wait_down("c")
    guest.channel.wait_closed()
    assert lab.describe()["quarantined"] == "yes"
    assert "guest memory vanished" in lab.rig.log_text()
    lab.check_healthy()
    guest.channel.close()
    lab.check_port_usable()
    assert lab.describe()["quarantined"] == "no"


def test_vhost_memory_truncated_behind_the_rings_quarantines_one_port(lab):
    """Rings stay, buffers vanish: the fault is in the copy of a packet, in both directions."""
    for odd in (1, 0):
        guest = lab.guest()
        quarantines = int(lab.describe()["quarantines"])
        if odd:
            guest.send(frame(1), publish=False)
            os.ftruncate(guest.memfd, guest.buf_base)
            guest.rings[1].publish()
        else:
            os.ftruncate(guest.memfd, guest.buf_base)
            ring = guest.rings[1]
            ring.set_desc(0, guest.guest_base + guest.buf_base - 256, 128)
            ring.set_avail(0)
            ring.publish()
        lab.wait_quarantined(quarantines + 1)
        guest.channel.close()
        lab.check_healthy()
    lab.check_port_usable()


def test_vhost_memory_truncated_with_nobody_looking_hurts_at_no_time(lab):
    """Truncated between the memory table and the start of the rings: librte_vhost's own thread is the one that faults."""
    guest = Guest(lab.path, start=False)
    guest.negotiate()
    guest.set_memory()
    guest.channel.ask(vg.GET_FEATURES)
    os.ftruncate(guest.memfd, 0)
    try:
        for ring in guest.rings:
            guest.start_ring(ring)
    except BrokenPipeError:
        pass
    lab.wait_quarantined()
    lab.check_healthy()
    guest.channel.close()
    lab.check_port_usable()


def test_vhost_memory_that_can_be_sealed_cannot_be_truncated(lab):
    guest = lab.guest(flags=os.MFD_ALLOW_SEALING)
    guest.send(frame(1))
    guest.wait_frames(1)
    with pytest.raises(PermissionError):
        os.ftruncate(guest.memfd, 0)
    lab.check_healthy()
    guest.close()


def test_vhost_two_ports_of_one_truncated_memory_both_go(lab):
    lab.rig.add("d")
    lab.rig.pair("d", "d")
    guest = lab.guest()
    second = Guest(lab.rig.path("d"), start=False)
    os.dup2(guest.memfd, second.memfd)
    second.negotiate()
    second.set_memory()
    second.channel.ask(vg.GET_FEATURES)
    os.ftruncate(guest.memfd, 0)
    os.eventfd_write(guest.rings[1].kick, 1)
    lab.wait_quarantined()
    wait_for(lambda: "quarantines=1" in lab.rig.describe("d"), "the other port that maps the file")
    lab.check_healthy()
    guest.channel.close()
    second.channel.close()


def test_vhost_faults_again_and_again_make_the_guest_wait_longer(lab):
    waits = []
    for n in range(3):
        begin = time.monotonic()
        guest = lab.guest()
        waits.append(time.monotonic() - begin)
        os.ftruncate(guest.memfd, 0)
        os.eventfd_write(guest.rings[1].kick, 1)
        lab.wait_quarantined(n + 1)
        guest.channel.close()
    assert waits[1] > 0.7 and waits[2] > 1.7
    lab.check_healthy()


def test_vhost_memory_table_changed_in_the_middle_of_traffic(lab):
    """The same memory through a second file descriptor and a longer region, as memory hot-plug does."""
    guest = lab.guest()
    for n in range(8):
        os.ftruncate(guest.memfd, guest.bytes + 4096 * (n + 1))
        guest.send(frame(n))
        guest.set_memory(size=guest.bytes + 4096 * (n + 1))
        guest.channel.ask(vg.GET_FEATURES)
        wait_for(lambda: lab.rig.is_up("c"), "up after the change")
    got = guest.wait_frames(8)
    assert [f for _, f in got] == [frame(n) for n in range(8)]
    lab.check_healthy()
    guest.close()


# --- descriptors ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spoil", BAD_DESCS, ids=lambda f: f.__name__)
def test_vhost_bad_descriptor_is_counted_and_stalls_nobody(lab, spoil):
    guest = lab.guest(features=BASE_FEATURES | 1 << vg.F_INDIRECT)
    ring = guest.rings[1]
    for _ in range(20):
        spoil(guest, ring)
    ring.publish()
    lab.check_healthy()
    wait_for(lambda: lab.rig.drops("c").get("guest_desc", 0) > 0 or
             lab.rig.stats("c")["rx"] + sum(lab.rig.drops("c").values()) >= 20, "packets or drops are counted")
    guest.channel.close()
    lab.rig.wait_down("c")
    lab.check_port_usable()


@pytest.mark.parametrize("spoil", BAD_DESCS, ids=lambda f: f.__name__)
def test_vhost_bad_receive_buffer_stalls_nobody(lab, spoil):
    """The same descriptors where leat has to write."""
    lab.rig.add("d")
    lab.rig.pair("c", "d")
    with Guest(lab.path, features=BASE_FEATURES | 1 << vg.F_INDIRECT, start=False) as bad, \
            Guest(lab.rig.path("d")) as source:
        bad.negotiate()
        bad.set_memory()
        for ring in bad.rings:
            bad.start_ring(ring)
        for _ in range(20):
            spoil(bad, bad.rings[0])
        bad.rings[0].publish()
        lab.rig.wait_up("c", "d")
        for i in range(40):
            wait_for(lambda n=i: source.send(frame(n)), "room in the ring")
        wait_for(lambda: lab.rig.stats("d")["rx"] >= 40 or not lab.rig.is_up("c"), "all are taken")
        lab.check_healthy()


@pytest.mark.parametrize("jump", [65, 1000, 32768, 65535])
def test_vhost_avail_index_that_jumps_stalls_nobody(lab, jump):
    guest = lab.guest()
    guest.rings[1].publish(idx=jump)
    lab.check_healthy()
    guest.channel.close()
    lab.rig.wait_down("c")
    lab.check_port_usable()


def test_vhost_indexes_that_move_all_the_time_stall_nobody(lab):
    guest = lab.guest()
    end = time.monotonic() + 0.5
    noise = os.urandom(vg.RING_AREA)
    while time.monotonic() < end:
        guest.write(guest.rings[1].base, noise)
        guest.write(guest.rings[0].avail, noise[:256])
        os.eventfd_write(guest.rings[1].kick, 1)
    lab.check_healthy()
    guest.channel.close()
    wait_for(lambda: lab.describe()["connected"] == "no", "the guest is gone")
    lab.check_port_usable()


def test_vhost_frame_of_megabytes_is_dropped_and_quarantined(lab):
    guest = lab.guest()
    ring = guest.rings[1]
    ring.set_desc(0, guest.guest_base, guest.bytes)
    for _ in range(8):
        ring.set_avail(0)
    ring.publish()
    lab.wait_quarantined()
    assert lab.rig.drops("c")["guest_desc"] >= 1
    lab.check_healthy()
    guest.channel.close()
    lab.check_port_usable()
    assert lab.describe()["quarantines"] == "1"  # one a connection, however much was wrong


def test_vhost_call_descriptor_made_blocking_does_not_hold_the_worker(lab):
    guest = lab.guest()
    call = guest.rings[1].call
    os.set_blocking(call, True)
    os.eventfd_write(call, 0xfffffffffffffffe)
    guest.send(frame(1))  # leat would block telling us
    lab.wait_quarantined()
    lab.check_healthy()
    assert "blocking notification descriptor" in lab.rig.log_text()
    guest.channel.close()
    lab.check_port_usable()


# --- virtio-net headers --------------------------------------------------------------------------------------------

BAD_HEADERS = {
    "csum-start-far": vg.net_header(flags=1, csum_start=0xffff, csum_offset=0xffff),
    "csum-start-0": vg.net_header(flags=1, csum_start=0, csum_offset=0),
    "csum-offset": vg.net_header(flags=1, csum_start=34, csum_offset=60000),
    "gso-no-csum": vg.net_header(gso_type=1, gso_size=1000),
    "gso-size-0": vg.net_header(flags=1, csum_start=34, csum_offset=16, gso_type=1, gso_size=0),
    "gso-size-1": vg.net_header(flags=1, csum_start=34, csum_offset=16, gso_type=1, gso_size=1),
    "gso-ufo": vg.net_header(flags=1, csum_start=34, csum_offset=16, gso_type=3, gso_size=1000),
    "gso-uso": vg.net_header(flags=1, csum_start=34, csum_offset=16, gso_type=5, gso_size=1000),
    "gso-v6-for-v4": vg.net_header(flags=1, csum_start=34, csum_offset=16, gso_type=4, gso_size=1000),
    "gso-type-ff": vg.net_header(flags=0xff, csum_start=34, csum_offset=16, gso_type=0xff, gso_size=0xffff, hdr_len=0xffff),
    "hdr-len": vg.net_header(flags=1, csum_start=34, csum_offset=16, hdr_len=0xffff),
}


@pytest.mark.parametrize("name", BAD_HEADERS)
def test_vhost_nonsense_in_net_header_never_reaches_the_pipeline(lab, name):
    """Either a counted drop, or the plain frame without an offload."""
    guest = lab.guest(features=BASE_FEATURES | OFFLOADS)
    for length in (0, 20, 3000):
        for sent in (vg.tcp_frame(length), frame(0, 18 + length), vg.tcp_frame(length, version=6)):
            wait_for(lambda f=sent: guest.send(f, BAD_HEADERS[name]), "room in the ring")
    wait_for(lambda: lab.rig.stats("c")["rx"] + sum(lab.rig.drops("c").values()) >= 9, "all are judged")
    for header, got in guest.receive():
        if header[0] & 1:  # still unfinished: then truly where it says
            start, offset = struct.unpack_from("<HH", header, 6)
            assert (start, offset) in ((34, 16), (54, 16)) and len(got) >= start + 20
            gso_type, _, gso_size = struct.unpack_from("<BHH", header, 1)
            assert gso_type == 0 or gso_size >= 64
    lab.check_healthy()
    guest.close()
