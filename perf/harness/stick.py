"""The measuring stick's own programs: starts the backend, runs the load generator, places both on their processor.

Every process started here is ended by its own handle, and every call has a bound.
"""

import json
import os
import subprocess
import time

# The longest call is a burst of streams with the time to give memory back.
CALL_LIMIT_S = 120
STOP_LIMIT_S = 5
BACKEND_LIFE_S = 1800


class Fault(Exception):
    """A run with an error: it has no figure, only a reason."""


class Stick:
    """Where everything runs, and how."""

    def __init__(self, programs, work):
        self.work = work
        self.programs = programs
        cpus = sorted(os.sched_getaffinity(0))
        self.is_pinned = len(cpus) >= 2
        self.contender_cpu, self.load_cpu = (cpus[0], cpus[-1]) if self.is_pinned else (None, None)
        # The contender's and the next; where there are only two, the next is that of load and backend.
        self.two_cpus = f"{cpus[0]},{cpus[1]}" if self.is_pinned else None
        self.started = []
        self.backend = self.backend_tls = self.ca = None

    def spawn(self, command, cpu, env=None, log=None, output=subprocess.DEVNULL):
        """Starts a program on a processor; its output goes to a file if there is one."""
        target = open(os.path.join(self.work, log), "ab") if log else output
        placed = ["taskset", "-c", str(cpu), *command] if cpu is not None else command
        process = subprocess.Popen(
            placed, env=env, stdin=subprocess.DEVNULL, stdout=target, stderr=subprocess.STDOUT
        )
        if log:
            target.close()
        self.started.append(process)
        return process

    def stop(self, process):
        """Ends a program: asked first, then killed."""
        process.terminate()
        try:
            process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process in self.started:
            self.started.remove(process)

    def stop_all(self):
        for process in list(self.started):
            self.stop(process)

    def log_tail(self, name):
        with open(os.path.join(self.work, name), encoding="utf-8", errors="replace") as log:
            return "".join(log.readlines()[-8:])

    def start_backend(self, certificate):
        """The scripted backend: on one port plain, on another with TLS where a certificate could be made."""
        command = [self.programs["perf-backend"], "--seconds", str(BACKEND_LIFE_S)]
        if certificate:
            command += ["--tls-cert", certificate[0], "--tls-key", certificate[1]]
        process = self.spawn(command, self.load_cpu, log="backend.log")
        wanted = 2 if certificate else 1
        for _ in range(100):
            addresses = self.log_tail("backend.log").split()
            if len(addresses) >= wanted:
                break
            if process.poll() is not None:
                raise Fault("perf-backend: " + self.log_tail("backend.log"))
            time.sleep(0.05)
        else:
            raise Fault("perf-backend did not say where it listens")
        self.backend = addresses[0]
        self.backend_tls = addresses[1] if certificate else None
        self.ca = certificate[0] if certificate else None

    def free_port(self):
        command = [self.programs["perf-load"], "free-port"]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    def move(self, pid, cpu):
        """Places all threads of a running program and of its children on a processor."""
        if pid is None:
            return
        for process in [pid, *children(pid)]:
            subprocess.run(["taskset", "-acp", str(cpu), str(process)], check=True, stdout=subprocess.DEVNULL)

    def load(self, mode, *words, flags=None):
        """One run of the load generator: its report, or a fault with what it said."""
        return self.call(mode, words, flags, self.is_pinned, None)

    def load_with(self, env, mode, *words, flags=None):
        """The same in another environment and on any processor."""
        return self.call(mode, words, flags, False, env)

    def load_begin(self, mode, flags):
        """Starts a run of the load generator; `load_end` waits for its report, `stop` ends it."""
        return self.spawn(self.command(mode, (), flags), self.load_cpu, output=subprocess.PIPE)

    def load_end(self, process):
        try:
            said, _ = process.communicate(timeout=CALL_LIMIT_S)
        except subprocess.TimeoutExpired:
            raise Fault(f"perf-load: not done after {CALL_LIMIT_S} s") from None
        if process.returncode != 0:
            raise Fault(said.decode(errors="replace").strip()[:400])
        return json.loads(said)

    def command(self, mode, words, flags):
        command = [self.programs["perf-load"], mode]
        for name, value in (flags or {}).items():
            if value is not None:
                command += [f"--{name}", str(value)]
        return [*command, *words]

    def call(self, mode, words, flags, is_pinned, env):
        command = self.command(mode, words, flags)
        if is_pinned:
            command = ["taskset", "-c", str(self.load_cpu), *command]
        try:
            ran = subprocess.run(command, capture_output=True, text=True, timeout=CALL_LIMIT_S, env=env)
        except subprocess.TimeoutExpired:
            raise Fault(f"perf-load {mode}: not done after {CALL_LIMIT_S} s") from None
        if ran.returncode != 0:
            raise Fault(ran.stderr.strip()[:400] or f"perf-load {mode}: ended with {ran.returncode}")
        return json.loads(ran.stdout)


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as listed:
        return listed.read().split()


def certificate(work):
    """A certificate for 127.0.0.1, for the backend and for those who must trust it; none without openssl."""
    cert, key, config = (os.path.join(work, name) for name in ("cert.pem", "key.pem", "openssl.cnf"))
    with open(config, "w", encoding="ascii") as out:
        out.write(
            "[req]\ndistinguished_name=name\nx509_extensions=leaf\nprompt=no\n[name]\nCN=perf\n"
            "[leaf]\nsubjectAltName=IP:127.0.0.1,DNS:localhost\nbasicConstraints=critical,CA:FALSE\n"
        )
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-config", config, "-keyout", key, "-out", cert]
    try:
        made = subprocess.run(command, capture_output=True, timeout=30)
    except FileNotFoundError:
        return None
    return (cert, key) if made.returncode == 0 else None
