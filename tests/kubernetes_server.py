"""A server of this machine that speaks as much of Kubernetes as the executor of Snakemake asks of it.

A pod is a process here: the container's command, in an empty folder, with its environment and no other. What a real
cluster would refuse is refused: quantities that are none, volumes without a claim, secrets that are not there. A job
that asks for more than the node has waits, as it does there.
"""

import base64
import contextlib
import json
import os
import re
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import yaml

UNITS = {"": 1, "m": 1e-3, "M": 1e6, "Mi": 2**20, "Gi": 2**30}
QUANTITY = re.compile(r"(\d+(?:\.\d+)?)(m|M|Mi|Gi)?")
OBJECT = re.compile(
    r"/(?:api/v1|apis/batch/v1)/namespaces/([\w-]+)/(secrets|jobs|pods)(?:/([\w-]+))?(?:/(\w+))?"
)


class Refused(Exception):
    """What the server does not take: a status, and why."""


def quantity(text):
    """Number of a quantity of resources, as ``950m`` or ``4000M``."""
    found = QUANTITY.fullmatch(text)
    if not found:
        raise Refused(422, f"{text!r} is no quantity")
    return float(found[1]) * UNITS[found[2] or ""]


class Kubernetes:
    """One namespace of a cluster of one node.

    Args:
        folder: of pods' own files and of logs.
        namespace: of everything.
        claims: paths of this machine that persistent volume claims stand for, where pods see them at the same paths.
        node: what it has, by the names of resources.
        path: folders in which pods look for programs.
    """

    def __init__(self, folder, *, namespace, claims, node, path):
        self.folder, self.namespace, self.claims, self.node, self.path = folder, namespace, claims, node, path
        self.jobs, self.secrets, self.bodies = {}, {}, []
        self.lock = threading.Lock()

    def create_secrets(self, body):
        """Take a secret."""
        data = body.get("data") or {}
        self.secrets[body["metadata"]["name"]] = {key: base64.b64decode(data[key]).decode() for key in data}

    def create_jobs(self, body):
        """Start a job's pod, or let it wait where the node has too little."""
        (container,) = body["spec"]["template"]["spec"]["containers"]
        claims = {
            volume["name"]: volume["persistentVolumeClaim"]["claimName"]
            for volume in body["spec"]["template"]["spec"]["volumes"]
            if "persistentVolumeClaim" in volume
        }
        for mount in container["volumeMounts"]:
            claim = claims.get(mount["name"])
            if claim is not None and str(self.claims.get(claim)) != mount["mountPath"]:
                raise Refused(422, f"nothing is claimed as {claim} at {mount['mountPath']}")
        wanted = {name: quantity(text) for name, text in container["resources"]["requests"].items()}
        name = body["metadata"]["name"]
        self.bodies.append(body)
        fits = all(amount <= self.node.get(what, 0) for what, amount in wanted.items())
        self.jobs[name] = self._pod(name, container) if fits else None

    def _pod(self, name, container):
        environment = {"PATH": self.path, "HOME": "/tmp"}
        for entry in container.get("env") or ():
            reference = entry["valueFrom"]["secretKeyRef"]
            environment[entry["name"]] = self.secrets[reference["name"]][reference["key"]]
        place = self.folder / name
        place.mkdir(parents=True)
        with (self.folder / f"{name}.log").open("wb") as log:
            command = [*container["command"], *container["args"]]
            return subprocess.Popen(
                command, cwd=place, env=environment, stdout=log, stderr=log, start_new_session=True
            )

    def kill(self, name):
        """End a pod at once, as the kernel does one that takes too much memory."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.jobs[name].pid, 9)

    def running(self):
        """Names of jobs whose pods are at work."""
        return [name for name, pod in list(self.jobs.items()) if pod is not None and pod.poll() is None]

    def ended(self, name):
        """Exit code of a job's pod, or None."""
        pod = self.jobs[name]
        return None if pod is None else pod.poll()

    def answer(self, method, path, body):
        """What a request is answered with."""
        address = urlsplit(path)
        found = OBJECT.fullmatch(address.path)
        if not found or found[1] != self.namespace:
            raise Refused(404, f"{path} is not here")
        _, kind, name, part = found.groups()
        with self.lock:
            if method == "POST":
                getattr(self, f"create_{kind}")(body)
                return body
            if kind == "pods":
                return self._about_pods(method, name, part, parse_qs(address.query))
            if name not in getattr(self, kind):
                raise Refused(404, f"no {kind} {name}")
            if method == "GET":
                code = self.ended(name)
                ended = {} if code is None else {"failed" if code else "succeeded": 1}
                return {"metadata": {"name": name}, "status": ended}
            if kind == "jobs" and self.jobs[name] is not None:
                self.kill(name)
            del getattr(self, kind)[name]
            return {"status": "Success"}

    def _about_pods(self, method, name, part, query):
        if part == "log":
            return (self.folder / f"{name}.log").read_text()
        if method == "DELETE":
            return {"metadata": {"name": name}}
        job = query["labelSelector"][0].removeprefix("job-name=")
        if self.jobs.get(job) is None:
            return {"items": []}
        code = self.ended(job)
        state = {"running": {}} if code is None else {"terminated": {"exitCode": code % 256}}
        about = {
            "name": "snakemake",
            "state": state,
            "image": "",
            "imageID": "",
            "ready": True,
            "restartCount": 0,
        }
        return {"items": [{"metadata": {"name": job}, "status": {"containerStatuses": [about]}}]}


@contextlib.contextmanager
def kubernetes(folder, **about):
    """A server that runs within a ``with`` block; yields it, and the file that tells clients where it is.

    Arguments as of ``Kubernetes``.
    """
    made = Kubernetes(folder, **about)

    class Handler(BaseHTTPRequestHandler):
        def answer(self):
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            try:
                status, content = 200, made.answer(self.command, self.path, body)
            except Refused as error:
                status, content = error.args[0], {"message": error.args[1]}
            text = content if isinstance(content, str) else json.dumps(content)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        do_GET = do_POST = do_DELETE = answer

        def log_message(self, *words):
            """Say nothing."""

    folder.mkdir(parents=True, exist_ok=True)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    where = folder / "kubeconfig"
    entry = {"cluster": {"server": f"http://127.0.0.1:{server.server_port}"}, "name": "here"}
    context = {"context": {"cluster": "here", "user": "me"}, "name": "here"}
    user = {"name": "me", "user": {}}
    lists = {"clusters": [entry], "contexts": [context], "users": [user]}
    where.write_text(
        yaml.safe_dump({"apiVersion": "v1", "kind": "Config", "current-context": "here", **lists})
    )
    try:
        yield made, where
    finally:
        for name in made.running():
            made.kill(name)
        server.shutdown()
        server.server_close()
