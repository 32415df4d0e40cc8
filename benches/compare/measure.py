"""Times one pipeline: elapsed, processor time on each side, and the resident memory of each process.

A pipeline ends where its result stands at the receiver, checked if the pipeline checks.
"""

import dataclasses
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

from rig import Failed

TICKS = os.sysconf("SC_CLK_TCK")
SAMPLE_S = 0.05


@dataclasses.dataclass
class Taken:
    """What one run of a pipeline took."""

    seconds: float
    sender_cpu: float
    receiver_cpu: float
    sender_memory: dict
    receiver_memory: dict


def measure(script, senders, receivers, at_receiver=None, until=None):
    """Runs a bash script at the sender, then one at the receiver; `senders` and `receivers` are servers there."""
    os.sync()
    for process in family([*senders, *receivers]):
        # The high-water mark of its memory begins anew.
        Path(f"/proc/{process}/clear_refs").write_text("5")
    before = processor_time(senders), processor_time(receivers)
    memory = {}, {}
    look(memory[0], [], senders, " at rest")
    look(memory[1], [], receivers, " at rest")
    begun = time.monotonic()
    sent = bash(script, lambda shell: (look(memory[0], [shell], senders), look(memory[1], [], receivers)))
    received = bash(at_receiver, lambda shell: look(memory[1], [shell], receivers)) if at_receiver else 0.0
    if until:
        until()
    seconds = time.monotonic() - begun
    look(memory[0], [], senders)
    look(memory[1], [], receivers)
    after = processor_time(senders), processor_time(receivers)
    return Taken(seconds, sent + after[0] - before[0], received + after[1] - before[1], *memory)


def bash(script, watch):
    """Runs a script that must succeed, and gives its processor time; `watch` is called with its id now and then."""
    shell = subprocess.Popen(
        ["bash", "-euo", "pipefail", "-c", script], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, start_new_session=True)
    ended = threading.Event()

    def sample():
        while not ended.wait(SAMPLE_S):
            watch(shell.pid)

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        said = shell.stderr.read().decode(errors="replace")
        _, status, used = os.wait4(shell.pid, 0)
        shell.returncode = os.waitstatus_to_exitcode(status)
    except BaseException:
        os.killpg(shell.pid, signal.SIGKILL)
        shell.wait()
        raise
    finally:
        ended.set()
        sampler.join()
    if shell.returncode != 0:
        raise Failed(f"{script}\nstatus {shell.returncode}: {said}")
    return used.ru_utime + used.ru_stime


def family(roots):
    """These processes and all that came from them."""
    found, left = [], list(roots)
    while left:
        process = left.pop()
        found.append(process)
        try:
            for task in Path(f"/proc/{process}/task").iterdir():
                left.extend(map(int, (task / "children").read_text().split()))
        except OSError:
            continue  # It has ended meanwhile.
    return found


def look(memory, shells, servers, when=""):
    """Keeps the most memory that each program of these was seen with, in KiB."""
    for what, roots in [("", shells), (" server", servers)]:
        for process in family(roots):
            try:
                status = Path(f"/proc/{process}/status").read_text()
            except OSError:
                continue
            fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
            name = fields["Name"].strip()
            if "VmHWM" in fields and name not in ("bash", "xargs"):
                name += what + when
                memory[name] = max(memory.get(name, 0), int(fields["VmHWM"].split()[0]))


def processor_time(servers):
    """User and system time of servers and of all that they started, once their sessions are over."""
    total = 0
    for process in family(servers):
        try:
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += sum(map(int, fields[11:15]))
    return total / TICKS
