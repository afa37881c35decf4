from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.comfyui.durable import new_job
from holdfast.comfyui.durable.orders import index_of, plan_of
from holdfast.errors import BadInputError
from tests.comfyui.graphs import painting

DIGEST = "ab" * 32


def test_a_job_comes_back_as_it_was_stored():
    workflow = painting(7)
    job = new_job(
        workflow,
        name="shot",
        files={"4.image": DIGEST},
        extra_data={"extra_pnginfo": {"workflow": {}}},
        targets=["7"],
        strict=True,
        export=Path("/out"),
        user="ann",
        priority=3,
    )
    plan = plan_of(job.payload, "shot")
    assert plan.workflow.to_api() == workflow.to_api()
    assert (plan.files, plan.targets, plan.strict) == ({"4.image": DIGEST}, ("7",), True)
    assert plan.extra_data == {"extra_pnginfo": {"workflow": {}}}
    assert plan.export == {"folder": "/out", "name": "shot"}
    assert (job.user, job.priority) == ("ann", 3)


def test_a_job_is_found_by_its_prompt_its_seed_and_its_model():
    index = index_of(painting(42))
    assert "lighthouse in a storm" in index["prompt"]
    assert index["seed"] == "42"
    assert index["model"] == "sd15.safetensors"


def test_jobs_of_a_kind_have_one_signature_whatever_their_seed():
    assert index_of(painting(1))["signature"] == index_of(painting(2))["signature"]
    assert index_of(painting(1))["signature"] != index_of(painting(1, steps=50))["signature"]


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ({}, "graph"),
        ({"graph": []}, "graph"),
        ({"graph": {}, "files": {"1.image": "../../etc/passwd"}}, "files"),
        ({"graph": {}, "targets": "7"}, "targets"),
        ({"graph": {}, "settings": ["strict"]}, "settings"),
    ],
)
def test_a_damaged_payload_is_refused_with_the_name_of_the_field(payload, field):
    with pytest.raises(BadInputError, match=field):
        plan_of(payload, "x")
