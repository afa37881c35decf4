"""What can be done to the workflow itself about a failure: the cheapest thing first.

Pure: given what failed, the form the job has now and the node classes of the
server, the next change. `plan` decides whether it is made now, later or not at
all; `surgery` knows how.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from holdfast.comfyui.allowed import Allowed
from holdfast.comfyui.catalog import Catalog
from holdfast.comfyui.corrections import correct
from holdfast.comfyui.edit import Change, Edit
from holdfast.comfyui.failures import Failure, FailureKind
from holdfast.comfyui.form import Form
from holdfast.comfyui.lessons import Lesson, size_of
from holdfast.comfyui.plan import Offer
from holdfast.comfyui.simpler import carried
from holdfast.comfyui.surgery import (
    KnobLimits,
    Split,
    bypass_optional,
    mend_model_names,
    next_memory_edit,
    replace_models,
    with_the_rest,
    without_class,
)
from holdfast.comfyui.workflow import Workflow
from holdfast.errors import ErrorCategory

SIMPLER = "simpler_workflow"
RESEEDED = "reseeded"
OTHER_MODEL = "other_model"


@dataclass(frozen=True, slots=True)
class Mend:
    """A change that may help, ready to be made."""

    form: Form
    offer: Offer
    change: Change

    @classmethod
    def by(cls, edit: Edit, form: Form, *, early: bool = False, local: bool = False) -> Mend:
        """What an edit of the next run amounts to."""
        words = f"once more, changed: {edit.change.words}"
        return cls(
            form.changed({form.next: [edit.workflow]}, edit.change),
            Offer(words, early, local),
            edit.change,
        )


def next_mend(
    failure: Failure, form: Form, catalog: Catalog, allowed: Allowed, *, strict: bool
) -> Mend | None:
    """The cheapest change that has not been made yet; None if nothing can or may be changed.

    Args:
        failure: what went wrong last.
        form: what the job's runs are now.
        catalog: what the server knows.
        allowed: how far changes may go.
        strict: only what keeps the result.
    """
    for mend in _candidates(failure, form, catalog, allowed, strict=strict):
        if strict and not mend.change.keeps_result:
            continue
        return mend
    return None


def relived(
    lesson: Lesson, form: Form, catalog: Catalog, allowed: Allowed, *, strict: bool
) -> Form:
    """The form that an earlier job of the same kind ended with, reached by the same changes."""
    limits = _limits(allowed, strict=strict)
    size = size_of(form.workflow)
    for _ in range(_MOST_STEPS):
        if lesson.names <= form.names and size / len(form.parts) <= lesson.fits:
            break
        graph = form.workflow.graph
        # Changed or not, the node that once failed is known by its class: ids differ.
        node = next((each for each in graph if graph[each]["class_type"] == lesson.at), None)
        mend = _lighter(node, form, catalog, limits)
        if mend is None or mend.change.name not in lesson.names:
            break
        form = mend.form
    return form


_MOST_STEPS = 24


def _candidates(
    failure: Failure, form: Form, catalog: Catalog, allowed: Allowed, *, strict: bool
) -> Iterator[Mend]:
    match failure.kind:
        case FailureKind.OUT_OF_MEMORY | FailureKind.SERVER_DIED:
            yield from _memory(failure, form, catalog, allowed, strict=strict)
        case FailureKind.REJECTED:
            yield from _rejected(failure, form, catalog, allowed)
        case FailureKind.NODE_ERROR:
            yield from _node_error(failure, form, catalog, allowed)
        case FailureKind.SUSPECT:
            yield from _reseeded(form, allowed)
            return
    if failure.kind is not FailureKind.SERVER_DIED:
        yield from _simpler(form, catalog, allowed)


def _memory(
    failure: Failure, form: Form, catalog: Catalog, allowed: Allowed, *, strict: bool
) -> Iterator[Mend]:
    mend = _lighter(failure.node_id, form, catalog, _limits(allowed, strict=strict))
    if mend is not None:
        yield mend


def _limits(allowed: Allowed, *, strict: bool) -> KnobLimits:
    return KnobLimits(
        precision=allowed.precision,
        bypass=allowed.bypass,
        smaller=allowed.smaller,
        least_area=allowed.least_area,
        least_frames=allowed.least_frames,
        same_result=strict,
    )


def _lighter(node_id: str | None, form: Form, catalog: Catalog, limits: KnobLimits) -> Mend | None:
    """The next step down in memory, for every coming run that is as large as the next one."""
    step = next_memory_edit(form.workflow, catalog, node_id, form.names, limits)
    if step is None:
        return None
    runs = {form.next: _runs_of(step)}
    size = size_of(form.workflow)
    for index in form.coming[1:]:
        workflow = form.parts[index].workflow
        if size_of(workflow) < size:
            continue
        mine = next_memory_edit(workflow, catalog, node_id, form.names, limits)
        if mine is not None and mine.change.name == step.change.name:
            runs[index] = _runs_of(mine)
    local = node_id is not None and set(step.change.nodes) <= {node_id}
    gentle = step.change.keeps_result and not isinstance(step, Split)
    words = f"once more, changed: {step.change.words}"
    return Mend(form.changed(runs, step.change), Offer(words, gentle, local), step.change)


def _runs_of(step: Edit | Split) -> Sequence[Workflow]:
    return step.workflows if isinstance(step, Split) else [step.workflow]


def _rejected(failure: Failure, form: Form, catalog: Catalog, allowed: Allowed) -> Iterator[Mend]:
    workflow = form.workflow
    edit = mend_model_names(workflow, catalog)
    if edit is not None:
        yield Mend.by(edit, form, early=True)
    edit = replace_models(workflow, catalog, allowed.fallbacks)
    if edit is not None:
        yield Mend.by(edit, form)
    if allowed.bypass:
        classes = {node["class_type"] for node in workflow.graph.values()}
        for name in sorted(classes - catalog.keys()):
            edit = without_class(workflow, catalog, name)
            if edit is not None:
                yield Mend.by(edit, form)
    if allowed.corrections and not failure.elsewhere:
        made = correct(workflow, catalog)
        if made.edits:
            words = "; ".join(each.change.words for each in made.edits)
            nodes = tuple(node for each in made.edits for node in each.change.nodes)
            change = Change("corrected", words, nodes)
            yield Mend.by(Edit(made.workflow, change), form, early=True)


def _node_error(failure: Failure, form: Form, catalog: Catalog, allowed: Allowed) -> Iterator[Mend]:
    workflow = form.workflow
    if failure.category is ErrorCategory.MODEL and failure.node_id in workflow.graph:
        replaced = {
            node for change in form.changes if change.name == OTHER_MODEL for node in change.nodes
        }
        was_one = failure.node_id in replaced
        fallbacks = with_the_rest(allowed.fallbacks) if was_one else allowed.fallbacks
        edit = replace_models(workflow, catalog, fallbacks, node_id=failure.node_id)
        if edit is not None:
            yield Mend.by(edit, form)
    if allowed.bypass and failure.node_id is not None:
        edit = bypass_optional(workflow, catalog, failure.node_id)
        if edit is not None:
            yield Mend.by(edit, form)


def may_reseed(form: Form, allowed: Allowed) -> bool:
    """Whether the next run may be made with another seed."""
    return _reseeds(form) < allowed.reseeds and bool(form.workflow.seeds())


def _reseeds(form: Form) -> int:
    return sum(change.name == RESEEDED for change in form.changes)


def _reseeded(form: Form, allowed: Allowed) -> Iterator[Mend]:
    if not may_reseed(form, allowed):
        return
    nodes = tuple(node_id for node_id, _name in form.workflow.seeds())
    words = f"another seed (raised by {_reseeds(form) + 1}), since the picture was of one colour"
    edit = Edit(form.workflow.with_seeds_moved(1), Change(RESEEDED, words, nodes))
    yield Mend.by(edit, form, early=True)


def _simpler(form: Form, catalog: Catalog, allowed: Allowed) -> Iterator[Mend]:
    done = sum(change.name == SIMPLER for change in form.changes)
    if done >= len(allowed.simpler) or form.begun:
        return
    simpler, words = carried(form.given, allowed.simpler[done], catalog)
    change = Change(SIMPLER, f"the simpler workflow {simpler.name!r} was run instead, {words}")
    fresh = replace(Form.of(simpler), given=form.given, changes=(*form.changes, change))
    yield Mend(fresh, Offer(f"a simpler workflow: {simpler.name!r}"), change)
