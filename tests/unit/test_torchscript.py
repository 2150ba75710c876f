"""Archives of TorchScript checked before they are loaded: their operators, and what they take and give."""

import io
import zipfile

import numpy as np
import pytest
import torch

from hessgeo.systems.generator import load_generator
from hessgeo.systems.generator_files import check_generator
from hessgeo.systems.slices import LatentSlice, random_anchors
from hessgeo.weights.torch_files import is_torchscript
from hessgeo.weights.torchscript import read_torchscript


class Network(torch.nn.Module):
    """What networks of images are made of."""

    def __init__(self):
        super().__init__()
        self.head = torch.nn.Linear(8, 16 * 4)
        self.body = torch.nn.Sequential(
            torch.nn.ConvTranspose2d(16, 8, 4, 2, 1), torch.nn.BatchNorm2d(8), torch.nn.LeakyReLU(0.2)
        )
        self.tail = torch.nn.ModuleList([torch.nn.Conv2d(8, 8, 3, padding=1) for _ in range(2)])
        self.last = torch.nn.Conv2d(8, 3, 1)
        self.register_buffer("noise", torch.randn(4, 4))
        self.names = ["a", "b"]

    def forward(self, z, psi: float = 1.0, truncate: bool = False):
        if truncate:
            z = psi * z
        x = self.body(self.head(z).reshape(z.shape[0], 16, 2, 2)) + self.noise
        for layer in self.tail:
            x = torch.nn.functional.gelu(layer(x))
        assert x.shape[0] > 0, f"no {self.names[0]}"
        x = torch.einsum("nchw,c->nchw", x, torch.ones(8, dtype=x.dtype))
        return torch.tanh(torch.nn.functional.interpolate(self.last(x), scale_factor=2.0, mode="nearest"))


def add_noise(z: torch.Tensor) -> torch.Tensor:
    return z + torch.randn_like(z)


BUILDS = {
    "scripted": lambda: torch.jit.script(Network().eval()),
    "traced": lambda: torch.jit.trace(Network().eval(), torch.zeros(2, 8)),
    "frozen": lambda: torch.jit.freeze(torch.jit.script(Network().eval())),
    "half": lambda: torch.jit.script(Network().half()),
    "function": lambda: torch.jit.script(add_noise),
    "in a container": lambda: torch.jit.script(torch.nn.Sequential(Network(), torch.nn.Tanh())),
}


@pytest.mark.parametrize("name", BUILDS)
def test_networks_pass(tmp_path, name):
    torch.jit.save(BUILDS[name](), str(tmp_path / "g.pt"))
    assert is_torchscript(tmp_path / "g.pt")
    read_torchscript(tmp_path / "g.pt")


# --- what reaches outside ---


class Writes(Network):
    def forward(self, z):
        torch.save(z, "written")
        return z


class WritesInside(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = torch.nn.Sequential(torch.nn.Tanh(), Writes())

    def forward(self, z):
        return self.inner(z) if z.shape[0] > 1000 else z


class Reads(torch.nn.Module):
    def forward(self, z):
        return z + torch.from_file("/etc/passwd", False, 4, dtype=torch.uint8).sum()


class Loads(torch.nn.Module):
    """Whose code runs as soon as it is loaded."""

    def __init__(self):
        super().__init__()
        self.state = torch.zeros(1)

    @torch.jit.export
    def __getstate__(self):
        return self.state, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[torch.Tensor, bool]):
        torch.save(state[0], "written")
        self.state = state[0]
        self.training = state[1]

    def forward(self, z):
        return z


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(path, *, signature=False):
    plane = LatentSlice(random_anchors(0, (8,)), ((0.0, 1.0), (0.0, 1.0)))
    options = {"size": (8, 8), "batch_size": 2}
    lines = []
    checks = (check_generator, lambda path: load_generator(path, plane, **options))
    for check in checks if signature else (read_torchscript, *checks):
        with pytest.raises(ValueError, match=f"^{path} ") as raised:
            check(path)
        lines.append(str(raised.value))
        assert "\n" not in lines[-1]
    assert len(set(lines)) == 1
    return lines[0]


@pytest.mark.parametrize(
    ("network", "operator"),
    [(Writes, "torch.save"), (WritesInside, "torch.save"), (Reads, "torch.from_file"), (Loads, "torch.save")],
)
def test_what_reaches_outside_is_refused_before_it_is_loaded(here, network, operator):
    torch.jit.save(torch.jit.script(network()), here / "g.pt")
    line = refused(here / "g.pt")
    assert f"can reach outside itself: its code uses {operator}; an ONNX file cannot" in line
    assert not (here / "written").exists()


def test_the_danger_is_real(here):
    # A test of the tests above: what they refuse writes where nothing refuses it.
    torch.jit.save(torch.jit.script(Loads()), here / "g.pt")
    (here / "written").unlink(missing_ok=True)
    torch.jit.load(here / "g.pt")
    assert (here / "written").exists()


def rewritten(path, change, suffix=".py"):
    """An archive some of whose texts are changed, as somebody could by hand."""
    torch.jit.save(torch.jit.script(Plain()), path)
    made = io.BytesIO()
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(made, "w") as target:
        for entry in archive.infolist():
            content = archive.read(entry)
            target.writestr(entry, change(content) if entry.filename.endswith(suffix) else content)
    path.write_bytes(made.getvalue())
    return path


class Plain(torch.nn.Module):
    def forward(self, z):
        return torch.tanh(z)


@pytest.mark.parametrize(
    ("code", "named"),
    [
        (b'z.save("x")', "torch.save"),
        (b'getattr(z, "save")("x")', "torch.save"),
        (b'getattr(z, "sa\\x76e")("x")', "torch.save"),
        (b'torch.\\\n    save(z, "x")', "torch.save"),
        (b'(torch).save(z, "x")', "torch.save"),
        (b'ops.aten.save(z, "x")', "torch.save"),
        (b'ops.image.write_file("x", z)', "ops.image.write_file"),
        (b"ops.aten.tanh(z)", "ops.aten.tanh"),
        (b'ops.prim.rpc_sync("x", z)', "ops.prim.rpc_sync"),
        (b"ops.prim.PythonOp(z)", "ops.prim.PythonOp"),
        (b'__torch__.torch.classes.aoti.AOTIModelRunnerCpu("x")', "torch.classes.aoti"),
    ],
)
def test_code_written_by_hand_is_refused(tmp_path, code, named):
    path = rewritten(tmp_path / "g.pt", lambda text: text.replace(b"torch.tanh(z)", code))
    assert f"its code uses {named}" in refused(path)


def test_an_object_of_another_library_is_refused(tmp_path):
    path = rewritten(
        tmp_path / "g.pt", lambda content: content + b"c__torch__.torch.classes.aoti\nRunner\n.", ".pkl"
    )
    assert "its code uses torch.classes.aoti" in refused(path)


def test_code_without_end_is_not_parsed(tmp_path):
    path = rewritten(tmp_path / "g.pt", lambda text: text + b"\n" * 5_000_000)
    assert "cannot be checked before it is run (more than 4,000,000 bytes)" in refused(path)


@pytest.mark.parametrize("code", [b"lambda", b"((((" * 200, b"\0", b"-" * 100_000 + b"1"])
def test_code_that_cannot_be_read_is_refused(tmp_path, code):
    path = rewritten(tmp_path / "g.pt", lambda text: text.replace(b"torch.tanh(z)", code))
    assert "holds code that cannot be checked before it is run" in refused(path)


# --- what it takes and gives ---


class Two(torch.nn.Module):
    def forward(self, z, label):
        return z + label


class Lists(torch.nn.Module):
    def forward(self, z):
        return [z, z]


@pytest.mark.parametrize(
    ("network", "line"),
    [
        (Two, "needs the inputs z, label; export a wrapper"),
        (Lists, "gives List[Tensor], must give one tensor"),
    ],
)
def test_other_signatures_are_refused_without_running(tmp_path, network, line):
    torch.jit.save(torch.jit.script(network()), tmp_path / "g.pt")
    assert line in refused(tmp_path / "g.pt", signature=network is Two)


def test_an_archive_without_a_map_is_refused(tmp_path):
    path = rewritten(tmp_path / "g.pt", lambda text: text.replace(b"def forward", b"def backward"))
    assert "has no method forward" in refused(path)


def test_damage_is_one_line(tmp_path):
    torch.jit.save(torch.jit.script(Plain()), tmp_path / "g.pt")
    whole = (tmp_path / "g.pt").read_bytes()
    place = whole.index(b"/code/") + 100
    damaged = whole[:place] + bytes(20) + whole[place + 20 :]
    (tmp_path / "g.pt").write_bytes(damaged)
    with pytest.raises(ValueError, match=r"g\.pt is damaged|cannot be checked|pickle or no archive"):
        check_generator(tmp_path / "g.pt")


def test_images_are_still_those_of_the_network(tmp_path):
    torch.manual_seed(0)
    network = Network().eval()
    torch.jit.save(torch.jit.script(network), tmp_path / "g.pt")
    plane = LatentSlice(random_anchors(0, (8,)), ((0.0, 1.0), (0.0, 1.0)))
    system = load_generator(tmp_path / "g.pt", plane, size=(8, 8), batch_size=2, output_range=(-0.4, 0.1))
    z = np.random.default_rng(0).standard_normal((2, 8), dtype=np.float32)
    with torch.inference_mode():
        # One and the same sum, up to its order.
        assert np.allclose(system.outputs(z), network(torch.from_numpy(z)).numpy(), atol=1e-5)
