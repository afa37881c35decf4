import pytest

from tests.integrations.clients import CLIENTS
from tests.integrations.scripted import serving


@pytest.fixture
def server():
    with serving() as running:
        yield running


@pytest.fixture(params=CLIENTS, ids=lambda kind: kind.__name__.lower())
def client(request):
    """Makes clients of each kind, and closes them."""
    made = []

    def make(pipeline, **options):
        made.append(request.param(pipeline, **options))
        return made[-1]

    make.lost, make.stream = request.param.lost, request.param.stream
    yield make
    for one in made:
        one.close()
