"""Results that bear dates of the future."""

import os

from hessgeo.pipeline.clocks import settle

NOW = 1_800_000_000 * 10**9
DAY = 86_400 * 10**9


def dated(folder, **dates):
    for name, date in dates.items():
        (folder / name).write_text(name)
        os.utime(folder / name, ns=(date, date))


def dates(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def test_dates_of_the_future_become_those_of_now_in_their_order(tmp_path):
    (folder := tmp_path / "tiny").mkdir()
    dated(
        folder,
        old=NOW - DAY,
        image=NOW + DAY,
        posterior=NOW + 2 * DAY,
        metric=NOW + 2 * DAY,
        phases=NOW + 9 * DAY,
    )
    os.utime(folder, ns=(NOW, NOW))
    assert settle(tmp_path, now=NOW) == 4
    found = dates(folder)
    assert found["old"] == NOW - DAY
    assert found["old"] < found["image"] < found["posterior"] == found["metric"] < found["phases"] <= NOW
    assert settle(tmp_path, now=NOW) == 0
    assert dates(folder) == found


def test_what_links_lead_to_is_left_alone(tmp_path):
    (results := tmp_path / "results").mkdir()
    (disk := tmp_path / "disk").mkdir()
    dated(disk, image=NOW + DAY)
    for name, target in (("file", disk / "image"), ("folder", disk), ("nothing", tmp_path / "nowhere")):
        (results / name).symlink_to(target)
    os.utime(disk, ns=(NOW, NOW))
    settle(results, now=NOW)
    assert dates(disk) == {"image": NOW + DAY}


def test_a_folder_that_is_not_there_has_no_dates(tmp_path):
    assert settle(tmp_path / "results") == 0
