"""The gateway: what looks like one ComfyUI server, and is a durable queue before many."""
