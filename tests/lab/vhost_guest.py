# SPDX-License-Identifier: BSD-3-Clause
"""A vhost-user guest in Python: both an honest one (split rings, one or more queue pairs) and the parts to build dishonest ones
from. Also the rig (vhost_rig.c) that plays leat's side without the daemon."""
import array
import ctypes
import json
import mmap
import os
import resource
import select
import shutil
import socket
import struct
import subprocess
import tempfile
import uuid

from waiting import DEADLINE_S, wait_for

BUILD = os.environ.get("LEAT_BUILD", os.path.join(os.path.dirname(__file__), "..", "..", "build"))
RIG = os.path.join(BUILD, "tests", "lab", "vhost_rig")

(GET_FEATURES, SET_FEATURES, SET_OWNER, RESET_OWNER, SET_MEM_TABLE) = range(1, 6)
(SET_LOG_BASE, SET_LOG_FD, SET_VRING_NUM, SET_VRING_ADDR, SET_VRING_BASE, GET_VRING_BASE) = range(6, 12)
(SET_VRING_KICK, SET_VRING_CALL, SET_VRING_ERR, GET_PROTOCOL_FEATURES, SET_PROTOCOL_FEATURES) = range(12, 17)
(GET_QUEUE_NUM, SET_VRING_ENABLE, SEND_RARP, NET_SET_MTU, SET_SLAVE_REQ_FD) = range(17, 22)
GET_INFLIGHT_FD = 31
SET_STATUS, GET_STATUS = 39, 40
VERSION, NEED_REPLY = 1, 8

F_CSUM, F_GUEST_CSUM, F_MTU, F_GUEST_TSO4, F_GUEST_TSO6, F_GUEST_UFO = 0, 1, 3, 7, 8, 10
F_HOST_TSO4, F_HOST_TSO6, F_HOST_UFO, F_MRG_RXBUF = 11, 12, 14, 15
F_INDIRECT, F_EVENT_IDX, F_PROTOCOL, F_VERSION_1, F_PACKED = 28, 29, 30, 32, 34
PF_MQ, PF_REPLY_ACK, PF_MTU = 0, 3, 4

BASE_FEATURES = 1 << F_VERSION_1 | 1 << F_MRG_RXBUF | 1 << F_PROTOCOL
OFFLOADS = sum(1 << f for f in (F_CSUM, F_GUEST_CSUM, F_GUEST_TSO4, F_GUEST_TSO6, F_HOST_TSO4, F_HOST_TSO6))
DESC_NEXT, DESC_WRITE, DESC_INDIRECT = 1, 2, 4
HDR_LEN = 12
MEM_BYTES = 4 << 20
RING_AREA = 0x10000  # bytes of rings a queue
BUF_BYTES = 2048

libc = ctypes.CDLL(None, use_errno=True)


class Rig:
    """One process of vhost_rig with a folder for sockets. A context manager: leaves nothing behind."""

    def __init__(self, workers=1, folder=None, max_fds=None):
        self.own_folder = folder is None
        self.folder = folder or tempfile.mkdtemp(prefix="leat-vhost-test-")
        self.log = open(os.path.join(self.folder, "rig.log"), "ab")
        self.process = subprocess.Popen([RIG, "vhost-" + uuid.uuid4().hex[:8], str(workers)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=self.log, text=True, bufsize=1,
                                        preexec_fn=max_fds and (lambda: resource.setrlimit(resource.RLIMIT_NOFILE,
                                                                                           (max_fds, max_fds))))
        line = self.process.stdout.readline()
        assert line == "ready\n", line + self.log_text()

    def log_text(self):
        with open(os.path.join(self.folder, "rig.log"), errors="replace") as file:
            return file.read()

    def path(self, name):
        return os.path.join(self.folder, name + ".sock")

    def command(self, *words):
        self.process.stdin.write(" ".join(str(w) for w in words) + "\n")
        status, _, rest = self.process.stdout.readline().strip().partition(" ")
        if status != "ok":
            raise RuntimeError(rest or "the rig died: " + self.log_text()[-2000:])
        return rest

    def add(self, name, role="server", queues=1, path=None):
        self.command("add", name, path or self.path(name), role, queues)

    def pair(self, a, b):
        self.command("peer", a, b)

    def stats(self, name):
        return json.loads(self.command("stats", name))

    def describe(self, name):
        return self.command("describe", name)

    def drops(self, name):
        return self.stats(name)["drops"]

    def is_up(self, name):
        return self.stats(name)["up"]

    def wait_up(self, *names):
        for name in names:
            wait_for(lambda n=name: self.is_up(n), f"port {name} is up")

    def wait_down(self, name):
        wait_for(lambda: not self.is_up(name), f"port {name} is down")

    def alive(self):
        return self.process.poll() is None

    def kill(self):
        self.process.kill()
        self.process.wait()

    def quit(self):
        assert self.alive(), f"the rig ended with {self.process.returncode}: {self.log_text()[-3000:]}"
        self.process.stdin.write("quit\n")
        assert self.process.stdout.readline() == "bye\n", self.log_text()[-3000:]
        assert self.process.wait(DEADLINE_S) == 0

    def close(self):
        for pipe in (self.process.stdin, self.process.stdout, self.log):
            pipe.close()
        if self.own_folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        try:
            if kind is None:
                self.quit()
            else:
                self.kill()
        finally:
            self.close()


def message(request, payload=b"", flags=VERSION):
    return struct.pack("<III", request, flags, len(payload)) + payload


class Channel:
    """The bare socket of a guest."""

    def __init__(self, path, sock=None):
        if sock is None:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            sock.connect(path)
        self.sock = sock
        self.sock.settimeout(DEADLINE_S)

    def send(self, request, payload=b"", fds=(), flags=VERSION):
        control = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        self.sock.sendmsg([message(request, payload, flags)], control)

    def recv_exact(self, n):
        data = b""
        while len(data) < n:
            part = self.sock.recv(n - len(data))
            if not part:
                raise ConnectionResetError("closed by leat")
            data += part
        return data

    def ask(self, request, payload=b"", flags=VERSION):
        self.send(request, payload, flags=flags)
        return self.reply()

    def reply(self):
        request, flags, size = struct.unpack("<III", self.recv_exact(12))
        assert flags & 4, "a reply"
        return self.recv_exact(size)

    def is_closed(self):
        """Whether the other side has closed, looking only."""
        readable, _, _ = select.select([self.sock], [], [], 0)
        if not readable:
            return False
        try:
            return self.sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except ConnectionResetError:
            return True

    def wait_closed(self):
        wait_for(self.is_closed, "leat closes the connection")

    def close(self):
        self.sock.close()


class Ring:
    """A split ring in guest memory; even index: guest receives, odd: guest sends."""

    def __init__(self, guest, index, size):
        self.guest, self.index, self.size = guest, index, size
        self.base = index * RING_AREA
        self.desc, self.avail, self.used = self.base, self.base + 0x8000, self.base + 0xc000
        self.indirect = self.base + 0x4000
        self.bufs = guest.buf_base + index * size * BUF_BYTES
        self.avail_idx = self.used_seen = 0
        self.kick = os.eventfd(0, os.EFD_NONBLOCK)
        self.call = os.eventfd(0, os.EFD_NONBLOCK)
        self.free = list(range(size))

    def buf(self, i):
        return self.bufs + i * BUF_BYTES

    def set_desc(self, i, addr, length, flags=0, following=0):
        self.guest.write(self.desc + 16 * i, struct.pack("<QIHH", addr, length, flags, following))

    def set_avail(self, head):
        self.guest.write(self.avail + 4 + 2 * (self.avail_idx % self.size), struct.pack("<H", head))
        self.avail_idx = (self.avail_idx + 1) & 0xffff

    def publish(self, idx=None):
        self.guest.write(self.avail + 2, struct.pack("<H", self.avail_idx if idx is None else idx))
        if not struct.unpack("<H", self.guest.read(self.used, 2))[0] & 1:
            os.eventfd_write(self.kick, 1)

    def collect(self):
        """Used entries since the last call: (head, bytes)."""
        done = []
        used_idx = struct.unpack("<H", self.guest.read(self.used + 2, 2))[0]
        while self.used_seen != used_idx:
            done.append(struct.unpack("<II", self.guest.read(self.used + 4 + 8 * (self.used_seen % self.size), 8)))
            self.used_seen = (self.used_seen + 1) & 0xffff
        return done

    def close(self):
        os.close(self.kick)
        os.close(self.call)


class Guest:
    """An honest guest with split rings. Steps can be left out or replaced to build a dishonest one."""

    def __init__(self, path=None, queues=1, size=64, features=BASE_FEATURES, start=True, sock=None, flags=0, mtu=0):
        self.channel = Channel(path, sock)
        self.features, self.queues, self.size, self.mtu = features, queues, size, mtu
        self.user_base, self.guest_base = 0x7f0000000000, 0x100000000
        self.buf_base = 2 * queues * RING_AREA
        self.bytes = max(MEM_BYTES, self.buf_base + 2 * queues * size * BUF_BYTES)
        self.memfd = os.memfd_create("guest", flags)
        os.ftruncate(self.memfd, self.bytes)
        self.mem = mmap.mmap(self.memfd, self.bytes)
        self.rings = [Ring(self, i, size) for i in range(2 * queues)]
        if start:
            self.negotiate()
            self.set_memory()
            self.start_rings()

    def write(self, offset, data):
        self.mem[offset:offset + len(data)] = data

    def read(self, offset, n):
        return self.mem[offset:offset + n]

    def negotiate(self):
        offered = struct.unpack("<Q", self.channel.ask(GET_FEATURES))[0]
        self.features &= offered
        protocol = struct.unpack("<Q", self.channel.ask(GET_PROTOCOL_FEATURES))[0]
        self.protocol = protocol & (1 << PF_MQ | 1 << PF_REPLY_ACK | 1 << PF_MTU)
        self.channel.send(SET_PROTOCOL_FEATURES, struct.pack("<Q", self.protocol))
        self.max_queues = struct.unpack("<Q", self.channel.ask(GET_QUEUE_NUM))[0]
        self.channel.send(SET_OWNER)
        self.channel.send(SET_FEATURES, struct.pack("<Q", self.features))
        if self.mtu:
            self.channel.send(NET_SET_MTU, struct.pack("<Q", self.mtu))
        return offered

    def mem_payload(self, size=None, offset=0, n=1):
        region = struct.pack("<QQQQ", self.guest_base, size or self.bytes, self.user_base, offset)
        return struct.pack("<II", n, 0) + region * n

    def set_memory(self, **kw):
        self.channel.send(SET_MEM_TABLE, self.mem_payload(**kw), [self.memfd])

    def start_ring(self, ring, base=0, enable=True):
        i = ring.index
        send = self.channel.send
        send(SET_VRING_NUM, struct.pack("<II", i, ring.size))
        send(SET_VRING_BASE, struct.pack("<II", i, base))
        send(SET_VRING_ADDR, struct.pack("<IIQQQQ", i, 0, self.user_base + ring.desc, self.user_base + ring.used,
                                         self.user_base + ring.avail, 0))
        send(SET_VRING_KICK, struct.pack("<Q", i), [ring.kick])
        send(SET_VRING_CALL, struct.pack("<Q", i), [ring.call])
        if enable:
            send(SET_VRING_ENABLE, struct.pack("<II", i, 1))

    def start_rings(self):
        for ring in self.rings:
            self.start_ring(ring)
            if ring.index % 2 == 0:
                self.refill(ring)

    def refill(self, ring):
        while ring.free:
            i = ring.free.pop()
            ring.set_desc(i, self.guest_base + ring.buf(i), BUF_BYTES, DESC_WRITE)
            ring.set_avail(i)
        ring.publish()

    def send(self, frame, header=bytes(HDR_LEN), queue=0, publish=True):
        """Sends a frame, in as many chained descriptors as it takes; False if the ring is full."""
        ring = self.rings[2 * queue + 1]
        self.reclaim(ring)
        data = header + frame
        parts = [data[i:i + BUF_BYTES] for i in range(0, len(data), BUF_BYTES)]
        if len(ring.free) < len(parts):
            return False
        ids = [ring.free.pop() for _ in parts]
        for n, part in enumerate(parts):
            self.write(ring.buf(ids[n]), part)
            is_last = n == len(parts) - 1
            ring.set_desc(ids[n], self.guest_base + ring.buf(ids[n]), len(part), 0 if is_last else DESC_NEXT,
                          0 if is_last else ids[n + 1])
        ring.chains = getattr(ring, "chains", {})
        ring.chains[ids[0]] = ids
        ring.set_avail(ids[0])
        if publish:
            ring.publish()
        return True

    def send_indirect(self, frame, pieces, queue=0):
        """Sends a frame as one indirect descriptor of several pieces."""
        ring = self.rings[2 * queue + 1]
        self.reclaim(ring)
        data = bytes(HDR_LEN) + frame
        i = ring.free.pop()
        self.write(ring.buf(i), data)
        step = -(-len(data) // pieces)
        for n in range(pieces):
            is_last = n == pieces - 1
            part = min(step, len(data) - n * step)
            self.write(ring.indirect + 16 * n, struct.pack(
                "<QIHH", self.guest_base + ring.buf(i) + n * step, part, 0 if is_last else DESC_NEXT, n + 1))
        ring.set_desc(i, self.guest_base + ring.indirect, 16 * pieces, DESC_INDIRECT)
        ring.chains = getattr(ring, "chains", {})
        ring.chains[i] = [i]
        ring.set_avail(i)
        ring.publish()

    def reclaim(self, ring):
        for head, _ in ring.collect():
            ring.free += getattr(ring, "chains", {}).pop(head, [])

    def receive(self):
        """Frames that have come on all queues, as (header, frame)."""
        frames = []
        for ring in self.rings[::2]:
            buffers = 0
            for head, length in ring.collect():
                data = bytes(self.read(ring.buf(head), min(length, BUF_BYTES)))
                ring.free.append(head)
                if buffers == 0:
                    header, frame = data[:HDR_LEN], data[HDR_LEN:]
                    buffers = struct.unpack_from("<H", header, 10)[0] if self.features >> F_MRG_RXBUF & 1 else 1
                else:
                    frame += data
                buffers -= 1
                if buffers == 0:
                    frames.append((header, frame))
            self.refill(ring)
        return frames

    def wait_frames(self, n):
        frames = []

        def enough():
            frames.extend(self.receive())
            return len(frames) >= n
        wait_for(enough, f"{n} frames at the guest")
        return frames

    def close(self):
        self.channel.close()
        for ring in self.rings:
            ring.close()
        self.mem.close()
        os.close(self.memfd)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def frame(n=0, length=64):
    """A frame that is no IP, of this length, that can be told from others."""
    return struct.pack(">6s6sHI", b"\x02\0\0\0\0\x01", b"\x02\0\0\0\0\x02", 0x88b5, n) + bytes(length - 18)


def tcp_frame(payload, version=4):
    """Ethernet, IPv4 or IPv6, TCP with nothing but lengths in it."""
    tcp = struct.pack(">HHIIBBHHH", 1, 2, 0, 0, 0x50, 0x10, 1000, 0, 0) + bytes(payload)
    if version == 4:
        ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), 0, 0, 64, 6, 0, bytes([10, 0, 0, 1]),
                         bytes([10, 0, 0, 2]))
        ethertype = 0x0800
    else:
        ip = struct.pack(">IHBB16s16s", 6 << 28, len(tcp), 6, 64, bytes(16), bytes(16))
        ethertype = 0x86dd
    return b"\x02\0\0\0\0\x01\x02\0\0\0\0\x02" + struct.pack(">H", ethertype) + ip + tcp


def net_header(flags=0, gso_type=0, hdr_len=0, gso_size=0, csum_start=0, csum_offset=0):
    return struct.pack("<BBHHHHH", flags, gso_type, hdr_len, gso_size, csum_start, csum_offset, 0)


def exchange(a, b, n=20):
    """n frames each way between two guests, none lost, in order."""
    for source, sink in ((a, b), (b, a)):
        for begin in range(0, n, 20):
            sent = [frame(i) for i in range(begin, min(begin + 20, n))]
            for one in sent:
                wait_for(lambda f=one, s=source: s.send(f), "room in the ring")
            assert [f for _, f in sink.wait_frames(len(sent))] == sent
