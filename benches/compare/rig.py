"""What the comparison runs on: programs, certificates, nginx, sshd and two gateways, all below one folder.

Everything listens on 127.0.0.1 only, and every process that is started here is ended here.
"""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

# Program and the Debian package that brings it.
NEEDED = {
    "age": "age", "age-keygen": "age", "curl": "curl", "nginx": "nginx", "sshd": "openssh-server",
    "sftp": "openssh-client", "ssh-keygen": "openssh-client", "openssl": "openssl", "tar": "tar", "xargs": "findutils",
}
POLICY = Path("/usr/sbin/policy-rc.d")
START_LIMIT_S = 60


class Failed(Exception):
    """A step did not do what it must; nothing that was measured counts then."""


def install_what_is_missing():
    """Installs the rivals from Debian, without letting Debian start them as services."""
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    packages = sorted({package for program, package in NEEDED.items() if not shutil.which(program)})
    if not packages:
        return
    print(f"installing: {' '.join(packages)}", flush=True)
    ours = not POLICY.exists()
    if ours:
        POLICY.write_text("#!/bin/sh\nexit 101\n")
        POLICY.chmod(0o755)
    try:
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "update", "-qq"], check=True, env=quiet)
        subprocess.run(
            ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages], check=True, env=quiet)
    finally:
        if ours:
            POLICY.unlink()


def run(*args, **more):
    """Runs a command that must succeed, and gives what it printed."""
    done = subprocess.run(
        [str(arg) for arg in args], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, **more)
    if done.returncode != 0:
        raise Failed(f"{' '.join(map(str, args))}: status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def free_port():
    """A port below those that the kernel hands out by itself, so that it is still free a moment later."""
    while True:
        port = random.SystemRandom().randrange(12_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def wait_until(ready, process, what):
    """Waits until a server that was started answers."""
    deadline = time.monotonic() + START_LIMIT_S
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            raise Failed(f"{what} does not answer")
        time.sleep(0.02)


def answers(port):
    """Whether somebody accepts connections there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def end(process):
    """Ends a process of ours as systemd would, and then without asking."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Rivals:
    """A web server that takes PUT over mutual TLS, an SSH server, and the receiver's age key."""

    def __init__(self, folder):
        self.folder = folder
        self.arrived = folder / "arrived"
        self.arrived.mkdir()
        self.processes = []
        self.key = folder / "receiver.agekey"
        run("age-keygen", "-o", self.key)
        self.recipient = run("age-keygen", "-y", self.key).strip()
        self._certificates()
        self.nginx = self._nginx()
        self.sshd = self._sshd()

    def close(self):
        """Ends both servers."""
        for process in self.processes:
            end(process)

    def curl(self):
        """The start of each curl command: mutual TLS 1.3, HTTP/1.1, and an error status is an error."""
        pki = self.pki
        return (f"curl -sSf --fail-early --http1.1 --tlsv1.3 -H Expect: --cacert {pki}/ca.pem "
                f"--cert {pki}/client.pem --key {pki}/client.key")

    def sftp(self):
        """The start of each sftp command, with the fastest cipher that OpenSSH has here."""
        return (f"sftp -q -F none -P {self.ssh_port} -c aes128-gcm@openssh.com -i {self.ssh}/client "
                f"-o IdentitiesOnly=yes -o BatchMode=yes -o UserKnownHostsFile={self.ssh}/known_hosts")

    def empty(self):
        """Removes what has arrived."""
        shutil.rmtree(self.arrived)
        self.arrived.mkdir()

    def _certificates(self):
        self.pki = pki = self.folder / "pki"
        pki.mkdir()
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        run("openssl", "req", "-x509", *curve, "-days", "2", "-subj", "/CN=comparison CA",
            "-keyout", pki / "ca.key", "-out", pki / "ca.pem")
        for name in ["localhost", "client"]:
            run("openssl", "req", *curve, "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}",
                "-keyout", pki / f"{name}.key", "-out", pki / f"{name}.csr")
            run("openssl", "x509", "-req", "-in", pki / f"{name}.csr", "-CA", pki / "ca.pem", "-CAkey", pki / "ca.key",
                "-CAcreateserial", "-days", "2", "-copy_extensions", "copy", "-out", pki / f"{name}.pem")

    def _nginx(self):
        home = self.folder / "nginx"
        home.mkdir()
        self.web_port = free_port()
        user = "user root;" if os.geteuid() == 0 else ""
        temp = "\n".join(f"  {kind}_temp_path {home}/{kind};" for kind in ["proxy", "fastcgi", "uwsgi", "scgi"])
        (home / "nginx.conf").write_text(f"""daemon off;
{user}
pid {home}/pid;
error_log {home}/error.log;
worker_processes auto;
events {{ worker_connections 256; }}
http {{
  access_log off;
{temp}
  client_body_temp_path {home}/body;
  client_max_body_size 0;
  client_body_buffer_size 1m;
  keepalive_requests 1000000;
  server {{
    listen 127.0.0.1:{self.web_port} ssl;
    server_name localhost;
    ssl_protocols TLSv1.3;
    ssl_certificate {self.pki}/localhost.pem;
    ssl_certificate_key {self.pki}/localhost.key;
    ssl_client_certificate {self.pki}/ca.pem;
    ssl_verify_client on;
    root {self.arrived};
    dav_methods PUT;
  }}
}}
""")
        return self._started("nginx", ["-e", home / "error.log", "-c", home / "nginx.conf"], self.web_port)

    def _sshd(self):
        self.ssh = home = self.folder / "ssh"
        home.mkdir(mode=0o700)
        self.ssh_port = free_port()
        for name in ["host", "client"]:
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", home / name)
        shutil.copy(home / "client.pub", home / "authorized")
        host = " ".join((home / "host.pub").read_text().split()[:2])
        (home / "known_hosts").write_text(f"[localhost]:{self.ssh_port} {host}\n")
        (home / "sshd_config").write_text(f"""ListenAddress 127.0.0.1:{self.ssh_port}
HostKey {home}/host
AuthorizedKeysFile {home}/authorized
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
Subsystem sftp internal-sftp
""")
        if os.geteuid() == 0:
            # sshd insists on it; Debian makes it when it starts sshd as a service.
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        return self._started("sshd", ["-D", "-e", "-f", home / "sshd_config"], self.ssh_port)

    def _started(self, program, args, port):
        with open(self.folder / f"{program}.log", "wb") as log:
            process = subprocess.Popen(
                [shutil.which(program), *map(str, args)], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.processes.append(process)
        wait_until(lambda: answers(port), process, program)
        return process


class Gateways:
    """A hospital and an institute, both running, with a consent on file and a case open."""

    IDS = {"saaremere": "EE", "nordhafen": "DE"}
    PATIENT = ("urn:oid:2.16.840.1.113883.19.5.7301", "SK-204188")

    def __init__(self, program, folder):
        self.program, self.folder = program, folder
        folder.mkdir()
        self.homes = {site: folder / site for site in self.IDS}
        self.daemons = {}
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def close(self):
        """Ends both daemons and removes their homes."""
        for daemon in self.daemons.values():
            end(daemon)
        shutil.rmtree(self.folder)

    def hospital(self, *args):
        """Runs a command at the sender."""
        return self._at("saaremere", *args)

    def institute(self, *args):
        """Runs a command at the receiver."""
        return self._at("nordhafen", *args)

    def command(self, site="saaremere"):
        """The start of a command line at this site."""
        return f"{self.program} --home {self.homes[site]} --json"

    def _at(self, site, *args):
        return json.loads(run(self.program, "--home", self.homes[site], "--json", *args))

    def _start(self):
        for site, country in self.IDS.items():
            port = free_port()
            self._at(site, "init", "--id", site, "--name", site, "--country", country,
                     "--endpoint", f"https://localhost:{port}", "--listen", f"127.0.0.1:{port}")
            with open(self.folder / f"{site}.log", "wb") as log:
                self.daemons[site] = subprocess.Popen(
                    [self.program, "serve", "--home", self.homes[site]],
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            wait_until(lambda site=site: self._ready(site), self.daemons[site], f"the gateway of {site}")
        for site, other in [("saaremere", "nordhafen"), ("nordhafen", "saaremere")]:
            card = self.folder / f"card-of-{other}"
            shown = self._at(other, "card", "--out", card)
            self._at(site, "partner", "add", card, "--fingerprint", shown["fingerprint"])
        consent = self.folder / "consent.json"
        consent.write_text(json.dumps(self._consent()))
        self.hospital("consent", "add", consent)
        self.case = self.hospital("case", "open", "--patient", "|".join(self.PATIENT), "--partner", "nordhafen",
                                  "--purpose", "TREAT", "--question", "Operate?")["case"]

    def _ready(self, site):
        try:
            self._at(site, "queue")
            return True
        except Failed:
            return False

    def _consent(self):
        def coded(system, code):
            return {"coding": [{"system": system, "code": code}]}

        def institution(name):
            return {"identifier": {"system": "urn:medseal:institution", "value": name}, "display": name}

        system, value = self.PATIENT
        hl7 = "http://terminology.hl7.org/CodeSystem"
        return {
            "resourceType": "Consent", "id": "comparison-consent", "status": "active",
            "scope": coded(f"{hl7}/consentscope", "patient-privacy"),
            "category": [coded("http://loinc.org", "59284-0")],
            "patient": {"identifier": {"system": system, "value": value}, "display": "Nobody, invented"},
            "dateTime": "2026-01-01", "performer": [{"display": "Nobody, invented"}],
            "organization": [institution("saaremere")], "policyRule": coded(f"{hl7}/v3-ActCode", "OPTIN"),
            "provision": {
                "type": "permit", "period": {"start": "2026-01-01", "end": "2036-01-01"},
                "actor": [{"role": coded(f"{hl7}/v3-ParticipationType", "IRCP"),
                           "reference": institution("nordhafen")}],
                "purpose": [{"system": f"{hl7}/v3-ActReason", "code": "TREAT"}],
            },
        }
