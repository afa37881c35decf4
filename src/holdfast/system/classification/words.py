"""Any text as one line of plain words, so that one phrase finds all spellings.

``CUDA_ERROR_OUT_OF_MEMORY``, ``OutOfMemoryError`` and ``out-of-memory`` all come out with the words
``out of memory``. A phrase is looked for between spaces, so it never matches inside of a word.
"""

from __future__ import annotations

import re

HEAD = 6_000
"""Characters read from the start of a message."""
TAIL = 3_000
"""Characters read from its end; what lies between is not looked at."""

# "GPUs" and "3D" stay whole, "CUDAError" and "Float16Tensor" do not.
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[0-9])(?=[A-Z][a-z])|(?<=[A-Z])(?=[A-Z](?!s\b)[a-z])")
_WORD = re.compile(r"[^\W_]+")
_FRAME = re.compile(r'^[ \t]{0,20}File "[^"\n]{0,400}", line \d{1,7}[^\n]{0,200}\n?', re.MULTILINE)
_TELLING = ("validate_prompt", "validate_inputs")
"""Functions whose part in a failure says whose fault it is."""
_SPELLINGS = (
    (" time out", " timeout"),
    (" couldn t ", " could not "),
    (" can t ", " cannot "),
    (" can not ", " cannot "),
    (" doesn t ", " does not "),
    (" isn t ", " is not "),
    (" don t ", " do not "),
    (" filesystem", " file system"),
)
_NAMES = (
    (" web socket", " websocket"),
    (" u net ", " unet "),
    (" safe tensor", " safetensor"),
    (" num py", " numpy"),
    (" lo ra ", " lora "),
    (" lo ras ", " loras "),
    (" py torch", " pytorch"),
    (" control net ", " controlnet "),
    (" ip adapter", " ipadapter"),
    (" tensor rt ", " tensorrt "),
    (" na ns ", " nans "),
    (" na n ", " nan "),
    (" data loader", " dataloader"),
    (" x formers", " xformers"),
    (" b float16", " bfloat16"),
    (" onnx runtime", " onnxruntime"),
    (" cu dnn", " cudnn"),
    (" cu blas", " cublas"),
    (" cu fft", " cufft"),
    (" roc blas", " rocblas"),
    (" hip blas lt", " hipblaslt"),
    (" mi open", " miopen"),
    (" f fmpeg", " ffmpeg"),
    (" direct ml", " directml"),
    (" sq lite", " sqlite"),
    (" my sql", " mysql"),
    (" insight face", " insightface"),
    (" hugging face", " huggingface"),
    (" open ai", " openai"),
    (" ro cm", " rocm"),
    (" comfy ui", " comfyui"),
)
"""Names that are written with humps by some and without by others."""


def clipped(text: str) -> str:
    """``text`` itself if it is short, else its head and its tail."""
    if len(text) <= HEAD + TAIL:
        return text
    return f"{text[:HEAD]}\n{text[-TAIL:]}"


def words(text: str) -> str:
    """``text`` as lower-case words with one space before, between and after them."""
    humps = _HUMP.sub(" ", text)
    line = f" {' '.join(_WORD.findall(humps.lower()))} "
    return respelt(line, humps=len(humps) != len(text))


def respelt(line: str, *, humps: bool = True) -> str:
    """A line of words with one spelling for what is written in several ways."""
    for spelling, usual in _SPELLINGS + _NAMES if humps else _SPELLINGS:
        if spelling in line:
            line = line.replace(spelling, usual)
    return line


def _frame(match: re.Match[str]) -> str:
    line = match.group()
    return next((f"{name}\n" for name in _TELLING if name in line), "")


def without_frames(text: str) -> str:
    """``text`` without the lines of a traceback that name files, which say nothing of the cause."""
    return _FRAME.sub(_frame, text) if 'File "' in text else text
