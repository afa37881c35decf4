"""Pictures from words on embedded servers: every family, every way to fall, every account."""

from __future__ import annotations

import asyncio
import io

import pytest
from PIL import Image

from holdfast.comfyui import (
    DeadlineError,
    FailureKind,
    Limits,
    OutOfMemoryError,
    PoisonedJobError,
    ServerUnreachableError,
    WorkflowRejectedError,
    events,
)
from holdfast.comfyui.engines import ImageEngine, Rung
from holdfast.comfyui.standin import Fault
from holdfast.comfyui.standin.config import GIB
from holdfast.errors import BadInputError, ErrorCategory
from holdfast.policies.scope import Deadline
from holdfast.system.degradation import GracefulDegradation
from tests.comfyui.engines.fleet import FAST, files_of, server

SMALL = {"width": 256, "height": 256, "steps": 2}


def engine(*standins, **settings):
    return ImageEngine(*(each.url for each in standins), **(FAST | settings))


def kinds(made):
    return [each.failure.kind for each in made.attempts if each.failure is not None]


@pytest.mark.parametrize(
    "family", ["sd15", "sdxl", "sdxl-refiner", "flux-dev", "flux-schnell", "sd3"]
)
async def test_every_family_delivers_exactly_what_was_asked(family, tmp_path):
    with server() as one:
        async with engine(one, family=family, output_dir=tmp_path) as images:
            made = await images.generate("a lighthouse", seed=7, batch=2, strict=True, **SMALL)
    assert (made.recipe, made.rung, made.seed) == (family, "quality", 7)
    assert [each.size for each in made.images] == [(256, 256)] * 2
    assert made.degradations == ()
    assert len(made.attempts) == 1
    assert [each.path.parent for each in made.files] == [tmp_path] * 2
    (note,) = made.notes
    assert all(name in note for name in made.models.values())


@pytest.mark.parametrize(
    ("name", "folder", "file"),
    [
        ("flux-dev", "checkpoints", "flux1-dev-fp8.safetensors"),
        ("flux-schnell", "checkpoints", "flux1-schnell-fp8.safetensors"),
    ],
)
async def test_a_family_is_made_from_whichever_files_there_are(name, folder, file):
    with server(models={folder: (file,)}) as one:
        async with engine(one, family=name) as images:
            made = await images.generate("a lighthouse", strict=True, **SMALL)
    assert made.models == {"checkpoint": file}


async def test_sd3_takes_its_text_encoders_from_their_own_files():
    models = files_of("sd3")
    models["checkpoints"] = ("sd3.5_large.safetensors",)
    with server(models=models) as one:
        async with engine(one, family="sd3") as images:
            made = await images.generate("a lighthouse", strict=True, **SMALL)
    assert "TripleCLIPLoader" in {each["class_type"] for each in made.workflow.graph.values()}


async def test_without_a_family_the_best_one_the_servers_have_is_taken_and_said():
    with server("sd15", "sdxl") as one, server("sd15") as two:
        async with engine(one, two) as images:
            made = await images.generate("a lighthouse", **SMALL)
    assert made.family == "sdxl"
    assert made.degradations == ()
    assert "sd_xl_base_1.0.safetensors (on 1 of 2 servers)" in made.notes[0]
    assert made.server == one.url


async def test_the_same_seed_gives_the_same_picture_and_a_drawn_one_is_told():
    with server("sd15") as one:
        async with engine(one) as images:
            first = await images.generate("a lighthouse", **SMALL)
            again = await images.generate("a lighthouse", seed=first.seed, **SMALL)
            other = await images.generate("a lighthouse", **SMALL)
    assert first.image.tobytes() == again.image.tobytes()
    assert first.seed != other.seed


async def test_a_size_off_the_grid_is_snapped_and_told_and_refused_where_changes_are():
    with server("sdxl") as one:
        async with engine(one) as images:
            made = await images.generate("a", width=301, height=256, steps=2)
            assert made.image.size == (304, 256)
            assert made.degradations[0].startswith("width: 301 pixels became 304")
            with pytest.raises(BadInputError, match="strict forbids changes: width: 301"):
                await images.generate("a", width=301, height=256, steps=2, strict=True)


@pytest.mark.parametrize("form", ["path", "bytes", "pillow"])
async def test_a_picture_to_start_from_may_be_given_in_three_ways(form, tmp_path):
    picture = Image.new("RGB", (300, 200), "red")
    content = io.BytesIO()
    picture.save(content, "PNG")
    path = tmp_path / "start.png"
    path.write_bytes(content.getvalue())
    given = {"path": path, "bytes": content.getvalue(), "pillow": picture}[form]
    with server("sd15") as one:
        async with engine(one) as images:
            made = await images.generate("a", image=given, denoise=0.2, batch=2, steps=5)
    assert len(made.images) == 2
    width, height = made.image.size
    assert width / height == pytest.approx(1.5, rel=0.1)
    red, green, blue = made.image.resize((1, 1)).getpixel((0, 0))
    assert red > 150 > max(green, blue)  # most of the picture is left


@pytest.mark.parametrize("given", ["nowhere.png", b"no picture", 5])
async def test_what_is_no_picture_is_refused(given):
    async with ImageEngine("http://127.0.0.1:9", **FAST) as images:
        with pytest.raises(BadInputError, match="image"):
            await images.generate("a", image=given)


async def test_a_picture_on_its_side_is_seen_upright():
    picture = Image.new("RGB", (300, 200))
    exif = picture.getexif()
    exif[0x0112] = 6
    content = io.BytesIO()
    picture.save(content, "JPEG", exif=exif)
    with server("sd15") as one:
        async with engine(one) as images:
            made = await images.generate("a", image=content.getvalue(), steps=2)
    assert made.image.height > made.image.width


# Ladders ---------------------------------------------------------------------------------


async def test_what_does_not_fit_in_memory_falls_to_a_rung_that_does_and_says_so():
    sizes = {"sd_xl_base_1.0.safetensors": 6 * GIB, "v1-5-pruned-emaonly-fp16.safetensors": GIB}
    with server("sdxl", "sd15", vram_bytes=4 * GIB, model_sizes=sizes) as one:
        async with engine(one, family="sdxl") as images:
            made = await images.generate("a", seed=5, steps=40)
    assert (made.family, made.rung, made.seed) == ("sd15", "basic", 5)
    assert made.image.size == (512, 512)
    quality, standard, *rest = made.degradations
    assert quality.startswith("quality (sdxl): ")
    assert "out of memory" in quality
    assert standard.startswith("standard (sdxl): ")
    assert any(each.startswith("steps") for each in rest)
    assert set(kinds(made)) == {FailureKind.OUT_OF_MEMORY}
    assert [each.number for each in made.attempts] == list(range(1, len(made.attempts) + 1))


async def test_a_family_nobody_has_falls_to_one_somebody_has():
    with server("sd15") as one:
        async with engine(one, family="sdxl") as images:
            made = await images.generate("a", loras=(), steps=2)
    assert made.rung == "basic"
    assert "no checkpoint such as sd_xl_base_1.0.safetensors" in made.degradations[0]
    assert len(made.attempts) == 1  # nothing was sent that could not run


async def test_a_damaged_model_falls_too():
    broken = frozenset({"sd_xl_base_1.0.safetensors"})
    with server("sdxl", "sd15", corrupt_models=broken) as one:
        async with engine(one, family="sdxl") as images:
            made = await images.generate("a", steps=2)
    assert made.family == "sd15"
    assert "looks damaged" in made.degradations[0]


async def test_strict_forbids_every_lower_rung():
    with server("sdxl", "sd15", vram_bytes=4 * GIB) as one:
        async with engine(one, family="sdxl") as images:
            with pytest.raises(OutOfMemoryError) as caught:
                await images.generate("a", strict=True, steps=2)
            assert caught.value.attempts
    with server("sd15") as one:
        async with engine(one, family="sdxl") as images:
            with pytest.raises(WorkflowRejectedError, match="no server can make this with sdxl"):
                await images.generate("a", strict=True)


async def test_when_every_rung_fails_the_error_has_all_of_them():
    with server("sdxl", vram_bytes=GIB) as one:
        async with engine(one, family="sdxl") as images:
            with pytest.raises(OutOfMemoryError) as caught:
                await images.generate("a", steps=2)
    words = str(caught.value)
    assert "quality (sdxl)" in words
    assert "basic (sd15): no server can make this with sd15" in words
    assert len(caught.value.attempts) >= 6
    assert caught.value.category is ErrorCategory.MEMORY


async def test_when_nothing_fits_the_error_says_what_is_missing_and_where_it_would_be():
    with server(models={"checkpoints": ("mystery.safetensors",)}) as one:
        async with engine(one) as images:
            with pytest.raises(WorkflowRejectedError) as caught:
                await images.generate("a")
    words = str(caught.value)
    for part in ("v1-5-pruned-emaonly-fp16", "models/checkpoints", "models/diffusion_models"):
        assert part in words
    assert "mystery.safetensors" in words
    assert caught.value.category is ErrorCategory.MODEL


async def test_a_ladder_of_ones_own_is_gone_down():
    ladder = [Rung("dream", "flux"), Rung("sketch", "sd15", pixels=256 * 256, steps=2)]
    with server("sd15") as one:
        async with engine(one, ladder=ladder) as images:
            made = await images.generate("a")
    assert made.rung == "sketch"
    assert made.image.size == (256, 256)


async def test_a_degraded_service_begins_lower_says_so_and_hears_how_it_went():
    service = GracefulDegradation()
    service.degrade("a busy day", levels=4)
    with server("sdxl", "sd15") as one:
        async with engine(one, family="sdxl", degradation=service) as images:
            made = await images.generate("a", steps=2)
            exact = await images.generate("a", strict=True, **SMALL)
    assert made.rung == "basic"
    assert "begun at rung basic: the service is at level minimal" in made.degradations
    assert (exact.rung, exact.degradations) == ("quality", ())


class Ears(GracefulDegradation):
    """A service that remembers what it heard."""

    def __init__(self):
        super().__init__()
        self.heard = []

    def observe_call(self, ok, seconds=None, scope=None):
        self.heard.append(ok)
        return super().observe_call(ok, seconds, scope)


async def test_the_service_hears_how_each_call_went_but_not_of_wrong_input():
    service = Ears()
    with server("sd15") as one, server("sd15", vram_bytes=GIB) as small:
        async with engine(one, family="sd15", degradation=service) as images:
            await images.generate("a", **SMALL)
            with pytest.raises(BadInputError):
                await images.generate("a", width=301, strict=True)
        async with engine(small, family="sd15", degradation=service) as images:
            with pytest.raises(OutOfMemoryError):
                await images.generate("a", strict=True, **SMALL)
    assert service.heard == [True, False]


async def test_an_outer_deadline_holds_too():
    async with ImageEngine("http://127.0.0.1:9", **(FAST | {"reach_seconds": 60.0})) as images:
        with Deadline.after(0.2), pytest.raises(DeadlineError):
            await images.generate("a")


async def test_a_job_that_servers_die_of_kills_no_more_of_them_on_lower_rungs():
    fault = Fault("die", node="KSampler", restart=0.3, times=0)
    with server("sdxl", "sd15", faults=(fault,)) as one:
        async with engine(one, family="sdxl", limits=Limits(deaths=1)) as images:
            with pytest.raises(PoisonedJobError):
                await images.generate("a", **SMALL)
        assert len(one.fired) == 1


async def test_a_size_that_does_not_fit_is_made_smaller_by_the_run_itself_before_a_rung_is_left():
    fault = Fault("out_of_memory", above=700_000, times=0)
    with server("sdxl", "sd15", faults=(fault,)) as one:
        async with engine(one, family="sdxl") as images:
            made = await images.generate("a", width=1216, height=832, steps=2)
            with pytest.raises(OutOfMemoryError):
                await images.generate("a", width=1216, height=832, steps=2, strict=True)
    assert (made.family, made.rung) == ("sdxl", "quality")
    assert made.image.width * made.image.height <= 700_000
    assert made.degradations


async def test_wrong_input_falls_nowhere():
    with server("sdxl", "sd15") as one:
        async with engine(one, family="sdxl") as images:
            with pytest.raises(BadInputError, match=r"sampler is 'best'; servers know .*euler"):
                await images.generate("a", sampler="best")
            with pytest.raises(BadInputError, match="steps"):
                await images.generate("a", steps=0)


async def test_a_lora_nobody_has_is_an_error_that_names_the_nearest():
    models = files_of("sd15") | {"loras": ("detail.safetensors",)}
    with server(models=models) as one:
        async with engine(one, family="sd15") as images:
            with pytest.raises(WorkflowRejectedError, match=r"near it: detail.safetensors"):
                await images.generate("a", loras=["detial.safetensors"])
            made = await images.generate("a", loras=[("detail.safetensors", 0.5)], **SMALL)
    assert "LoraLoader" in {each["class_type"] for each in made.workflow.graph.values()}


async def test_loras_and_models_without_a_family_are_refused():
    with pytest.raises(BadInputError, match="models was given without family"):
        ImageEngine("http://gpu1:8188", models={"checkpoint": "a"})
    with server("sd15") as one:
        async with engine(one) as images:
            with pytest.raises(BadInputError, match="loras was given without family"):
                await images.generate("a", loras=["a"])


async def test_a_model_named_is_taken_before_every_other():
    models = {"checkpoints": ("mine.safetensors", "sd_xl_base_1.0.safetensors")}
    with server(models=models) as one:
        async with engine(one, family="sdxl", models={"checkpoint": "mine.safetensors"}) as images:
            made = await images.generate("a", **SMALL)
    assert made.models == {"checkpoint": "mine.safetensors"}


# Servers ---------------------------------------------------------------------------------


async def test_faults_are_mended_on_the_same_rung():
    faults = (Fault("raise", node="KSampler"), Fault("truncated_file"))
    with server("sd15", faults=faults) as one:
        async with engine(one) as images:
            made = await images.generate("a", **SMALL)
    assert kinds(made) == [FailureKind.NODE_ERROR, FailureKind.OUTPUT_DAMAGED]
    assert (made.rung, made.degradations) == ("quality", ())


async def test_a_dead_server_keeps_nobody_waiting():
    with server("sd15") as one:
        async with ImageEngine("http://127.0.0.1:9", one.url, **FAST) as images:
            made = await images.generate("a", deadline=20, **SMALL)
    assert made.server == one.url


async def test_no_server_is_an_error_that_says_why():
    async with ImageEngine("http://127.0.0.1:9", **(FAST | {"reach_seconds": 0.3})) as images:
        with pytest.raises(ServerUnreachableError, match=r"no server says what it has .*127"):
            await images.generate("a")


async def test_the_deadline_holds_over_all_rungs():
    with server("sdxl", "sd15", step_seconds=1.0) as one:
        async with engine(one, family="sdxl") as images:
            with pytest.raises(DeadlineError):
                await asyncio.wait_for(images.generate("a", deadline=0.5), 6)


async def test_many_are_spread_in_order_and_one_failure_takes_no_other_along():
    with server("sd15") as one, server("sd15") as two:
        async with engine(one, two, family="sd15") as images:
            wishes = ["a", {"prompt": "b", "deadline": 0.001}, {"prompt": "c", "batch": 2}]
            made = await images.generate_many(wishes, **SMALL)
            with pytest.raises(BadInputError, match="prompts"):
                await images.generate_many("one prompt")
            with pytest.raises(BadInputError, match="steps"):
                await images.generate_many(["a", {"prompt": "b", "steps": 0}])
    assert len(made[0].images) == 1
    assert isinstance(made[1], DeadlineError)
    assert len(made[2].images) == 2
    assert made[0].files[0].filename != made[2].files[0].filename


# Progress and results --------------------------------------------------------------------


async def test_progress_never_goes_back_and_ends_at_one():
    heard, raw = [], []
    with server("sdxl", "sd15", faults=(Fault("out_of_memory", node="KSampler", times=6),)) as one:
        async with engine(one, family="sdxl", on_event=raw.append) as images:
            made = await images.generate(
                "a", on_progress=lambda share, words: heard.append((share, words)), **SMALL
            )
    shares = [share for share, _ in heard]
    assert made.rung == "basic"
    assert shares == sorted(shares)
    assert heard[-1] == (1.0, "delivered")
    assert any("out of memory" in words for _, words in heard)
    assert any("step 1 of 2" in words for _, words in heard)
    assert any(isinstance(each, events.JobFailed) for each in raw)


async def test_a_callback_that_fails_breaks_nothing(caplog):
    with server("sd15") as one:
        async with engine(one) as images:
            made = await images.generate("a", on_progress=lambda _share, _words: 1 / 0, **SMALL)
    assert made.images
    assert "a listener of image_0001 failed" in caplog.text


async def test_previews_come_where_they_are_asked_for():
    seen = []
    with server("sd15", step_seconds=0.02) as one:
        async with engine(one, previews=True) as images:
            await images.generate(
                "a",
                on_preview=lambda image, kind: seen.append((image, kind)),
                **(SMALL | {"steps": 6}),
            )
    assert seen
    assert Image.open(io.BytesIO(seen[0][0])).size[0] > 0


async def test_saving_overwrites_nothing(tmp_path):
    with server("sd15") as one:
        async with engine(one) as images:
            made = await images.generate("a", name="tower", **SMALL)
    first, second = made.save(tmp_path / "new"), made.save(tmp_path / "new")
    assert [each.name for each in (*first, *second)] == ["tower.png", "tower-2.png"]
    assert second[0].read_bytes() == made.files[0].bytes
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInputError, match="cannot write there"):
        made.save(tmp_path / "file")


async def test_an_engine_is_used_as_a_context():
    with pytest.raises(RuntimeError, match="async with ImageEngine"):
        await ImageEngine("http://gpu1:8188").generate("a")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"family": "sd9"}, "family is 'sd9'; it must be one of .*sdxl"),
        ({"family": "wan2.2"}, "family is 'wan2.2'"),
        ({"family": "sdxl", "models": {"vae": "a"}}, "sdxl knows checkpoint"),
        ({"degradation": 5}, "degradation"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused_before_anything_is_sent(settings, words):
    with pytest.raises(BadInputError, match=words):
        ImageEngine("http://gpu1:8188", **settings)
