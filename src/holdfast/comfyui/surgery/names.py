"""Names of models as this server has them.

Servers on Windows part folder and file with a backslash, others with a slash,
and each refuses the other's way. That is mended. A model that is missing is
replaced only by one that was declared to be as good, never by a guess.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from holdfast.comfyui.catalog import Catalog
from holdfast.comfyui.edit import Edit
from holdfast.comfyui.model_inputs import slashed
from holdfast.comfyui.surgery.draft import Draft, described
from holdfast.comfyui.workflow import Workflow
from holdfast.errors import BadInputError


def mend_model_names(workflow: Workflow, catalog: Catalog) -> Edit | None:
    """Write names of files in folders the way this server does, with ``/`` or with a backslash.

    Returns:
        None if every name is one the server has, or has in no other writing.
    """
    draft = Draft(workflow, catalog)
    told = []
    for node in draft.graph:
        for name, value in list(draft.inputs(node).items()):
            choices = _choices(draft, node, name)
            if not isinstance(value, str) or value in choices:
                continue
            same = [each for each in choices if slashed(each) == slashed(value)]
            if len(same) == 1:
                draft.inputs(node)[name] = same[0]
                told.append(f"{same[0]} for {value} in {described(draft, node)}")
    words = f"names written as the server does: {'; '.join(told[:5])}"
    return draft.finish("model_names", words, keeps_result=True)


def replace_models(
    workflow: Workflow,
    catalog: Catalog,
    fallbacks: Mapping[str, Sequence[str]],
    *,
    node_id: str | None = None,
) -> Edit | None:
    """Take declared fallbacks for models the server lacks.

    Args:
        workflow: to change.
        catalog: what the server knows.
        fallbacks: model name to the names to take for it, the best first.
        node_id: this node's models are replaced even if the server has them, since they are
            damaged, and no other node's.

    Returns:
        None if none is missing, or the server has no declared fallback.

    Raises:
        BadInputError: the fallbacks of a model are not a list of names.
    """
    wanted = _declared(fallbacks)
    draft = Draft(workflow, catalog)
    told = []
    for node in draft.graph:
        if node_id not in (None, node):
            continue
        for name, value in list(draft.inputs(node).items()):
            choices = _choices(draft, node, name)
            if not isinstance(value, str) or (node_id is None and value in choices):
                continue
            known = {slashed(each): each for each in reversed(choices)}
            given = wanted.get(slashed(value), ())
            other = next((known[each] for each in given if each in known), None)
            if other is not None and other != value:
                draft.inputs(node)[name] = other
                told.append(f"{other} instead of {value} in {described(draft, node)}")
    return draft.finish("other_model", f"another model, as declared: {'; '.join(told[:5])}")


def with_the_rest(fallbacks: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """The same, and for each fallback the ones after it: for a model that was itself a fallback.

    What is declared for several models to be followed by different ones is followed by none.
    """
    rest: dict[str, set[tuple[str, ...]]] = {}
    for others in _declared(fallbacks).values():
        for number, each in enumerate(others, start=1):
            rest.setdefault(each, set()).add(others[number:])
    after = {name: next(iter(ends)) for name, ends in rest.items() if len(ends) == 1}
    return after | _declared(fallbacks)


def _declared(fallbacks: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    for name, others in fallbacks.items():
        if isinstance(others, str) or not all(isinstance(each, str) for each in others):
            raise BadInputError(
                f"fallbacks of {name!r} are {others!r}; they must be a list of model names"
            )
    return {
        slashed(name): tuple(slashed(each) for each in others) for name, others in fallbacks.items()
    }


def _choices(draft: Draft, node: str, name: str) -> tuple[str, ...]:
    spec = draft.spec(node, name)
    listed = () if spec is None or spec.choices is None else spec.choices
    return tuple(each for each in listed if isinstance(each, str))
