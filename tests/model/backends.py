# SPDX-License-Identifier: BSD-3-Clause
"""Which backend a new connection gets: the algorithm of docs/services.md."""
import functools
import ipaddress
import math

from wire import family

MASK = (1 << 64) - 1
SEED, OFFSET_SEED, SKIP_SEED = (int.from_bytes(s, "big") for s in (b"leat-svc", b"leat-off", b"leat-skp"))
PRIMES = [251, 509, 1021, 2039, 4093, 8191, 16381, 32749, 65537, 131071, 655373]


@functools.lru_cache(maxsize=None)
def mapped(address):
    number = int(ipaddress.ip_address(address))
    return number if ":" in address else 0xffff << 32 | number


def word(h, w):
    m = (h ^ w) * 0x9E3779B97F4A7C15
    return (m & MASK) ^ (m >> 64)


def addr(h, number):
    return word(word(h, number >> 64), number & MASK)


def service_hash(src, dst, sport, dport, proto):
    h = addr(addr(SEED, src), dst)
    return word(word(h, sport << 32 | dport << 16 | proto), SEED)


def maglev(backends, size):
    """Positions of a table → index of the backend. backends: (ip, port, weight)."""
    n, total, below, turns = len(backends), sum(b[2] for b in backends), 0, []
    for i, (ip, port, weight) in enumerate(backends):
        above = below + weight
        quota = 1 + (size - n) * above // total - (size - n) * below // total
        turns.append([i, word(addr(OFFSET_SEED, mapped(ip)), port) % size,
                      word(addr(SKIP_SEED, mapped(ip)), port) % (size - 1) + 1, quota])
        below = above
    table = [None] * size
    while turns:
        for t in turns:
            while table[t[1]] is not None:
                t[1] = (t[1] + t[2]) % size
            table[t[1]] = t[0]
            t[3] -= 1
        turns = [t for t in turns if t[3]]
    return table


def plain(backends):
    total, divisor, table = sum(b[2] for b in backends), math.gcd(*(b[2] for b in backends)), []
    for i, (_, _, weight) in enumerate(backends):
        is_few = total // divisor <= 65536
        table += [i] * (weight // divisor if is_few else max(1, weight * 65536 // total))
    return table


@functools.lru_cache(maxsize=4096)
def table_of(n_configured, usable, algorithm):
    if len(usable) == 1:
        return [0]
    if algorithm == "hash":
        return plain(usable)
    return maglev(usable, next((p for p in PRIMES if p >= 100 * n_configured), PRIMES[-1]))


def choose(service, usable, is_local_only, proto, client):
    """One of the usable backends. The table's size follows from the configured ones of its family and scope."""
    configured = [b for b in service.backends.values() if b.weight > 0 and family(b.ip) == family(client.src)
                  and (b.is_local or not is_local_only)]
    ordered = sorted(usable, key=lambda b: (mapped(b.ip), b.port))
    table = table_of(len(configured), tuple((b.ip, b.port, b.weight) for b in ordered), service.algorithm)
    if service.affinity_s:
        h = service_hash(mapped(client.src), 0, 0, 0, 0)
    else:
        h = service_hash(mapped(client.src), mapped(client.dst), client.sport, client.dport, proto)
    return ordered[table[h * len(table) >> 64]]
