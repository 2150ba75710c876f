"""The simulated scheduler, where its times are known in closed form."""

import pytest
from scheduler_simulation import Study, simulate


def test_one_node_does_one_job_after_another():
    found = simulate(10, 1, work=60.0, submit=0.5, start=4.5)
    assert found.seconds == pytest.approx(10 * 65.0)
    assert found.share == pytest.approx(60 / 65)
    grouped = simulate(10, 1, work=60.0, submit=0.5, start=4.5, grouped=5)
    assert grouped.seconds == pytest.approx(2 * 5.0 + 600.0)


def test_with_more_nodes_than_it_can_feed_the_scheduler_decides():
    found = simulate(1000, 1000, work=1.0, submit=0.5, start=0.5)
    assert found.seconds == pytest.approx(1000 * 0.5 + 1.5)
    assert found.submitting == pytest.approx(500 / 501.5)


def test_with_few_nodes_and_free_submission_all_work_side_by_side():
    found = simulate(1000, 10, work=3.0, submit=0.0, start=1.0)
    assert (found.seconds, found.share) == (pytest.approx(400.0), pytest.approx(0.75))


def test_jobs_and_files_are_counted():
    study = Study(100_000, 1024, per_job=4)
    assert (study.shards, study.jobs, study.files) == (98, 50, 492)
