"""A gateway that speaks ComfyUI's API, with a durable queue and many servers behind it."""
