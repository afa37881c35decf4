"""Each tie-break of docs/classification.md, by an error that another reading would get wrong."""

from __future__ import annotations

import pytest

from holdfast.system.classification import classify


def category(message="", kind=None, node=None, http=None):
    return classify(
        exception_type=kind, message=message, node_type=node, http_status=http
    ).category.value


CASES = [
    # 1. the text, not the class
    ("network", "Connection reset by peer", "ValueError", None, None),
    ("system", "(24, 'Too many open files')", "aiohttp.ClientConnectorError", None, None),
    # 2. exhaustion before all else
    (
        "memory",
        "[WinError 1455] x Error loading c10.dll or one of its dependencies",
        "OSError",
        None,
        None,
    ),
    ("memory", "CUBLAS_STATUS_ALLOC_FAILED", "RuntimeError", None, None),
    ("memory", "Unable to allocate 1.2 GiB for an array", "ValueError", None, None),
    ("memory", "OOM command not allowed when used memory > 'maxmemory'.", None, None, None),
    ("memory", "exited with code 137", None, None, None),
    ("memory", "Bus error. dataloader's workers are out of shared memory", None, None, None),
    ("system", "exited with code 139", None, None, None),
    ("system", "exit code: -6", None, None, None),
    ("system", "[Errno 28] No space left on device", "OSError", None, None),
    # 3. names of models
    ("model", "Value not in list: ckpt_name: 'a.safetensors' not in []", None, None, 400),
    ("validation", "Value not in list: scheduler: 'x' not in ['normal']", None, None, 400),
    ("validation", "Value not in list: image: 'a.png' not in []", None, None, 400),
    # 4. fetching models
    (
        "network",
        "503 Server Error for url: https://huggingface.co/a/b.safetensors",
        None,
        None,
        503,
    ),
    ("model", "404 Client Error: Not Found for url: https://huggingface.co/a/b", None, None, 404),
    ("model", "outgoing traffic has been disabled, not in the disk cache", None, None, None),
    # 5. prompts
    ("validation", "Required input is missing: vae", None, None, 400),
    ("workflow", "Return type mismatch between linked nodes: a, INT != FLOAT", None, None, 400),
    ("workflow", "Prompt has no outputs", None, None, 400),
    ("validation", "Prompt outputs failed validation", None, None, 400),
    # 6. HTTP and databases
    ("network", "", None, None, 429),
    ("network", "", None, None, 500),
    ("validation", "", None, None, 401),
    ("validation", "", None, None, 422),
    (
        "validation",
        "password authentication failed for user",
        "psycopg.OperationalError",
        None,
        None,
    ),
    ("network", "remaining connection slots are reserved", "psycopg.OperationalError", None, None),
    # 7. state dicts and shapes
    (
        "model",
        "Error(s) in loading state_dict: size mismatch for a.weight",
        "RuntimeError",
        None,
        None,
    ),
    (
        "workflow",
        "mat1 and mat2 shapes cannot be multiplied (1x2 and 3x4)",
        "RuntimeError",
        "KSampler",
        None,
    ),
    ("model", "clip input is invalid: None", "RuntimeError", "CLIPTextEncode", None),
    # 8. what is not supported or not installed
    ("system", "\"add\" not implemented for 'Half'", "RuntimeError", None, None),
    ("system", "No module named 'x'", "ModuleNotFoundError", None, None),
    ("system", "cannot import name 'a' from 'b'", "ImportError", None, None),
    ("workflow", "'Foo' object has no attribute 'bar'", "AttributeError", "Foo", None),
    # 9. missing files
    (
        "validation",
        "No such file or directory: 'input/a.png'",
        "FileNotFoundError",
        "LoadImage",
        None,
    ),
    (
        "model",
        "No such file or directory: 'models/vae/a.safetensors'",
        "FileNotFoundError",
        None,
        None,
    ),
    ("system", "No such file or directory: '/etc/x'", "FileNotFoundError", None, None),
    # 10. locks
    ("system", "database is locked", "sqlite3.OperationalError", None, None),
    ("network", "LOADING Redis is loading the dataset in memory", None, None, None),
    # 11. JSON
    (
        "network",
        "Expecting value: line 1 column 1 (char 0)",
        "requests.exceptions.JSONDecodeError",
        None,
        None,
    ),
    ("network", "Attempt to decode JSON with unexpected mimetype: text/html", None, None, None),
    (
        "validation",
        "Expecting property name: line 3 column 9 (char 40)",
        "json.decoder.JSONDecodeError",
        None,
        None,
    ),
    # 12. values noticed late
    ("validation", "height and width have to be divisible by 8", "ValueError", "KSampler", None),
    # 13. status codes without allocation
    ("system", "CUDNN_STATUS_EXECUTION_FAILED", "RuntimeError", None, None),
    # 14. handshakes
    ("validation", "server rejected WebSocket connection: HTTP 403", None, None, None),
    ("network", "server rejected WebSocket connection: HTTP 200", None, None, None),
    # 15. required models, unloaded weights
    ("model", "insightface model is required", "Exception", None, None),
    ("workflow", "Cannot copy out of meta tensor; no data!", "NotImplementedError", None, None),
    # 16. compiled engines
    ("model", "deserializeCudaEngine: the engine plan file is not compatible", None, None, None),
    # 17. limits that are no memory
    ("system", "out of resource: shared memory, Required: 9, Hardware limit: 8", None, None, None),
    ("system", "Watchdog caught collective operation timeout: WorkNCCL", None, None, None),
    (
        "network",
        "StatusCode.RESOURCE_EXHAUSTED: quota exceeded, try again",
        "grpc.RpcError",
        None,
        None,
    ),
    (
        "validation",
        "RESOURCE_EXHAUSTED: Received message larger than max",
        "grpc.RpcError",
        None,
        None,
    ),
    # 18. quota
    ("network", "You exceeded your current quota", None, None, 429),
    ("validation", "Insufficient credits", None, None, 402),
    # 19. NaN, loops that are closed
    ("workflow", "A tensor with all NaNs was produced in Unet", None, None, None),
    ("system", "Event loop is closed", "RuntimeError", None, None),
    # 20. proxies
    (
        "network",
        "Tunnel connection failed: 407 Proxy Authentication Required",
        "OSError",
        None,
        407,
    ),
    (
        "validation",
        "in validate_prompt\nTypeError: 'int' object is not subscriptable",
        None,
        None,
        500,
    ),
    # 21. failing over
    ("network", "READONLY You can't write against a read only replica.", None, None, None),
    ("network", "deadlock detected", None, None, None),
]


@pytest.mark.parametrize(("expected", "message", "kind", "node", "http"), CASES)
def test_tie_break(expected, message, kind, node, http):
    assert category(message, kind, node, http) == expected


@pytest.mark.parametrize(
    ("message", "transient"),
    [
        ("Connection reset by peer", True),
        ("CERTIFICATE_VERIFY_FAILED certificate verify failed", False),
        ("You exceeded your current quota, insufficient_quota", False),
        ("CUDA out of memory. Tried to allocate 2 GiB. total capacity of 8 GiB", True),
        ("CUDA out of memory. Tried to allocate 20 GiB. total capacity of 8 GiB", False),
        ("CUDA error: device-side assert triggered", False),
        ("database is locked", True),
    ],
)
def test_transient_is_what_may_pass_with_nothing_changed(message, transient):
    assert classify(message=message).transient is transient


def test_memory_that_never_fits_asks_for_less_and_a_vae_for_tiles():
    text = "Tried to allocate 32.00 GiB. GPU 0 has a total capacity of 8.00 GiB"
    assert classify(message=text).suggested_recovery == "reduce_resolution"
    assert classify(message=text, node_type="VAEDecode").suggested_recovery == "tile_vae"
    small = "Tried to allocate 72 MiB. GPU 0 has a total capacity of 512.00 MiB"
    assert classify(message=small).suggested_recovery == "switch_backend"


@pytest.mark.parametrize(
    "text",
    [
        "[WinError 10061] Es konnte keine Verbindung hergestellt werden",
        "[WinError 10061] 由于目标计算机积极拒绝",
        "[WinError 10061] Подключение не установлено",
        "[WinError 10061] 対象のコンピューターによって拒否された",
    ],
)
def test_numbers_decide_in_any_language(text):
    assert classify(message=text).suggested_recovery == "switch_backend"
