# SPDX-License-Identifier: BSD-3-Clause
"""Traffic that never stops: one UDP echo after the other, each answered before the next is sent, and what was lost of it."""
import ctypes
import os
import select
import socket
import threading
import time

CLONE_NEWNET = 0x40000000
ANSWER_S = 20  # an echo that takes longer is lost
PORT = 7

libc = ctypes.CDLL(None, use_errno=True)


def socket_in(netns_path, family):
    """A UDP socket of another network namespace; a thread of its own enters it and ends."""
    made = []

    def enter():
        fd = os.open(netns_path, os.O_RDONLY)
        if libc.setns(fd, CLONE_NEWNET) == 0:
            made.append(socket.socket(family, socket.SOCK_DGRAM))
        os.close(fd)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert made, f"no socket in {netns_path}"
    made[0].setblocking(False)
    return made[0]


class Echo:
    """A socket that asks in one namespace and one that answers in another."""

    def __init__(self, client_ns, server_ns, address):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.target = (address, PORT)
        self.server = socket_in(server_ns.path, family)
        self.client = socket_in(client_ns.path, family)
        self.server.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", PORT))
        self.number = 0

    def once(self, deadline_s=ANSWER_S):
        """Whether one question was answered in time."""
        self.number += 1
        question = self.number.to_bytes(8, "big")
        end = time.monotonic() + deadline_s
        try:
            self.client.sendto(question, self.target)
        except OSError:  # the device is down or has gone
            select.select([], [], [], min(deadline_s, 0.05))
            return False
        while (left := end - time.monotonic()) > 0:
            for sock in select.select([self.client, self.server], [], [], left)[0]:
                try:
                    data, sender = sock.recvfrom(64)
                    if sock is self.client and data == question:
                        return True
                    if sock is self.server:
                        sock.sendto(data, sender)
                except OSError:
                    pass  # an ICMP error of an earlier question
        return False

    def close(self):
        self.client.close()
        self.server.close()


class Flow(threading.Thread):
    """Echoes all the time between two pods. May be paused, so that counters can be read at rest."""

    def __init__(self, name, client_ns, server_ns, address):
        super().__init__(name=name, daemon=True)
        self.echo = Echo(client_ns, server_ns, address)
        self.n_answered = self.n_lost = self.n_lost_in_kills = 0
        self.kills = 0  # odd: one is going on
        self.is_stopping = False
        self.running, self.resting = threading.Event(), threading.Event()
        self.running.set()

    def run(self):
        while not self.is_stopping:
            if not self.running.is_set():
                self.resting.set()
                self.running.wait()
                self.resting.clear()
                continue
            kills = self.kills
            if self.echo.once():
                self.n_answered += 1
            elif kills % 2 == 1 or kills != self.kills:
                self.n_lost_in_kills += 1
            else:
                self.n_lost += 1

    def pause(self):
        self.running.clear()
        assert self.resting.wait(2 * ANSWER_S), f"{self.name} does not come to rest"

    def resume(self):
        self.running.set()

    def stop(self):
        self.is_stopping = True
        self.running.set()
        self.join()
        self.echo.close()
