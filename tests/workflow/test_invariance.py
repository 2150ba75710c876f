"""Neither the size of a shard nor the number of cores changes an image."""

import numpy as np
import pytest

from hessgeo import store

pytestmark = pytest.mark.slow


def test_images_depend_on_neither_shard_size_nor_cores(finished, copied):
    workflow = copied(studies={"tiny": {"sampling": {"shard": 128}}})
    assert workflow.study.samples != finished.study.samples
    workflow.run(*workflow.shards("image"), *workflow.sidecars("image"), cores=1)
    images = store.read_array(workflow(workflow.study.samples), "image")
    np.testing.assert_array_equal(images, store.read_array(finished(finished.study.samples), "image"))
    # The store of the other layout is still there, whole.
    assert store.read_array(workflow(finished.study.samples), "image").shape == images.shape
