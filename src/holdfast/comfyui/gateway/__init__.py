"""A gateway that speaks ComfyUI's API and WebSocket, so that clients need not be changed."""
