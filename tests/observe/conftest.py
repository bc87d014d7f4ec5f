"""Two runs at the same time, which the tests then look at: one in which everything happens, and a rollout in a healthy cluster."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from everything import Everything
from expressions import ROOT
from rollout import Rollout


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    both = [Everything(tmp_path_factory.mktemp("everything")), Rollout(tmp_path_factory.mktemp("rollout"))]
    try:
        for one in both:
            one.start()
        with ThreadPoolExecutor() as pool:
            for done in [pool.submit(one.happen) for one in both]:
                done.result()
        yield both
        if folder := os.environ.get("OBSERVE_DRAW"):
            from pictures import draw

            draw(both[1], ROOT / folder)
    finally:
        for one in both:
            one.stop()


@pytest.fixture(scope="session")
def run(runs):
    return runs[0]


@pytest.fixture(scope="session")
def rollout(runs):
    return runs[1]
