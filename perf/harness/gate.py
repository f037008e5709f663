# SPDX-License-Identifier: BSD-3-Clause
"""Was the machine quiet? CPU that others used in a window, time stolen by the hypervisor, and a canary loop."""
import os
import resource

TICK = os.sysconf("SC_CLK_TCK")
OTHERS_MAX = 0.01   # of a core
CANARY_MAX = 0.03   # before against after


def _cpu_by_pid():
    out = {}
    for pid in os.listdir("/proc"):
        if not pid.isdigit():
            continue
        try:
            with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as f:
                text = f.read()
        except OSError:
            continue
        name = text[text.index("(") + 1:text.rindex(")")]
        rest = text[text.rindex(")") + 2:].split()
        out[int(pid)] = (name, int(rest[11]) + int(rest[12]), int(rest[3]))
    return out


def _machine():
    """(ticks of processes, stolen ticks) of all cores. Interrupts are left out: traffic causes most of them."""
    with open("/proc/stat", encoding="ascii") as f:
        v = [int(x) for x in f.readline().split()[1:]]
    return sum(v[0:3]), v[7]


def _ended_children():
    """Ticks of children that were started, and waited for, by this process."""
    r = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (r.ru_utime + r.ru_stime) * TICK


class Window:
    """Between start and stop: who else used CPU. Ours are our sessions (each child of ours leads one) and own_names."""

    def __init__(self, own_sessions, own_names=()):
        self.own = set(own_sessions) | {os.getsid(0)}
        self.own_names = own_names
        self.before = _cpu_by_pid()
        self.busy, self.steal = _machine()
        self.ended = _ended_children()

    def stop(self, seconds):
        """Reasons, as text, why the window was not quiet; empty when it was."""
        after = _cpu_by_pid()
        busy, steal = _machine()
        reasons, own_ticks = [], _ended_children() - self.ended
        for pid, (name, ticks, session) in after.items():
            used = ticks - self.before.get(pid, ("", 0, 0))[1]
            if session in self.own or name.startswith(tuple(self.own_names)):
                own_ticks += used
            elif used / TICK / seconds > OTHERS_MAX and used > 1:
                reasons.append(f"{name} used {used / TICK / seconds:.0%} of a core")
        rest = busy - self.busy - own_ticks
        if not reasons and rest / TICK / seconds > 0.05:
            reasons.append(f"processes that came and went used {rest / TICK / seconds:.0%} of a core")
        if (steal - self.steal) / TICK / seconds > OTHERS_MAX:
            reasons.append(f"the hypervisor took {(steal - self.steal) / TICK / seconds:.0%} of a core")
        return reasons


def cpu_seconds(pids):
    """CPU time that the processes have used."""
    table = _cpu_by_pid()
    return sum(table[p][1] for p in pids if p in table) / TICK


def canary_differs(before_us, after_us):
    """Whether the mean times of the two loops are further apart than allowed."""
    return abs(after_us - before_us) > CANARY_MAX * min(before_us, after_us)
