"""The Python environment: packages, libraries, versions, and a runtime that is shutting down."""

from __future__ import annotations

from holdfast.system.classification.answer import verdict
from holdfast.system.classification.rule import Rule

INSTALL = verdict("system, high, lasting, install_node")
BROKEN = verdict("system, high, lasting, none")
OTHER_BUILD = verdict("system, high, lasting, switch_backend")
RESTART = verdict("system, high, lasting, restart_server")
CRASHED = verdict("system, critical, lasting, restart_server")
OVERRUN = verdict("system, high, transient, restart_server")

RULES = (
    Rule("a library of the system is missing or does not fit", BROKEN,
         says=("dll load failed", "cannot open shared object file", "shared object file", "glibc* not found",
               "version glibc*", "glibcxx*", "libgl so 1", "library not loaded", "image not found dlopen", "dlopen",
               "loadlibrary failed", "error loading .. dll", "could not load library", "unable to load library",
               "#winerror126", "#winerror127", "#winerror182", "#winerror193", "#winerror998", "#winerror1114",
               "could not load dynamic library", "failed to load library", "could not find module", "cannot load library",
               "could not find libcud*", "libcudart", "libcublas*", "libcudnn*", "could not load symbol",
               "onnxruntime providers", "wrong elf class", "incompatible architecture", "elf load", "invalid elf header",
               "cannot allocate memory in static tls block", "no lgpu", "unable to find libnvrtc", "libnvrtc*",
               "could not locate zlibwapi", "zlibwapi dll", "dynamic link library", "api ms win", "entry point not found",
               "failed to load shared library", "procedure not found", "specified procedure could not be found",
               "specified module could not be found"),
         unless=("no module named",)),
    Rule("torch is of another version than the code expects", OTHER_BUILD,
         says=("module torch has no attribute", "module torch* .. has no attribute",
               "torch .. has no attribute float8*", "from torch", "requires torch", "requires pytorch",
               "py torch version", "torch version", "upgrade torch", "upgrade pytorch", "torch 2* is required"),
         also=("has no attribute", "cannot import name", "or newer", "or higher", "requires", "is required",
               "at least", "upgrade"),
         unless=("no module named", "cannot import name")),
    Rule("a Python package is missing or does not fit the others", INSTALL,
         says=("no module named", "@modulenotfounderror", "cannot import name", "numpy dtype size changed",
               "numpy core multiarray failed to import", "failed to import", "undefined symbol", "partially initialized module",
               "compiled using numpy 1", "packages are not installed", "requires the .. library but it was not found",
               "library but it was not found in your environment", "import failed", "please install", "pip install",
               "is not installed", "not installed", "package not found", "@packagenotfounderror", "no package metadata",
               "@distributionnotfound", "@versionconflict", "is required for a normal functioning", "is required but found",
               "requires numpy", "module numpy has no attribute", "numpy has no attribute", "version conflict",
               "cannot run this node without", "could not import", "unable to import", "module could not be imported",
               "missing dependency", "missing dependencies", "dependency .. missing", "dependencies .. not installed",
               "dependency conflict", "conflicting dependencies", "@resolutionimpossible", "no matching distribution found",
               "could not find a version that satisfies", "failed building wheel", "metadata generation failed",
               "subprocess exited with error", "externally managed environment", "failed to load custom node",
               "cannot import .. module for custom nodes", "module for custom nodes", "import error", "@importerror",
               "abi version", "binary incompatibility", "torchvision nms does not exist", "operator torchvision",
               "not have the attribute at import", "has been removed in numpy", "was removed in the numpy", "np* was removed",
               "most likely due to a circular import", "circular import", "descriptors cannot be created directly",
               "protobuf .. downgrade", "has no attribute .. most likely", "unable to load .. extension", "custom_ops is not",
               "custom c ops cannot run", "missing .. package", "install the package", "package .. is missing",
               "module cv2* .. has no attribute", "module cv2 has no attribute", "module transformers has no attribute",
               "module diffusers* .. has no attribute", "module pil image has no attribute", "install .. requirements",
               "requires .. to be installed", "needs .. to be installed", "must be installed", "should be installed",
               "module comfy* .. has no attribute", "module server has no attribute", "module folder paths has no attribute",
               "module folder_paths .. has no attribute", "module .. has no attribute", "python setup py", "c extension"),
         unless=("no ffmpeg", "ffmpeg is required", "ffmpeg is not installed", "git is not installed",
                 "install ffmpeg", "ffmpeg not installed", "model is not installed", "models are not installed",
                 "c compiler", "nvcc", "nvidia driver", "update your gpu driver", "object has no attribute", "#winerror5",
                 "#errno13", "#errno28", "#winerror32", "access is denied", "access_denied", "permission denied",
                 "install git", "read timed out", "max retries", "model not found", "failed to import prompt",
                 "not installed on the server", "ffmpeg .. not found", "weights only", "cuda driver")),
    Rule("the event loop or an executor is shut down", RESTART,
         says=("event loop is closed", "cannot schedule new futures", "interpreter shutdown", "executor shutdown",
               "loop is closed", "attached to a different loop", "no running event loop", "no current event loop",
               "different event loop", "asyncio run cannot be called", "event loop is already running",
               "signal only works in main thread", "session is closed", "unable to perform operation on .. handler is closed",
               "the handler is closed")),
    Rule("the limit of threads or processes is reached", OVERRUN,
         says=("cannot start new thread", "start new thread", "thread creation failed", "resource temporarily unavailable",
               "pthread create failed", "unable to create new native thread", "libgomp thread creation failed"),
         unless=("psycopg", "socket", "recv", "ssl")),
    Rule("a worker process died", CRASHED,
         says=("dataloader worker", "data loader worker", "worker .. exited unexpectedly", "@processexitedexception",
               "@processraisedexception", "worker died", "worker process died", "child process died",
               "@childfailederror")),
)
