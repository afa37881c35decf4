"""Which model it is, by the names of its tensors."""

from __future__ import annotations

import pytest

from holdfast.comfyui.models.family import family_of

UNET = "input_blocks.0.0.weight"


@pytest.mark.parametrize(
    ("names", "family"),
    [
        ([f"model.diffusion_model.{UNET}", "cond_stage_model.transformer.x"], "sd15 checkpoint"),
        ([f"model.diffusion_model.{UNET}", "cond_stage_model.model.x"], "sd2 checkpoint"),
        ([f"model.diffusion_model.{UNET}", "conditioner.embedders.1.model.x"], "sdxl checkpoint"),
        (
            [f"model.diffusion_model.{UNET}", "conditioner.embedders.0.model.x"],
            "sdxl_refiner checkpoint",
        ),
        ([UNET, "label_emb.0.0.weight"], "sdxl diffusion_model"),
        (["double_blocks.0.img_attn.norm.key_norm.scale"], "flux diffusion_model"),
        (
            [
                "model.diffusion_model.double_blocks.0.img_attn.norm.key_norm.scale",
                "vae.decoder.conv_in.weight",
            ],
            "flux checkpoint",
        ),
        (
            [
                "double_blocks.0.img_attn.norm.key_norm.scale",
                "distilled_guidance_layer.0.norms.0.scale",
            ],
            "chroma diffusion_model",
        ),
        (["head.modulation"], "wan diffusion_model"),
        (["adaln_single.emb.timestep_embedder.linear_1.bias"], "ltxv diffusion_model"),
        (
            [
                "adaln_single.emb.timestep_embedder.linear_1.bias",
                "pos_embed.proj.bias",
            ],
            "None",
        ),
        (
            ["txt_in.individual_token_refiner.blocks.0.norm1.weight"],
            "hunyuan_video diffusion_model",
        ),
        (["joint_blocks.0.context_block.attn.qkv.weight"], "sd3 diffusion_model"),
        (["lora_unet_x.lora_up.weight", UNET], "lora"),
        (["transformer.single_transformer_blocks.0.lora_A.weight"], "flux lora"),
        (["lora_te2_x.lora_down.weight"], "sdxl lora"),
        (["control_model.x", UNET], "controlnet"),
        (["decoder.conv_in.weight"], "vae"),
        (["decoder.conv1.weight", "encoder.conv1.weight"], "wan vae"),
        (["encoder.block.0.layer.0.SelfAttention.q.weight"], "t5 text_encoder"),
        (["text_model.encoder.layers.0.x"], "clip text_encoder"),
        (["vision_model.post_layernorm.weight"], "clip_vision"),
        (["model.layers.0.self_attn.q_proj.weight"], "llm text_encoder"),
        (["model.1.sub.0.RDB1"], "esrgan upscaler"),
        (["whatever"], "None"),
        ([], "None"),
    ],
)
def test_a_family_is_known_by_its_names(names, family):
    assert str(family_of(names)) == family
