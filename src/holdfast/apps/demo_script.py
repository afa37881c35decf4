"""The demo's script: what goes wrong on which server, what it looks like to a client, in words."""

from __future__ import annotations

from holdfast.comfyui import FailureKind
from holdfast.comfyui.standin.faults import Fault

ALPHA = (
    # The first job goes here, a portrait: a pool soon knows who lacks what, and asks no more.
    Fault("missing_model", model="style.safetensors"),
    Fault("lost_response", post=2),
    Fault("missing_node", node="ImageSharpen", post=3),
    Fault("raise", job=2, node="KSampler", step=3, message="CUDA error: unspecified failure"),
    Fault("die", job=3, node="KSampler", step=4, restart=1.5),
    Fault("zombie_socket", job=4, node="KSampler", step=2),
    Fault("missing_file", job=5),
    Fault("interrupted", job=6, node="KSampler", step=5),
    Fault("dead_worker", job=7, node="KSampler"),
)
BETA = (
    Fault("http_error", path="/prompt", status=503, retry_after=0.4, times=2),
    Fault("raise", node="ImageSharpen", times=0, message="no kernel image is available"),
    Fault("out_of_memory", above=500_000, times=2),
    Fault("huge_error", job=2, node="KSampler", step=2),
    Fault("stuck_reader", job=3, node="KSampler", step=2, seconds=2.0),
    Fault("truncated_file", job=4),
    Fault("block", job=5, node="VAEDecode", message="the safety checker is not ready"),
    Fault("freeze", job=6, node="KSampler", step=3, seconds=1.5),
    Fault("broken_device", job=7, node="KSampler", step=2),
)
GAMMA = (
    Fault("corrupt_model", model="wan2.1_t2v_1.3B_fp16.safetensors"),
    Fault("slow", path="/history/*", seconds=0.3, times=6),
    Fault("empty_error", job=1, node="KSampler", step=2),
    Fault("disk_full", job=2),
    Fault("black_picture", job=3, node="SaveImage"),
)

BY_THE_DEMO = ("SIGKILL", "SIGSTOP")

LOOKS: dict[str, tuple[FailureKind | None, str]] = {
    "black_picture": (FailureKind.SUSPECT, "black"),
    "block": (FailureKind.NOTHING_MADE, ""),
    "broken_device": (FailureKind.DEVICE_BROKEN, ""),
    "corrupt_model": (FailureKind.NODE_ERROR, "model file"),
    "dead_worker": (FailureKind.STALLED, ""),
    "die": (FailureKind.SERVER_DIED, ""),
    "disk_full": (FailureKind.NODE_ERROR, "disk"),
    "empty_error": (FailureKind.NODE_ERROR, "no message"),
    "freeze": (None, ""),
    "http_error": (FailureKind.SERVER_ERROR, ""),
    "huge_error": (FailureKind.NODE_ERROR, "xxx"),
    "interrupted": (FailureKind.INTERRUPTED, ""),
    "lost_response": (None, ""),
    "missing_file": (FailureKind.OUTPUT_MISSING, ""),
    "missing_model": (FailureKind.REJECTED, "model"),
    "missing_node": (FailureKind.REJECTED, "does not exist"),
    "out_of_memory": (FailureKind.OUT_OF_MEMORY, ""),
    "raise": (FailureKind.NODE_ERROR, ""),
    "SIGKILL": (FailureKind.SERVER_DIED, ""),
    "SIGSTOP": (FailureKind.STALLED, ""),
    "slow": (None, ""),
    "stuck_reader": (None, ""),
    "truncated_file": (FailureKind.OUTPUT_DAMAGED, ""),
    "zombie_socket": (None, ""),
}
"""What an attempt comes to when a fault strikes it; None: it is delivered all the same."""

WORDS = {
    "black_picture": "the picture came out black, and the server called it a success",
    "block": "a node blocked the output, the run 'succeeded' with nothing",
    "broken_device": "CUDA broke; nothing would have worked there until a restart",
    "corrupt_model": "a model file is damaged",
    "dead_worker": "the worker thread died; HTTP went on as if nothing had happened",
    "die": "the server died in mid-run and came back without its memory",
    "disk_full": "the server's disk was full",
    "empty_error": "a node failed without a word",
    "freeze": "the server stood still for 1.5 s",
    "http_error": "the server answered 503",
    "huge_error": "a node failed with a 12 MB message",
    "interrupted": "somebody else pressed stop",
    "lost_response": "the job was queued, but the answer was lost",
    "missing_file": "the server reported a file that is not there",
    "missing_model": "a model is not installed there",
    "missing_node": "a node class is not installed there",
    "out_of_memory": "the graphics memory was too small",
    "raise": "a node raised",
    "SIGKILL": "the server was killed with SIGKILL",
    "SIGSTOP": "the server was stopped with SIGSTOP for 6 s",
    "slow": "the network was slow",
    "stuck_reader": "another client's stuck socket silenced all events",
    "truncated_file": "the file was cut off on the server's disk",
    "zombie_socket": "the socket stayed open and went deaf",
}
