"""The model server: NVIDIA's Triton from pip in an environment of its own, or the one that TRITON_URL names."""

from __future__ import annotations

import shutil
import sys
import urllib.error
import urllib.request
from pathlib import Path

import tritonclient.grpc
from msgspec import Struct
from tritonclient.utils import InferenceServerException

from deploy.embedded import process
from deploy.embedded.context import Context, child_environment
from deploy.embedded.environment import PipEnvironment
from deploy.embedded.errors import PortTaken, StackError
from deploy.embedded.ports import HOST, IN_USE, pick_ports
from deploy.embedded.process import Child
from deploy.embedded.progress import Report
from stream.settings import StackSettings

FOLDER = Path(__file__).parents[1] / "triton"
# One answer from a server on this machine takes milliseconds.
PROBE_TIMEOUT_S = 2.0
PORT_TRIES = 3
# How long the server lets calls under way finish when told to end; below process.STOP_GRACE_S.
EXIT_TIMEOUT_S = 10
ADVICE = "A model that does not load ends the server: the lines below say which and why."


class Triton(Struct, frozen=True, kw_only=True):
    """A server that serves. Addresses are `host:port`; http and metrics are empty for an external one."""

    kind: str
    version: str
    grpc: str
    http: str = ""
    metrics: str = ""
    repository: str = ""
    child: Child | None = None

    @property
    def alive(self) -> bool:
        """Whether what we started still runs; for an external one, whether it answers."""
        return self.child.alive if self.child is not None else bool(_server_version(self.grpc))

    def stop(self) -> None:
        """End what we started, nothing else."""
        if self.child is not None:
            process.stop(self.child)


class TritonEnvironment:
    """The server's binary, its backend for Python models, and the environment that these run in."""

    def __init__(self, folder: Path) -> None:
        pinned = FOLDER / "requirements.txt", FOLDER / "constraints.txt"
        self._environment = PipEnvironment("the model server", folder, *pinned)
        self._root = self._environment.site / "pytriton" / "tritonserver"
        self.program = self._root / "bin" / "tritonserver"
        self.backends = self._root / "backends"

    @property
    def ready(self) -> bool:
        """Whether it is whole and current."""
        return self._environment.ready

    def prepare(self, report: Report) -> bool:
        """Make it unless it is ready. Whether it had to be made. Raises StackError."""
        return self._environment.create(report, self._finish)

    def variables(self) -> dict[str, str]:
        """Environment of the server. It runs models in the first python3 on the PATH."""
        inherited = child_environment()
        libraries = [str(self._environment.site / "nvidia_pytriton.libs"), inherited.get("LD_LIBRARY_PATH", "")]
        path = [str(self._environment.folder / "bin"), inherited.get("PATH", "")]
        inherited["LD_LIBRARY_PATH"] = ":".join(part for part in libraries if part)
        inherited["PATH"] = ":".join(part for part in path if part)
        # Heads are many small products: a pool of BLAS threads took ten times the CPU of one thread.
        inherited["OPENBLAS_NUM_THREADS"] = "1"
        return inherited

    def _finish(self) -> list[Path]:
        """The backend takes the stub of this Python from beside itself; pip does not keep all run bits."""
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        name = "triton_python_backend_stub"
        source = self._root / "python_backend_stubs" / version / name
        if not source.exists():
            raise StackError(f"the model server has no Python backend for Python {version}; use 3.11")
        stub = self.backends / "python" / name
        shutil.copyfile(source, stub)
        for path in (stub, self.program):
            path.chmod(0o755)
        return [stub, self.program]


def find_repository(models_dir: Path) -> Path:
    """The model repository of `shangxin models build`: the folder itself or `repository` in it.

    Raises StackError when there is no model.
    """
    for folder in (models_dir, models_dir / "repository"):
        if any(folder.glob("*/config.pbtxt")):
            return folder.absolute()
    raise StackError(f"no models in {models_dir} (no */config.pbtxt); run `shangxin models build`")


def attach(url: str) -> Triton:
    """The server of TRITON_URL. Raises StackError when none answers: whoever names one means that one."""
    version = _server_version(url)
    if not version:
        raise StackError(f"no Triton answers at TRITON_URL={url} (gRPC); start it, or unset it")
    return Triton(kind="external", version=version, grpc=url)


def start(stack: StackSettings, context: Context, models: Path) -> Triton:
    """A server on this model repository, from an environment that is ready.

    Raises StackError: a model does not load, a wanted port is in use, the time is up.
    """
    environment = TritonEnvironment(stack.triton_venv)
    for left in reversed(range(PORT_TRIES)):
        try:
            return _start_once(stack, context, environment, models)
        except PortTaken:
            if not left or _wanted_ports(stack) != [0, 0, 0]:
                raise
    raise AssertionError("unreachable")


def _wanted_ports(stack: StackSettings) -> list[int]:
    return [stack.triton_http_port, stack.triton_grpc_port, stack.triton_metrics_port]


def _start_once(stack: StackSettings, context: Context, environment: TritonEnvironment, models: Path) -> Triton:
    names = ("http", "grpc", "metrics")
    ports = pick_ports([f"Triton {name}" for name in names], _wanted_ports(stack))
    command = [str(environment.program), f"--model-repository={models}", f"--backend-directory={environment.backends}"]
    for name, port in zip(names, ports, strict=True):
        command += [f"--{name}-address={HOST}", f"--{name}-port={port}"]
    command.append(f"--exit-timeout-secs={EXIT_TIMEOUT_S}")
    child = context.start("triton", command, environment.variables(), context.run_dir)
    http, grpc, metrics = (f"{HOST}:{port}" for port in ports)
    try:
        process.wait_ready(child, ports, lambda: server_answers(grpc, http), context.deadline, ADVICE)
    except BaseException as error:
        process.stop(child)
        if IN_USE in child.excerpt():
            raise PortTaken(f"Triton: one of the ports {ports} was taken meanwhile") from error
        raise
    return Triton(
        kind="pip", version=_server_version(grpc), grpc=grpc, http=http, metrics=metrics,
        repository=str(models), child=child,
    )  # fmt: skip


def server_answers(grpc: str, http: str) -> bool:
    """Whether the server is there and, where its HTTP address is known, has every model loaded."""
    return bool(_server_version(grpc)) and (not http or _ready(http))


def _ready(http: str) -> bool:
    """Whether every model of the repository is loaded."""
    try:
        with urllib.request.urlopen(f"http://{http}/v2/health/ready", timeout=PROBE_TIMEOUT_S) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _server_version(grpc: str) -> str:
    """What the server says of itself; empty when none answers."""
    client = tritonclient.grpc.InferenceServerClient(grpc)
    try:
        return str(client.get_server_metadata(client_timeout=PROBE_TIMEOUT_S).version)
    except InferenceServerException:
        return ""
    finally:
        client.close()
