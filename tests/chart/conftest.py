"""Tests that take `case` run for every case unless they say which.

Those that take `webhook` get the render of each case in which the program runs.
"""

import pytest

from cases import CASES, WEBHOOK
from chart import rendered


def pytest_generate_tests(metafunc):
    names = [mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")]
    own = {name for one in names for name in ([one] if isinstance(one, str) else one)}
    if "case" in metafunc.fixturenames and "case" not in own:
        metafunc.parametrize("case", CASES)
    if "webhook" in metafunc.fixturenames:
        metafunc.parametrize("webhook", WEBHOOK, indirect=True)


@pytest.fixture
def webhook(request):
    return rendered(request.param)
