"""What may have cost money is told apart from what cannot have."""

from __future__ import annotations

import pytest

from holdfast.comfyui import Workflow
from holdfast.comfyui.catalog import Catalog
from holdfast.comfyui.failures import Failure, FailureKind
from holdfast.comfyui.money import may_have_been_paid, paid_nodes
from tests.comfyui.graphs import node, painting

PAID = Workflow.from_api(
    {
        "1": node("OpenAIDalle3", prompt="a cat"),
        "2": node("Mystery", prompt="a dog"),
        "3": node("SaveImage", images=["1", 0], filename_prefix="x"),
    }
)


def failure(kind: FailureKind, node_id: str | None = None) -> Failure:
    """A failure of this kind at this node."""
    return Failure(kind, "boom", "a", node_id)


def test_the_server_says_which_nodes_are_paid():
    catalog = Catalog.parse(
        {
            "Mystery": {"input": {}, "api_node": True},
            "OpenAIDalle3": {"input": {}, "api_node": False},
        }
    )
    assert paid_nodes(PAID, catalog) == {"2": "Mystery"}


def test_without_a_server_to_ask_partners_are_known_by_name():
    assert paid_nodes(PAID, None) == {"1": "OpenAIDalle3"}
    assert paid_nodes(painting(), None) == {}


@pytest.mark.parametrize(
    "kind",
    [
        FailureKind.REJECTED,
        FailureKind.UNREACHABLE,
        FailureKind.NEVER_ACCEPTED,
        FailureKind.NOT_COMFYUI,
    ],
)
def test_what_never_began_cost_nothing(kind):
    assert not may_have_been_paid(failure(kind), ["1"], [], joined=True)


@pytest.mark.parametrize("kind", [FailureKind.SERVER_DIED, FailureKind.LOST, FailureKind.STALLED])
def test_a_server_that_cannot_tell_may_have_run_it(kind):
    assert may_have_been_paid(failure(kind), ["1"], [], joined=False)
    assert not may_have_been_paid(failure(kind), [], [], joined=False)


def test_a_server_that_lived_told_what_began():
    boom = failure(FailureKind.NODE_ERROR, "3")
    assert not may_have_been_paid(boom, ["1"], ["2", "3"], joined=False)
    assert may_have_been_paid(boom, ["1"], ["1", "3"], joined=False)
    assert may_have_been_paid(boom, ["1"], ["3"], joined=True)
    assert may_have_been_paid(failure(FailureKind.NODE_ERROR, "1"), ["1"], [], joined=False)
