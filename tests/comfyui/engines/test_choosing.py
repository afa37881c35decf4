"""Files are recognised in the order declared, what most servers have is taken, lacks are named."""

import pytest

from holdfast.comfyui.catalog import Catalog
from holdfast.comfyui.engines import RECIPES, Lora, Settings
from holdfast.comfyui.engines.choosing import check_roles, choose, declared_models
from holdfast.comfyui.engines.recipes import recipes_of
from holdfast.errors import BadInputError

SD15 = recipes_of("sd15", "image")[0]
SDXL = recipes_of("sdxl", "image")[0]
FLUX = recipes_of("flux-dev", "image")[0]


def catalog(without=(), **names):
    """A server that knows what a recipe needs; ``checkpoints`` and so on say which files."""
    loaders = {}
    for recipe in RECIPES:
        for role in recipe.roles:
            listed = [list(names.get(role.folder, ()))]
            loaders.setdefault(role.loader, {})[role.input] = listed
    loaders.setdefault("LoraLoader", {})["lora_name"] = [list(names.get("loras", ()))]
    loaders["KSampler"] = {"sampler_name": [["dpmpp_2m", "euler"]], "scheduler": [["karras"]]}
    plain = ("CLIPTextEncode", "EmptyLatentImage", "VAEDecode", "SaveImage")
    classes = loaders | {name: {} for name in plain}
    return Catalog.parse(
        {
            name: {"input": {"required": inputs}, "output": []}
            for name, inputs in classes.items()
            if name not in without
        }
    )


def chosen(recipe, stock, declared=None, **settings):
    defaults = {"sampler": recipe.sampler, "scheduler": recipe.scheduler}
    return choose(recipe, Settings("a", **(defaults | settings)), stock, declared or {})


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda each: each.name)
def test_a_role_recognises_the_makers_own_file(recipe):
    for role in recipe.roles:
        assert role.preferred(["folder/" + role.example, "unheard.safetensors"]) == [
            "folder/" + role.example
        ]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda each: each.name)
def test_no_role_takes_another_familys_file(recipe):
    for other in RECIPES:
        if other.family in recipe.family or recipe.family in other.family:
            continue
        for role, foreign in ((r, f) for r in recipe.roles for f in other.roles):
            if role.folder == foreign.folder in {"checkpoints", "diffusion_models"}:
                assert role.preferred([foreign.example]) == [], (recipe.name, foreign.example)


@pytest.mark.parametrize(
    "name",
    [
        "sd_xl_turbo_1.0_fp16.safetensors",
        "sd_xl_refiner_1.0.safetensors",
        "sdxl_lightning_4step.safetensors",
        "sd_xl_base_1.0_inpainting_0.1.safetensors",
        "mystery.safetensors",
    ],
)
def test_sdxl_does_not_take_what_samples_in_another_way(name):
    assert SDXL.roles[0].preferred([name]) == []


def test_the_order_declared_is_the_order_taken():
    role = SDXL.roles[0]
    names = ["ponyDiffusionV6XL.safetensors", "juggernautXL_v9.safetensors", "sd_xl_base_1.0.ckpt"]
    assert role.preferred(names) == names[::-1]


def test_what_most_servers_have_is_taken():
    juggernaut = "juggernautXL.safetensors"
    stock = {
        "one": catalog(checkpoints=["sd_xl_base_1.0.safetensors", juggernaut]),
        "two": catalog(checkpoints=[juggernaut]),
        "three": catalog(checkpoints=["other.safetensors"]),
    }
    choice = chosen(SDXL, stock)
    assert choice.files == {"checkpoint": juggernaut}
    assert choice.servers == ("one", "two")


def test_of_files_as_many_servers_have_the_preferred_one_is_taken():
    both = catalog(checkpoints=["juggernautXL.safetensors", "sd_xl_base_1.0.safetensors"])
    choice = chosen(SDXL, {"one": both, "two": both})
    assert choice.files["checkpoint"] == "sd_xl_base_1.0.safetensors"


def test_a_name_given_goes_before_every_preference_and_folders_may_be_parted_either_way():
    stock = {"one": catalog(checkpoints=["sub\\mine.safetensors", "sd_xl_base_1.0.safetensors"])}
    choice = chosen(SDXL, stock, {"checkpoint": ("none", "sub/mine.safetensors")})
    assert choice.files["checkpoint"] == "sub\\mine.safetensors"


def test_a_lack_names_the_file_the_folder_and_what_is_there():
    (lack,) = chosen(SDXL, {"one": catalog(checkpoints=["mystery.safetensors"])})
    assert lack.server == "one"
    assert "no checkpoint such as sd_xl_base_1.0.safetensors in models/checkpoints" in lack.words
    assert "mystery.safetensors" in lack.words


def test_a_name_given_that_is_not_there_has_its_nearest_named():
    stock = {"one": catalog(checkpoints=["dreamshaperXL.safetensors"])}
    (lack,) = chosen(SDXL, stock, {"checkpoint": ("dreamshaprXL.safetensors",)})
    assert "near it: dreamshaperXL.safetensors" in lack.words


def test_a_node_class_that_is_not_there_is_named():
    (lack,) = chosen(SD15, {"one": catalog(without=("VAEDecode",), checkpoints=["sd15.ckpt"])})
    assert lack.words == "it does not know VAEDecode"


def test_a_lora_must_be_on_the_same_server():
    stock = {
        "one": catalog(checkpoints=["sd15.ckpt"]),
        "two": catalog(checkpoints=["sd15.ckpt"], loras=["style.safetensors"]),
    }
    choice = chosen(SD15, stock, loras=(Lora("style.safetensors"),))
    assert choice.servers == ("two",)


@pytest.mark.parametrize("given", ["a", 5, {"checkpoint": 5}, {"checkpoint": ()}, {5: "a"}])
def test_models_that_are_none_are_refused(given):
    with pytest.raises(BadInputError, match="models"):
        declared_models(given)


def test_a_role_nobody_has_is_refused_with_those_there_are():
    with pytest.raises(BadInputError, match="sdxl knows checkpoint"):
        check_roles({"refiner": ("a",)}, [SDXL])


def test_a_lora_is_called_as_the_server_calls_it():
    stock = {"one": catalog(checkpoints=["sd15.ckpt"], loras=["sub\\style.safetensors"])}
    choice = chosen(SD15, stock, loras=(Lora("sub/style.safetensors", 0.5),))
    assert choice.settings.loras == (Lora("sub\\style.safetensors", 0.5),)
    assert choice.files["lora 1"] == "sub\\style.safetensors"
