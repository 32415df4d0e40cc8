"""The pipelines: what a hospital would build of stock tools, and medseal.

Each takes the input and leaves at the receiver what arrived; whether that is what was sent is judged outside the time.
"""

import dataclasses
import shutil
import subprocess
import time
from typing import Callable

from measure import measure
from rig import Failed, Gateways, run

POLL_S = 0.1
OPENED_OF_MANY = 10


@dataclasses.dataclass
class Pipeline:
    """One way to get documents to the receiver, and what it promises."""

    name: str
    durable: bool
    checked: bool
    receipt: bool
    run: Callable

    @property
    def ours(self):
        """Whether it is medseal."""
        return self.receipt


@dataclasses.dataclass
class Bench:
    """What every pipeline works with."""

    folder: object
    rivals: object
    medseal: object

    def work(self):
        """An empty folder of the sender."""
        work = self.folder / "work"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        self.rivals.empty()
        return work

    def timed(self, server, script, at_receiver=None):
        """Measures a rival against one of the servers."""
        until = None if server is self.rivals.nginx else self.sessions_over
        return measure(script, [], [server.pid], at_receiver, until)

    def sessions_over(self):
        """Waits until sshd has taken leave of its clients: only then their processor time can be read."""
        children = f"/proc/{self.rivals.sshd.pid}/task/{self.rivals.sshd.pid}/children"
        while open(children, encoding="ascii").read().strip():
            time.sleep(0.005)


def digest(*files):
    """The SHA-256 of files, as openssl says it."""
    return [line.split()[0] for line in run("openssl", "dgst", "-sha256", "-r", *files).splitlines()]


def same(wanted, found, what):
    """What arrived is what was sent, or nothing was measured."""
    if wanted != found or not wanted:
        raise Failed(f"{what}: what arrived is not what was sent")


def opened(bench, sealed):
    """The SHA-256 of what the receiver's key opens."""
    with subprocess.Popen(["age", "-d", "-i", bench.rivals.key, sealed], stdout=subprocess.PIPE) as age:
        said = subprocess.run(
            ["openssl", "dgst", "-sha256", "-r"], stdin=age.stdout, capture_output=True, text=True, check=True).stdout
    return said.split()[0]


# One large file.


def large_sftp(bench, source, check):
    """age into a spool file, then sftp that ends after fsync."""
    work, there, rivals = bench.work(), bench.rivals.arrived / "scan.age", bench.rivals
    (work / "batch").write_text(f"put -f {work}/scan.age {there}\n")
    seal = f"age -r {rivals.recipient} -o {work}/scan.age {source}"
    if check:
        seal = f"age -r {rivals.recipient} {source} | tee {work}/scan.age | openssl dgst -sha256 -r > {work}/sent"
    taken = bench.timed(
        rivals.sshd, f"{seal}\n{rivals.sftp()} -b {work}/batch localhost",
        f"openssl dgst -sha256 -r {there} > {work}/got" if check else None)
    return proved_large(bench, source, there, work if check else None, taken)


def large_curl(bench, source, check):
    """age and curl in one pipe; the digest, if any, is taken on the way."""
    work, there, rivals = bench.work(), bench.rivals.arrived / "scan.age", bench.rivals
    put = f"{rivals.curl()} -T - https://localhost:{rivals.web_port}/scan.age"
    script = f"age -r {rivals.recipient} {source} | {put}"
    if check:
        script = (f"mkfifo {work}/pipe\nopenssl dgst -sha256 -r < {work}/pipe > {work}/sent & digest=$!\n"
                  f"age -r {rivals.recipient} {source} | tee {work}/pipe | {put}\nwait $digest")
    taken = bench.timed(rivals.nginx, script, f"openssl dgst -sha256 -r {there} > {work}/got" if check else None)
    return proved_large(bench, source, there, work if check else None, taken)


def proved_large(bench, source, there, digests, taken):
    """The digests of the pipeline agree, and what arrived opens to the input."""
    if digests:
        sent, got = ((digests / name).read_text().split()[0] for name in ["sent", "got"])
        same(sent, got, there)
    same(digest(source), [opened(bench, there)], there)
    bench.work()
    return taken


def large_medseal(bench, source):
    """`send --wait`: decided, sealed, delivered, durable, receipt checked."""
    gateways = Gateways(bench.medseal, bench.folder / "gateways")
    try:
        send = f"{gateways.command()} send {source} --case {gateways.case} --wait"
        taken = measure(send, *(([gateways.daemons[site].pid]) for site in gateways.IDS))
        [item] = gateways.institute("inbox")["items"]
        out = bench.work() / "out"
        gateways.institute("open", item["bundle"], "--out", out)
        [found] = [path for path in out.rglob("*") if path.name == source.name]
        same(digest(source), digest(found), "medseal")
        return taken
    finally:
        gateways.close()
        bench.work()


# Many small files.


def small_sealed(bench, work, source):
    """The fastest way to seal each file with stock age: four processes at a time."""
    (work / "sealed").mkdir()
    return f"cd {source}\nls | xargs -P4 -I{{}} age -r {bench.rivals.recipient} -o {work}/sealed/{{}} {{}}\n"


def small_curl(bench, source, check):
    """One keep-alive connection; with the check also a sync of the receiver's disk."""
    work, rivals = bench.work(), bench.rivals
    with open(work / "list", "w", encoding="ascii") as config:
        for file in sorted(source.iterdir()):
            config.write(f'upload-file = "{work}/sealed/{file.name}"\n'
                         f'url = "https://localhost:{rivals.web_port}/{file.name}"\n')
    script = small_sealed(bench, work, source) + f"{rivals.curl()} -K {work}/list"
    receive = f"sync -f {rivals.arrived}"
    return small(bench, source, work, rivals.nginx, script, receive, check)


def small_sftp(bench, source, check):
    """One session, fsync for each file."""
    work, rivals = bench.work(), bench.rivals
    lines = (f"put -f {work}/sealed/{file.name} {rivals.arrived}/{file.name}\n" for file in sorted(source.iterdir()))
    (work / "batch").write_text("".join(lines))
    script = small_sealed(bench, work, source) + f"{rivals.sftp()} -b {work}/batch localhost"
    return small(bench, source, work, rivals.sshd, script, ":", check)


def small(bench, source, work, server, script, receive, check):
    """Runs it, with a digest of each sealed file on both sides if asked for."""
    if check:
        script += f"\ncd {work}/sealed; openssl dgst -sha256 -r * > {work}/sent"
        receive += f"\ncd {bench.rivals.arrived}; openssl dgst -sha256 -r * > {work}/got"
    taken = bench.timed(server, script, receive if check else None)
    names = sorted(file.name for file in source.iterdir())
    same(names, sorted(file.name for file in bench.rivals.arrived.iterdir()), "names")
    if check:
        same((work / "sent").read_text(), (work / "got").read_text(), "digests")
    sealed, arrived = ([folder / name for name in names] for folder in [work / "sealed", bench.rivals.arrived])
    same(digest(*sealed), digest(*arrived), "sealed files")
    for name in names[:OPENED_OF_MANY]:
        same(digest(source / name), [opened(bench, bench.rivals.arrived / name)], name)
    bench.work()
    return taken


def small_tar(bench, source):
    """All of them as ONE object: no answer about any single file."""
    bench.work()
    rivals = bench.rivals
    there = rivals.arrived / "all.age"
    taken = bench.timed(
        rivals.nginx, f"tar -C {source} -cf - . | age -r {rivals.recipient} | "
        f"{rivals.curl()} -T - https://localhost:{rivals.web_port}/all.age")
    out = bench.folder / "work" / "out"
    out.mkdir()
    run("bash", "-euo", "pipefail", "-c", f"age -d -i {rivals.key} {there} | tar -C {out} -xf -")
    names = sorted(file.name for file in source.iterdir())
    same(digest(*(source / name for name in names)), digest(*(out / name for name in names)), "tar")
    bench.work()
    return taken


def small_medseal(bench, source):
    """Each file a bundle of its own by a command of its own, four at a time, until the last receipt is there."""
    gateways = Gateways(bench.medseal, bench.folder / "gateways")
    try:
        def all_delivered():
            while gateways.hospital("queue")["items"]:
                time.sleep(POLL_S)

        script = f"cd {source}\nls | xargs -P4 -I{{}} {gateways.command()} send {{}} --case {gateways.case}"
        pids = ([gateways.daemons[site].pid] for site in gateways.IDS)
        taken = measure(script, *pids, until=all_delivered)
        count = len(list(source.iterdir()))
        states = [item["state"] for item in gateways.hospital("status")["items"]]
        same(["delivered"] * count, states, "states")
        found = gateways.institute("inbox")["items"]
        same(count, len({item["bundle"] for item in found}), "inbox")
        out = bench.work()
        wanted = {digest(file)[0] for file in source.iterdir()}
        for number, item in enumerate(found[:OPENED_OF_MANY]):
            gateways.institute("open", item["bundle"], "--out", out / str(number))
            files = [path for path in (out / str(number)).rglob("*.bin") if path.is_file()]
            same(1, len(files), "documents")
            same(True, digest(files[0])[0] in wanted, "medseal")
        return taken
    finally:
        gateways.close()
        bench.work()


LARGE = [
    Pipeline("medseal send --wait", True, True, True, large_medseal),
    Pipeline("age; sftp put -f", True, False, False, lambda bench, source: large_sftp(bench, source, False)),
    Pipeline("age; sftp put -f; digests", True, True, False, lambda bench, source: large_sftp(bench, source, True)),
    Pipeline("age | curl", False, False, False, lambda bench, source: large_curl(bench, source, False)),
    Pipeline("age | curl; digests", False, True, False, lambda bench, source: large_curl(bench, source, True)),
]
SMALL = [
    Pipeline("xargs -P4 medseal send", True, True, True, small_medseal),
    Pipeline("xargs -P4 age; one curl", False, False, False, lambda bench, source: small_curl(bench, source, False)),
    Pipeline("xargs -P4 age; one curl; sync; digests", True, True, False,
             lambda bench, source: small_curl(bench, source, True)),
    Pipeline("xargs -P4 age; sftp put -f", True, False, False, lambda bench, source: small_sftp(bench, source, False)),
    Pipeline("xargs -P4 age; sftp put -f; digests", True, True, False,
             lambda bench, source: small_sftp(bench, source, True)),
    Pipeline("tar | age | curl, ONE object", False, False, False, small_tar),
]
