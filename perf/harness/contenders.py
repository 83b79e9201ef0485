"""Who is measured: a direct call, nginx, our builds, and two Python programs that do the same work.

Each is started with what its user must set and nothing else. What cannot be installed says why and is left out.
"""

import glob
import os
import shutil
import subprocess
import sys

from .stick import Fault

INSTALL_LIMIT_S = 240


class Contender:
    """One program, or none: the direct call. Subclasses say how it is started."""

    name = "direct"
    # The dialect its callers speak.
    api = "openai"
    # What must not fail: an error of these ends the whole run.
    is_must = True
    # A Python program gets loads it can carry; see `scenarios.SMALL`.
    is_small = False
    ready_path = "/"

    def __init__(self, stick):
        self.stick = stick
        self.process = None
        self.address = stick.backend
        self.tls_address = None
        # The certificate its callers trust; none where they speak no TLS.
        self.ca = None
        # Its processor, or several: `0,1`.
        self.cpu = stick.contender_cpu

    @property
    def pid(self):
        return self.process.pid if self.process else None

    def command(self, port):
        """Its command line, if it is a program."""
        return None

    def environment(self, port):
        return None

    def start(self):
        port = self.stick.free_port()
        command = self.command(port)
        if command is None:
            return
        log = f"{self.name}.log"
        self.process = self.stick.spawn(command, self.cpu, self.environment(port), log)
        self.address = f"127.0.0.1:{port}"
        try:
            self.stick.load("wait", flags={"address": self.address, "path": self.ready_path})
        except Fault as fault:
            raise Fault(f"{self.name} did not start: {fault}\n{self.stick.log_tail(log)}") from None

    def stop(self):
        if self.process:
            self.stick.stop(self.process)
        self.process = None

    def size(self):
        """Bytes on disk, or none."""
        return None


class Nginx(Contender):
    """Bytes passed through untouched: the OpenAI dialect on both sides. No buffering, kept connections."""

    def __init__(self, stick, program, name="nginx", workers=1):
        super().__init__(stick)
        self.program, self.name, self.workers = program, name, workers

    def command(self, port):
        home = os.path.join(self.stick.work, f"nginx-{self.workers}")
        os.makedirs(home, exist_ok=True)
        tls_port = self.stick.free_port() if self.stick.backend_tls else None
        self.tls_address = f"127.0.0.1:{tls_port}" if tls_port else None
        path = os.path.join(home, "nginx.conf")
        with open(path, "w", encoding="ascii") as out:
            out.write(nginx_config(home, port, self.stick.backend, tls_port, self.stick.backend_tls, self.workers))
        return [self.program, "-p", home, "-c", path]

    def size(self):
        return os.stat(self.program).st_size


def nginx_config(home, port, backend, tls_port, backend_tls, workers=1):
    temps = "".join(
        f"    {kind}_temp_path {home}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    # Without a socket each, the first worker to wake takes nearly all connections.
    shared = " reuseport" if workers > 1 else ""
    plain = nginx_server(port, "http", "backend", "", shared)
    secured = upstream = ""
    if tls_port:
        upstream = nginx_upstream("backend_tls", backend_tls)
        secured = nginx_server(tls_port, "https", "backend_tls", "proxy_ssl_verify off; ")
    user = "user root;\n" if os.geteuid() == 0 else ""
    return (
        f"{user}worker_processes {workers};\ndaemon off;\npid {home}/pid;\nerror_log stderr error;\n"
        "events { worker_connections 24576; }\n"
        f"http {{\n{temps}    access_log {home}/access.log;\n"
        "    tcp_nodelay on;\n    keepalive_requests 100000000;\n    client_max_body_size 64m;\n"
        f"{nginx_upstream('backend', backend)}{upstream}{plain}{secured}}}\n"
    )


def nginx_upstream(name, address):
    return (
        f"    upstream {name} {{ server {address}; keepalive 512; keepalive_requests 100000000; }}\n"
    )


def nginx_server(port, scheme, upstream, extra, shared=""):
    return (
        f"    server {{\n        listen 127.0.0.1:{port} backlog=4096{shared};\n"
        '        location = / { return 200 "ready\\n"; }\n'
        f"        location / {{\n            proxy_pass {scheme}://{upstream};\n"
        f"            {extra}proxy_http_version 1.1;\n"
        '            proxy_set_header Connection "";\n'
        "            proxy_buffering off;\n            proxy_request_buffering off;\n        }\n    }\n"
    )


class Ours(Contender):
    """A build of this repository. For a backend with TLS a second process of it runs, which trusts the certificate."""

    api = "ollama"

    def __init__(self, stick, name, program, certificate, **settings):
        super().__init__(stick)
        self.name, self.program, self.certificate, self.settings = name, program, certificate, settings
        self.tls_process = None

    def command(self, port):
        return [self.program]

    def environment(self, port):
        return with_settings(
            OLLAMA_HOST=f"127.0.0.1:{port}",
            OPENAI_API_BASE_URL=f"http://{self.stick.backend}/v1",
            OPENAI_API_KEY="perf",
            **self.settings,
        )

    def start(self):
        super().start()
        if not self.stick.backend_tls:
            return
        port = self.stick.free_port()
        env = self.environment(port)
        env["OPENAI_API_BASE_URL"] = f"https://{self.stick.backend_tls}/v1"
        env["SSL_CA_FILE"] = self.certificate[0]
        self.tls_process = self.stick.spawn([self.program], self.cpu, env, f"{self.name}-tls.log")
        self.tls_address = f"127.0.0.1:{port}"
        self.stick.load("wait", flags={"address": self.tls_address})

    def stop(self):
        super().stop()
        if self.tls_process:
            self.stick.stop(self.tls_process)
        self.tls_process = None

    def size(self):
        return os.stat(self.program).st_size


class Predecessor(Contender):
    """ollama-openai-proxy 0.7.0, which this project continues."""

    name = "0.7.0"
    api = "ollama-0.7"
    is_must = False
    is_small = True
    ready_path = "/api/version"

    def __init__(self, stick, venv):
        super().__init__(stick)
        self.venv = venv

    def command(self, port):
        return [os.path.join(self.venv, "bin", "ollama-openai-proxy")]

    def environment(self, port):
        return with_settings(
            PROXY_PORT=str(port), OPENAI_API_BASE_URL=f"http://{self.stick.backend}/v1", OPENAI_API_KEY="perf"
        )

    def size(self):
        return tree_size(glob.glob(os.path.join(self.venv, "lib", "python3*", "site-packages")))


class Oai2Ollama(Predecessor):
    """oai2ollama: Ollama's model list in front of an OpenAI API, whose chats it passes on in OpenAI's dialect."""

    name = "oai2ollama"
    api = "openai"

    def command(self, port):
        # Its own command has the port of Ollama built in; this is what that command does.
        python = os.path.join(self.venv, "bin", "python")
        return [python, "-m", "uvicorn", "oai2ollama:app", "--host", "127.0.0.1", "--port", str(port)]

    def environment(self, port):
        return with_settings(OPENAI_BASE_URL=f"http://{self.stick.backend}/v1", OPENAI_API_KEY="perf")


def with_settings(**settings):
    """This program's environment without any setting of a proxy, and with these."""
    kept = {name: value for name, value in os.environ.items() if not is_setting(name)}
    return {**kept, **settings}


def is_setting(name):
    return name.lower().endswith("_proxy") or name.split("_")[0] in ("OLLAMA", "OPENAI", "PROXY", "SSL", "LOG")


def tree_size(roots):
    files = (os.path.join(at, name) for root in roots for at, _, names in os.walk(root) for name in names)
    return sum(os.lstat(path).st_size for path in files if not path.endswith(".pyc"))


def find_program(name, package, may_install):
    """The path of a program; installed from Debian if that may be."""
    paths = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin"
    if shutil.which(name, path=paths) is None and may_install and os.geteuid() == 0 and shutil.which("apt-get"):
        print(f"installing {package}", file=sys.stderr, flush=True)
        for command in (["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", package]):
            subprocess.run(command, stdout=subprocess.DEVNULL, timeout=INSTALL_LIMIT_S)
    found = shutil.which(name, path=paths)
    if found is None:
        raise Fault(f"{name} is missing; install it (Debian: apt-get install {package})")
    return found


def venv_with(cache, name, requirement, python, may_install):
    """A virtual environment with one package in it, kept in the cache; a fault says why there is none."""
    venv = os.path.join(cache, name)
    done = os.path.join(venv, "installed")
    if os.path.exists(done):
        return venv
    if not may_install:
        raise Fault("not installed yet; a full run installs it")
    interpreter = find_python(python)
    print(f"installing {requirement}", file=sys.stderr, flush=True)
    shutil.rmtree(venv, ignore_errors=True)
    for command in (
        [interpreter, "-m", "venv", venv],
        [os.path.join(venv, "bin", "pip"), "install", "--quiet", "--disable-pip-version-check", requirement],
    ):
        try:
            ran = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_LIMIT_S)
        except subprocess.TimeoutExpired:
            raise Fault(f"{requirement}: not installed within {INSTALL_LIMIT_S} s") from None
        if ran.returncode != 0:
            raise Fault(f"{requirement}: {(ran.stderr or ran.stdout).strip().splitlines()[-1]}")
    if name == "predecessor":
        mend_predecessor(venv)
    with open(done, "w", encoding="ascii"):
        return venv


def mend_predecessor(venv):
    """Its console script imports `src.main`, but the wheel holds `main` and no `src`."""
    for site in glob.glob(os.path.join(venv, "lib", "python3*", "site-packages")):
        os.makedirs(os.path.join(site, "src"), exist_ok=True)
        with open(os.path.join(site, "src", "__init__.py"), "w", encoding="ascii") as out:
            out.write("__path__ = [__import__('os').path.dirname(__import__('os').path.dirname(__file__))]\n")


def find_python(least):
    """A Python of at least that version: on the path, or one that pyenv keeps."""
    names = [shutil.which(f"python3.{minor}") for minor in range(least[1], least[1] + 4)]
    names += [shutil.which("python3")] + sorted(glob.glob(os.path.expanduser("~/.pyenv/versions/*/bin/python3")))
    test = f"import sys; sys.exit(sys.version_info < {tuple(least)})"
    for name in filter(None, names):
        if subprocess.run([name, "-c", test], capture_output=True).returncode == 0:
            return name
    raise Fault(f"needs Python {least[0]}.{least[1]} or newer, which is not here")
