"""A ComfyUI that is no ComfyUI: one address in front of many servers, safe to expose."""
