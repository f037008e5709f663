# SPDX-License-Identifier: BSD-3-Clause
"""HTTP through a VIP whose backends, nginx and haproxy in pods, come and go: nobody else's request fails."""
import itertools
import json
import os
import shutil
import time
from collections import namedtuple

import pytest

from operator_rig import Leatd
from waiting import wait_for

pytestmark = [pytest.mark.skipif(os.geteuid() != 0, reason="needs root: taps and network namespaces"),
              pytest.mark.skipif(not (shutil.which("nginx") and shutil.which("haproxy")), reason="needs nginx and haproxy")]

REQUESTS, CLIENTS = 10000, 8
STEP = 100  # connections that are opened and answered between two changes
NETWORK = {4: ("10.66.0.{}", "10.96.0.1"), 6: ("fd00:66::{}", "fd00:96::1")}
NGINX = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log; worker_rlimit_nofile 4096;
events {{ worker_connections 1024; }}
http {{
    access_log off; keepalive_requests 100000;
    client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
    uwsgi_temp_path {folder}; scgi_temp_path {folder};
    server {{ listen {address}:8080 backlog=1024; location / {{ return 200 "{name}"; }} }}
}}
"""
HAPROXY = """
defaults
    mode http
    timeout client 60s
    timeout http-keep-alive 60s
frontend web
    bind {address}:8080
    http-request return status 200 content-type text/plain string "{name}"
"""
# VIP, connections at once, how many requests each in turn, requests in all or 0. A line a request: when its connection
# was begun and when it stood, its number, the request's number on it, 'ok' and the backend, or 'failed' and why.
CLIENT = """
import http.client, itertools, sys, threading, time
vip, n_threads, lengths, n_all = sys.argv[1], int(sys.argv[2]), [int(n) for n in sys.argv[3].split(",")], int(sys.argv[4])
numbers, tickets = itertools.count(), iter(range(n_all)) if n_all else itertools.count()
lock = threading.Lock()
def say(*words):
    with lock:
        print(*words, flush=True)
def talk(n_requests):
    begun, opened, number = time.monotonic_ns(), 0, next(numbers)
    connection = http.client.HTTPConnection(vip, 80, timeout=30)
    for i in range(n_requests):
        if next(tickets, None) is None:
            return False
        try:
            if not opened:
                connection.connect()
                opened = time.monotonic_ns()
            connection.request("GET", "/")
            answer = connection.getresponse()
            body = answer.read().decode()
            say(begun, opened, number, i, *(("ok", body) if answer.status == 200 else ("failed", answer.status)))
        except (OSError, http.client.HTTPException) as error:
            say(begun, opened, number, i, "failed", type(error).__name__)
            break
    connection.close()
    return True
def run(n_requests):
    while talk(n_requests):
        pass
for i in range(n_threads):
    threading.Thread(target=run, args=(lengths[i % len(lengths)],)).start()
"""

Answer = namedtuple("Answer", "begun opened connection request status text")
Change = namedtuple("Change", "began done expected")  # in effect from done on; expected: who gets new connections


class Shop:
    """A service with web servers behind it, and the client that asks them."""

    def __init__(self, leatd, folder, family):
        self.leatd, self.folder = leatd, folder
        self.addresses, self.vip = NETWORK[family]
        self.pods, self.children = {}, []
        self.client = self.attach("client", 1)

    def attach(self, name, number):
        return self.leatd.attach(name, self.addresses.format(number))

    def open_backend(self, name, kind):
        pod = self.pods[name] = self.attach(name, 10 + len(self.pods))
        folder = self.folder / name
        folder.mkdir()
        is_v6 = ":" in pod.address
        template, program = (NGINX, ["nginx", "-c"]) if kind == "nginx" else (HAPROXY, ["haproxy", "-db", "-f"])
        address = f"[{pod.address}]" if is_v6 and kind == "nginx" else pod.address
        (folder / "conf").write_text(template.format(folder=folder, address=address, name=name))
        self.children.append(pod.space.spawn(*program, str(folder / "conf")))
        wait_for(lambda: ":8080 " in pod.space.run("ss", "-ltn").stdout, f"{kind} {name} listens")

    def set(self, *ready, terminating=(), reset=False):
        backends = [{"ip": self.pods[name].address, "port": 8080} for name in ready]
        backends += [{"ip": self.pods[name].address, "port": 8080, "terminating": True} for name in terminating]
        self.leatd.ctl("service", "add", "name=web", f"frontends={json.dumps([{'ip': self.vip, 'port': 80}])}",
                       f"backends={json.dumps(backends)}", f"reset={str(reset).lower()}", "replace")

    def ask(self, n_clients, lengths, n_all):
        child = self.client.space.spawn("/usr/bin/python3", "-c", CLIENT, self.vip, str(n_clients),
                                        ",".join(map(str, lengths)), str(n_all))
        self.children.append(child)
        return child

    def clean(self):
        for child in self.children:
            child.kill()
            child.wait(20)
            child.stdout.close()


@pytest.fixture(params=NETWORK)
def shop(tmp_path, request):
    with Leatd(tmp_path, "--flows", "40000") as leatd:
        made = Shop(leatd.start(), tmp_path, request.param)
        yield made
        made.clean()
        leatd.stop()


def answers_of(child):
    for line in child.stdout:
        *numbers, status, text = line.split()
        yield Answer(*map(int, numbers), status, text)


def test_no_request_fails_while_backends_come_and_go(shop):
    for name, kind in (("n1", "nginx"), ("h1", "haproxy"), ("n2", "nginx")):
        shop.open_backend(name, kind)
    # who gets new connections, and who is only on the way out
    steps = itertools.chain([(["n1", "h1", "n2"], [])], itertools.cycle([
        (["h1", "n2"], []),                   # removed
        (["h1", "n2", "h2"], []),             # added
        (["n1", "h1", "n2", "h2"], []),       # added again
        (["n1", "h2"], ["h1", "n2"]),         # terminating
        (["n1"], []),                         # nearly all removed
        ([], ["n1", "h1"]),                   # nobody ready: the terminating ones serve
        (["n1", "h1", "n2", "h2"], []),
    ]))
    changes = []

    def change():
        ready, terminating = next(steps)
        if "h2" in ready and "h2" not in shop.pods:
            shop.open_backend("h2", "haproxy")
        began = time.monotonic_ns()
        shop.set(*ready, terminating=terminating)
        changes.append(Change(began, time.monotonic_ns(), set(ready or terminating)))

    change()
    asking = shop.ask(CLIENTS, [1, 1, 1, 1, 1, 1, 5, 200], REQUESTS)
    answers, n_opened = [], 0
    for answer in answers_of(asking):
        answers.append(answer)
        n_opened += answer.request == 0 and answer.begun >= changes[-1].done
        if n_opened == STEP:
            change()
            n_opened = 0
    assert len(answers) == REQUESTS and asking.wait(20) == 0
    assert [a for a in answers if a.status != "ok"] == []
    for _, same in itertools.groupby(sorted(answers, key=lambda a: a.connection), lambda a: a.connection):
        assert len({a.text for a in same}) == 1  # a connection stays where it is, removed or not
    assert len(changes) > 8
    for now, then in itertools.pairwise(changes):
        assert {a.text for a in answers if a.request == 0 and now.done <= a.begun and a.opened < then.began} == now.expected
    assert set(shop.leatd.drops(shop.client.port)) <= {"consumed", "ip_multicast"}  # IPv6 of the pod's kernel


def test_removal_with_reset_fails_requests_of_that_backend_only(shop):
    for name, kind in (("n1", "nginx"), ("h1", "haproxy"), ("n2", "nginx")):
        shop.open_backend(name, kind)
    shop.set("n1", "h1", "n2", reset=True)
    asking = shop.ask(64, [1000], REQUESTS)
    where, failed = {}, []  # every connection has its backend before one is removed
    for answer in answers_of(asking):
        if answer.status != "ok":
            failed.append(answer)
        elif answer.request == 0:
            where[answer.connection] = answer.text
            if len(where) == 64:
                shop.set("h1", "n2", reset=True)
    assert asking.wait(20) == 0
    removed = sorted(number for number, name in where.items() if name == "n1")
    assert removed and sorted(a.connection for a in failed) == removed, failed
    assert {a.text for a in failed} == {"ConnectionResetError"}
