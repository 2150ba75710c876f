"""Settings of solvable systems: what is refused, what each path depends on, what is built of them."""

import numpy as np
import pytest
import yaml

from hessgeo import store
from hessgeo.estimators.registry import ESTIMATORS, NETWORKS
from hessgeo.evaluation.tables import parameter_names
from hessgeo.figures.parameter_plane import label, symbol
from hessgeo.figures.registry import SOLVABLE
from hessgeo.pipeline.lattices import largest_coupling
from hessgeo.pipeline.layout import Layout
from hessgeo.pipeline.schema import defaults
from hessgeo.pipeline.settings import SettingsError, merged, read_settings
from hessgeo.pipeline.solvable_layout import TABLES
from hessgeo.pipeline.solvable_systems import gather_samples, solvable_system, system_title
from hessgeo.systems.solvable.ising import Ising
from hessgeo.systems.solvable.isnnn import IsingNextNearest
from hessgeo.systems.solvable.tasep import Tasep

FLOWS = ("noisy_flow",)  # of noisy flows, of which there is none in the tables by default


@pytest.fixture
def read(config, tmp_path, monkeypatch, repository):
    monkeypatch.chdir(tmp_path)

    def read(**change):
        settings = read_settings(merged(config, {"solvable": change}))
        return Layout(settings, repository).solvable

    return read


FLOW = {"kind": "mixture-flow", "size": 3, "extent": [[-1.5, 1.5], [-1.5, 1.5]]}


def system(**entries):
    return {"systems": {"ising-8": entries}}


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (system(kind="potts"), "systems.ising-8.kind: 'potts' is not allowed; allowed: ising, isnnn, "),
        (system(size=19), "systems.ising-8.size: 19 is not allowed; allowed: at most 18 for the kind ising"),
        (
            system(parameters="mixture"),
            "systems.ising-8.parameters: 'mixture' is not allowed; allowed: natural, temperature for the kind ising",
        ),
        (
            system(extent=[[0.4, 0.1], [-1, 1]]),
            "systems.ising-8.extent: [[0.4, 0.1], [-1, 1]] is not allowed; allowed: [[a_min, a_max], [b_min, b_max]]",
        ),
        (
            system(parameters="temperature", extent=[[0, 1], [-1, 1]]),
            "systems.ising-8.extent: [[0, 1], [-1, 1]] is not allowed; allowed: bounds above 0",
        ),
        (
            system(shard=30_000),
            "systems.ising-8.shard: 30000 is not allowed; allowed: a divisor of the number of samples, 100000",
        ),
        (
            {"systems": {"tasep-64": {"extent": [[0, 1], [0.1, 1]]}}},
            "systems.tasep-64.extent: [[0, 1], [0.1, 1]] is not allowed; allowed: bounds above 0",
        ),
        (
            {"fisher": {"systems": ["ising-9"]}},
            "fisher.systems[0]: 'ising-9' is not allowed; allowed: an entry of solvable.systems (ising-16, ",
        ),
        (
            {"table1": {"estimators": ["unet"]}},
            "table1.estimators[0]: 'unet' is not allowed; allowed: statistics, exponential, ",
        ),
        (
            {"convergence": {"samples": [200_000]}},
            "convergence.samples[0]: 200000 is not allowed; allowed: at most the samples of ising-8, 100000",
        ),
        (
            {"networks": {"vae": {"latent": 3}}},
            "networks.vae.latent: unknown key; nearest: latents; allowed: latents, channels, beta, steps, ",
        ),
        (
            {"systems": {"ising-8": {"networks": {"u2net": {"epochs": 0}}}}},
            "systems.ising-8.networks.u2net.epochs: 0 is not allowed; allowed: a whole number >= 1",
        ),
        (
            {"estimators": {"score-classifier": {"debias": "slope"}}},
            "estimators.score-classifier.debias: 'slope' is not allowed; allowed: none, or slope with networks.score.",
        ),
        (
            system(estimators={"score-classifier": {"debias": "slope"}}),
            "systems.ising-8.estimators.score-classifier.debias: 'slope' is not allowed; allowed: none, or slope with",
        ),
        (
            {
                "estimators": {"score-classifier": {"debias": "slope"}},
                "networks": {"score": {"halves": False}},
                **system(networks={"score": {"halves": True}}),
            },
            "estimators.score-classifier.debias: 'slope' is not allowed; allowed: none, or slope with networks.score.",
        ),
        (
            {"networks": {"exponential": {"statistics": 3}}},
            "networks.exponential.statistics: unknown key; ",
        ),
        (
            {"systems": {"flow": FLOW}, "table1": {"systems": ["flow"]}},
            "table1.systems[0]: 'flow' is not allowed; allowed: a system with a free energy, which the kind ",
        ),
        (
            {"systems": {"flow": {**FLOW, "flow": {"weights": [1, 2]}}}},
            "systems.flow.flow.weights: [1, 2] is not allowed; allowed: [], or a number for each of the 3 modes",
        ),
        (
            {"systems": {"flow": {**FLOW, "extent": [[-6, 6], [-1, 1]]}}},
            "systems.flow.extent: [[-6, 6], [-1, 1]] is not allowed; allowed: latents from -5 to 5",
        ),
        (
            {"systems": {"flow": {**FLOW, "flow": {"eta": 0}}}},
            "systems.flow.flow.eta: 0 is not allowed; allowed: ",
        ),
        ({"seeds": []}, "seeds: [] is not allowed; allowed: a list of 1 to 1000 different entries"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(read, change, line):
    with pytest.raises(SettingsError) as caught:
        read(**change)
    lines = str(caught.value).splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(f"hessgeo: solvable.{line}")


def test_a_store_has_a_name_of_its_own_for_all_that_its_samples_depend_on(read):
    base = read()
    assert base.store("ising-8", 1) != base.store("ising-8", 2)
    for change in (
        {"size": 9},
        {"samples": 200_000},
        {"shard": 25_000},
        {"sweeps": 7},
        {"extent": [[0.1, 0.3], [0, 1]]},
    ):
        assert read(**system(**change)).sample_store("ising-8", 1) != base.sample_store("ising-8", 1), change
    # The nodes at which estimates are scored are no matter of the samples.
    assert read(**system(grid=[9, 9])).sample_store("ising-8", 1) == base.sample_store("ising-8", 1)
    # Nor is anything but them a matter of jobs that draw samples, train and estimate: none is due again for it.
    own = {"networks": {"u2net": {"epochs": 9}}, "estimators": {"u2net": {"draws": 2}}}
    changes = {"ising-8": own, "tasep-64": {**own, "truth_samples": 500}}
    other = read(systems=changes)
    for name in changes:
        for step in ("samples", "estimates"):
            assert other.part(name, of=step) == base.part(name, of=step)
    # No sampler of this kind has sweeps.
    other = read(systems={"tasep-64": {"sweeps": 7}})
    assert other.sample_store("tasep-64", 1) == base.sample_store("tasep-64", 1)


def test_known_statistics_are_asked_of_exponential_families_alone(read):
    layout = read()
    wanted = layout.estimates("fisher")
    assert layout.estimate("ising-8", 3, 100_000, "statistics") in wanted
    assert not any("tasep-64" in path and "statistics" in path for path in wanted)
    assert len(wanted) == len(set(wanted))


def test_a_noisy_flow_has_its_own_settings_and_estimators_of_real_numbers(read):
    change = {"systems": {"flow": FLOW}, "fisher": {"systems": ["flow"]}}
    layout = read(**change)
    names = {record["estimator"] for record in layout.records("fisher")}
    wide = {"exponential-wide", "mean-as-statistic", "score-classifier"}
    assert names == {"exponential", "exponential-posterior", *wide}
    assert set(layout.shown) >= {"noisy_flow", "fisher_comparison"}
    other = read(**{**change, "systems": {"flow": {**FLOW, "flow": {"eta": 0.3}}}})
    assert other.sample_store("flow", 1) != layout.sample_store("flow", 1)
    assert other.sample_store("ising-8", 1) == layout.sample_store("ising-8", 1)
    assert "flow" not in layout.part("ising-8", of="samples")


def test_a_noisy_flow_goes_through_the_scripts(tmp_path, main_of):
    create_states, sample_states, solve = (
        main_of(name) for name in ("create_states", "sample_states", "solve_system")
    )
    flow = {"radius": 1.0, "sigma": 0.3, "weights": [2, 1, 1], "steps": 3, "eta": 0.6, "eta_rule": "ddim"}
    settings = {**FLOW, "parameters": "natural", "grid": [5, 5], "flow": flow, "truth_samples": 0}
    path = tmp_path / "samples" / "x.zarr"
    create_states(path, {**settings, "samples": 500, "shard": 500}, 3, "flow")
    sample_states(path, 0, settings, 3, {})
    t = store.read_array(path, "t")
    samples = gather_samples(settings, store.read_array(path, "state"), t)
    assert samples.states.dtype == np.float32
    np.testing.assert_array_equal(samples.states, solvable_system(settings).sample(t, np.arange(500), 3))
    assert (samples.geometry, samples.statistics, samples.coordinates.names) == ("none", None, ("a", "b"))
    solve(settings, tmp_path / "truth.nc")
    truth = store.read_dataset(tmp_path / "truth.nc")
    assert "value" not in truth
    nodes = samples.grid.points[[0, 12]]
    expected = solvable_system(settings).fisher_metric(nodes)
    np.testing.assert_allclose(truth["metric"].to_numpy().reshape(-1, 2, 2)[[0, 12]], expected, atol=1e-7)


def test_settings_of_a_system_go_before_those_of_all(read):
    change = {"networks": {"exponential": {"steps": 9, "batch_size": 128}}}
    change["systems"] = {"ising-8": {"networks": {"exponential": {"steps": 2}}}}
    layout = read(**change)
    assert layout.method("ising-8", "exponential", of="networks")["steps"] == 2
    assert layout.method("ising-8", "exponential", of="networks")["batch_size"] == 128
    assert layout.method("ising-10", "exponential", of="networks")["steps"] == 9


def test_every_estimator_reads_a_network_that_is_known():
    assert {entry.network for entry in ESTIMATORS.values()} - {None} == set(NETWORKS)
    assert list(defaults("solvable_networks")) == list(NETWORKS)
    assert list(defaults("solvable_estimators")) == list(ESTIMATORS)


def test_the_targets_are_all_tables_and_figures(read):
    targets = read().targets
    assert [path for path in targets if path.endswith(".csv")] == [
        *(f"results/tables/{name}.csv" for name in TABLES),
        *(f"results/solvable/figures/{figure.name}.csv" for figure in SOLVABLE if figure.name not in FLOWS),
    ]


def test_systems_are_what_settings_say(config):
    systems = config["solvable"]["systems"]
    ising = solvable_system({"parameters": "natural", **systems["ising-16"]})
    assert isinstance(ising, Ising)
    assert ising.side == 16
    assert ising.coordinates.names == ("T", "H")
    assert isinstance(solvable_system({"parameters": "natural", **systems["tasep-64"]}), Tasep)


def test_stored_states_come_back_in_the_shape_of_the_system():
    settings = yaml.safe_load(
        "{kind: ising, size: 4, parameters: natural, extent: [[0.1, 0.4], [-1, 1]], grid: [5, 5]}"
    )
    flat = np.where(np.random.default_rng(0).random((3, 16)) < 0.5, -1, 1).astype(np.int8)
    samples = gather_samples(settings, flat, np.array([[0.2, 0.0]] * 3))
    assert samples.states.shape == (3, 4, 4)
    assert samples.geometry == "torus"
    np.testing.assert_array_equal(samples.statistics[:, 1], flat.sum(axis=1))
    assert samples.first(2).statistics.shape == (2, 2)
    with pytest.raises(ValueError, match=r"count is 4, must lie in 1\.\.3"):
        samples.first(4)


def test_samples_do_not_depend_on_the_size_of_a_shard(tmp_path, main_of):
    create_states, sample_states = (main_of(name) for name in ("create_states", "sample_states"))
    settings = yaml.safe_load(
        "{kind: tasep, size: 12, parameters: natural, extent: [[0.1, 0.9], [0.1, 0.9]], grid: [5, 5], samples: 64}"
    )
    states = []
    for shard in (16, 64):
        path = tmp_path / f"{shard}" / "samples" / "x.zarr"
        create_states(path, {**settings, "shard": shard}, 3, "tasep")
        for k in range(64 // shard):
            sample_states(path, k, settings, 3, {})
        states.append(store.read_array(path, "state"))
    np.testing.assert_array_equal(*states)


@pytest.mark.parametrize(
    ("entries", "method"),
    [
        ({"kind": "ising", "size": 6, "extent": [[0, 0.4], [-1, 1]]}, "cluster"),
        ({"kind": "ising", "size": 6, "extent": [[-0.5, 0.4], [-1, 1]]}, "exact"),
        ({"kind": "ising", "size": 6, "extent": [[1, 2], [-1, 1]], "parameters": "temperature"}, "cluster"),
        ({"kind": "isnnn", "size": 4, "extent": [[-0.5, 0.5], [0, 1]]}, "cluster"),
        ({"kind": "isnnn", "size": 5, "extent": [[-0.5, 0.5], [0, 1]]}, "exact"),
        ({"kind": "isnnn", "size": 4, "extent": [[0, 0.5], [-0.2, 1]]}, "exact"),
        ({"kind": "isnnn", "size": 4, "extent": [[0.5, 1.2], [1, 2]], "parameters": "mixture"}, "exact"),
        ({"kind": "isnnn", "size": 4, "extent": [[-0.5, 1], [1, 2]], "parameters": "mixture"}, "cluster"),
    ],
)
def test_a_lattice_with_couplings_of_either_sign_is_sampled_exactly(read, entries, method):
    layout = read(systems={"mine": entries})
    system = solvable_system(layout.systems["mine"])
    assert isinstance(system, Ising if entries["kind"] == "ising" else IsingNextNearest)
    assert system.method == method
    corners = np.array([(a, b) for a in entries["extent"][0] for b in entries["extent"][1]], dtype=float)
    states = system.sample(np.repeat(corners, 4, axis=0), np.arange(16), 3)
    assert set(np.unique(states)) <= {-1, 1}
    if entries["extent"][0][0] < 0 and entries["kind"] == "ising":
        # The energy of bonds falls where K is negative: (-.5, -1) against (.4, -1).
        bonds = system.sufficient_statistics(states)[:, 0]
        assert bonds[:4].mean() < bonds[8:12].mean()


@pytest.mark.parametrize("parameters", ["natural", "temperature", "mixture"])
def test_the_largest_coupling_of_a_box_is_that_of_its_corners(parameters):
    kind = "isnnn" if parameters == "mixture" else "ising"
    extent = [[-0.5, 1.7], [0.2, 3]] if parameters == "mixture" else [[0.3, 2], [-1.4, 1]]
    settings = {"kind": kind, "size": 6, "parameters": parameters, "extent": extent}
    axes = [np.linspace(*bounds, 41) for bounds in extent]
    box = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    reached = np.abs(solvable_system(settings).natural(box)).max()
    assert largest_coupling(settings) == pytest.approx(reached, rel=1e-12)


@pytest.mark.parametrize(
    ("kind", "parameters", "title"),
    [
        ("ising", "temperature", "Ising (T, H), 8 x 8"),
        ("isnnn", "natural", "Ising, next-nearest (K1, K2), 8 x 8"),
        ("isnnn", "mixture", "Ising, next-nearest (l0, l1), 8 x 8"),
        ("curie-weiss", "natural", "Curie-Weiss (K, h), 8"),
        ("tasep", "natural", "TASEP (alpha, beta), 8"),
    ],
)
def test_a_title_has_the_parameters_that_axes_can_name(kind, parameters, title):
    settings = {"kind": kind, "size": 8, "parameters": parameters, "extent": [[0.1, 0.4], [0.1, 0.4]]}
    assert system_title(settings) == title
    for name in parameter_names(solvable_system(settings)):
        assert label(name) != name
        assert f"${symbol(name)}$" in label(name)
