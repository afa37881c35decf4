"""Memory: what only sounds like it, and what is it whatever the exception's class says.

Stands before all other tables, because exhaustion beats every other reading of an error.
"""

from __future__ import annotations

from holdfast.system.classification.answer import Verdict, verdict
from holdfast.system.classification.report import Report
from holdfast.system.classification.rule import Rule
from holdfast.system.classification.sizes import UNLIKELY, asked_and_has

_SMALL_DEVICE = 2 << 30
_ABSURD = 1 << 50

FREE = verdict("memory, medium, transient, free_memory")
FREE_HIGH = verdict("memory, high, transient, free_memory")
NEVER_FITS = verdict("memory, high, lasting, free_memory")
KILLED = verdict("memory, critical, lasting, restart_server")
LIMITED = verdict("system, high, lasting, switch_backend")
RATE = verdict("network, low, transient, wait_and_retry")
DAMAGED = verdict("model, high, lasting, download_model")
NO_OP = verdict("system, high, lasting, switch_backend")
BROKEN_GPU = verdict("system, critical, lasting, restart_server")
BAD_VALUE = verdict("validation, medium, lasting, fix_request")


_TILE = verdict("memory, medium, transient, tile_vae")
_TILE_SURE = verdict("memory, medium, lasting, tile_vae")
_SMALLER = verdict("memory, medium, lasting, reduce_resolution")
_FEWER = verdict("memory, medium, lasting, reduce_batch")
_ELSEWHERE = verdict("memory, high, lasting, switch_backend")
_HOST = (
    "bytes on host",
    "host memory",
    "on host",
    "pinned",
    "batch size",
    "bfc arena",
    "reduce batch",
)


def killed(report: Report) -> Verdict | None:
    """What a shell says of a process that the kernel killed, and no more than that."""
    return KILLED if len(report.text.split()) <= 6 else None


def sized(report: Report) -> Verdict:
    """Whether the work could ever fit, by the sizes the text shows, and what to make smaller."""
    asked, has = asked_and_has(report.text)
    vae = report.says("%vae") and not report.says("%loader")
    if has is not None and has < _SMALL_DEVICE:
        return _ELSEWHERE
    too_large = asked is not None and asked >= (UNLIKELY if has is None else has)
    if not too_large:
        return _TILE if vae else FREE
    if vae:
        return _TILE_SURE
    if asked is not None and asked >= _ABSURD:
        return _FEWER
    return _FEWER if report.says(*_HOST) else _SMALLER


RULES = (
    # -- words of memory, but another trouble
    Rule(
        "a GPU kernel needs more of the chip than it has",
        LIMITED,
        says=(
            "out of resource shared memory",
            "out of resources shared memory",
            "out of resource .. hardware limit",
            "out of resource: threads",
            "out of resource: registers",
            "uses too much shared data",
            "too many resources requested for launch",
            "tensor memory .. hardware limit",
            "@outofresources",
        ),
    ),
    Rule(
        "the message is larger than the service takes",
        BAD_VALUE,
        says=("resource exhausted",),
        also=("message larger than max", "received message larger", "sent message larger"),
    ),
    Rule(
        "the service limits the rate of requests",
        RATE,
        says=("resource exhausted", "#grpcresource_exhausted"),
        also=(
            "quota",
            "grpc",
            "rpc",
            "status code",
            "rate",
            "#http429",
            "api",
            "try again",
            "#grpcresource_exhausted",
            "@from:grpc",
            "@from:google",
            "gemini",
            "@resourceexhausted",
        ),
        unless=("oom", "when allocating tensor", "out of memory", "allocating"),
    ),
    Rule(
        "an index is larger than a GPU kernel can count",
        LIMITED,
        says=(
            "int max",
            "integer out of range",
            "32 bit index",
            "canuse32bitindexmath",
            "can use32bit index math",
            "larger than 2 31 elements",
            "2 32 bytes",
            "more than int max elements",
            "exceed int max",
        ),
        unless=("out of memory", "unable to allocate"),
    ),
    Rule(
        "the GPU's memory was touched where it must not be",
        BROKEN_GPU,
        says=(
            "illegal memory access",
            "cuda error illegal address",
            "memory access fault by gpu",
            "page fault .. gpu",
            "memory access violation",
            "gpu hang",
        ),
    ),
    Rule(
        "no attention kernel for this device or type",
        NO_OP,
        says=(
            "no operator found for memory efficient attention*",
            "no operator found for .. attention*",
        ),
    ),
    Rule(
        "the database is still loading its data",
        verdict("network, low, transient, wait_and_retry"),
        says=("loading the dataset in memory", "busy loading error", "loading redis"),
    ),
    Rule(
        "the file ends too early or is empty",
        DAMAGED,
        says=("ran out of input", "pickle data was truncated"),
    ),
    # -- the system killed the process for its memory
    Rule(
        "killed for using too much memory",
        KILLED,
        says=(
            "oom killed",
            "oom kill",
            "oom killer",
            "oomkilled",
            "oomkiller",
            "killed process .. total vm",
            "memory cgroup out of memory",
            "oom score*",
            "#exit137",
            "sigkill",
            "#signal9",
            "killed by signal killed",
            "exited with code 137",
            "exit code 137",
            "memory limit exceeded .. killed",
            "low on resource memory",
            "signal killed",
            "worker .. was sent sigkill",
            "code killed status 9",
            "killed 9",
            "container .. exceeded .. memory limit",
            "perhaps out of memory",
            "out of memory killed",
        ),
        unless=("rendezvous .. timeout", "evicted .. ephemeral"),
    ),
    Rule("killed, and nothing else is said", killed, says=("killed",)),
    # -- exhaustion
    Rule(
        "Redis may use no more memory",
        FREE_HIGH,
        says=("oom command not allowed", "used memory maxmemory", "@outofmemoryerror"),
        also=("maxmemory", "oom command not allowed", "@from:redis"),
    ),
    Rule(
        "the model leaves no memory for the cache",
        NEVER_FITS,
        says=(
            "no available memory for the cache blocks",
            "kv cache .. larger than",
            "maximum number of tokens that can be stored in kv cache",
            "is less than desired gpu memory utilization",
            "kv cache is needed which is larger than the available",
        ),
    ),
    Rule(
        "commit limit reached while loading a library",
        FREE_HIGH,
        says=("#winerror1455", "paging file is too small"),
        also=("dll", "dependencies", "winerror 1455 .. error loading", "import*"),
    ),
    Rule(
        "commit limit of Windows reached",
        FREE,
        says=(
            "页面文件太小",
            "头寸调整 页面文件太小",
            "auslagerungsdatei ist zu klein",
            "archivo de paginación es demasiado pequeño",
            "файл подкачки слишком мал",
            "fichier de pagination est insuffisant",
            "file di paging",
            "#winerror1455",
            "paging file is too small",
            "pagefile is too small",
            "#winerror8",
            "#winerror14",
            "not enough memory resources",
            "#winerror1450",
            "#winerror1453",
            "insufficient system resources exist",
            "not enough quota is available",
            "not enough storage is available to process this command",
            "error code 1455",
        ),
        unless=("#http4xx", "#http5xx"),
    ),
    Rule(
        "the shared memory is used up",
        FREE_HIGH,
        says=(
            "out of shared memory",
            "insufficient shared memory",
            "shared memory shm",
            "dev shm",
            "not enough shared memory",
            "unable to open shared memory object",
            "shm size",
            "unable to mmap",
            "shm_open",
            "shared memory manager .. failed",
            "torch shm manager",
            "unable to write to file torch*",
            "unable to allocate shared memory",
            "max locks per transaction",
        ),
    ),
    Rule(
        "the machine has no memory left for a new process",
        FREE_HIGH,
        says=(
            "#errno12",
            "enomem",
            "cannot allocate memory",
            "could not fork new process",
            "fork cannot allocate memory",
            "errno 12",
        ),
        unless=("tried to allocate", "you tried to allocate", "default cpu allocator"),
    ),
    Rule(
        "memory ran out",
        sized,
        says=(
            "out of memory",
            "outofmemory",
            "tried to allocate",
            "trying to allocate",
            "@outofmemoryerror",
            "oom",
            "ran out of memory",
            "not enough memory",
            "could not be allocated",
            "enough free memory",
            "insufficient memory",
            "insufficient device memory",
            "not enough gpu memory",
            "not enough vram",
            "not enough gpu video memory",
            "not enough free memory",
            "unable to allocate",
            "allocation on device",
            "alloc failed",
            "allocation failed",
            "failed to allocate",
            "failed to alloc",
            "could not allocate",
            "cannot allocate",
            "could not alloc",
            "allocate memory failed",
            "memory allocation failure",
            "memory allocation failed",
            "memory allocation error",
            "bad alloc",
            "bad allocation",
            "@memoryerror",
            "memory error",
            "@arraymemoryerror",
            "array memory error",
            "invalid buffer size",
            "e outofmemory",
            "enough memory",
            "memory exhausted",
            "insufficient resources .. memory",
            "alloc .. failed",
            "allocate .. bytes .. failed",
            "max allowed .. tried to allocate",
            "exceed allowed memory",
            "default cpu allocator",
            "cuda malloc failed",
            "hip malloc failed",
            "memory limit exceeded",
            "exceeds available memory",
            "exceeds the available memory",
            "insufficient vram",
            "vram exhausted",
            "ran out of gpu memory",
            "ran out of vram",
            "gpu memory is full",
            "requires more memory",
            "you need more ram",
            "not enough ram",
            "out of host memory",
            "out of device memory",
            "out of vram",
            "ur result error out of resources",
            "pi error out of resources",
            "cl out of resources",
            "cl mem object allocation failure",
            "failed to create .. buffer .. size",
            "array buffer allocation failed",
            "javascript heap out of memory",
            "heap out of memory",
            "@from:memory",
            "cannot allocate write buffer",
            "malloc failed",
            "allocation would exceed",
            "mmap failed",
            "exceeds maximum buffer size",
            "invalid array length",
            "kv cache .. no space",
            "gl out of memory",
            "cudnn status alloc failed",
            "cublas status alloc failed",
            "cufft alloc failed",
            "bfc arena",
            "insufficient cuda memory",
            "memory usage exceeded",
            "no memory available",
            "failed to reserve",
            "unable to alloc array",
            "not enough memory for",
            "cannot be allocated",
            "larger than the maximum buffer",
            "std bad alloc",
            "memory is exhausted",
            "exceeds the limit of memory",
            "out of gpu memory",
            "exceed .. gpu memory",
            "exceeds .. device memory",
            "buffer .. larger than .. bytes",
        ),
        unless=(
            "too many connections",
            "no memory of",
            "memory efficient",
            "allocate new connection",
            "could not allocate .. port",
            "cannot allocate .. port",
            "allocate lock",
            "failed to allocate .. ip",
            "inotify",
            "connection pool",
            "static tls",
            "memory error in",
            "memory leak",
        ),
    ),
)
