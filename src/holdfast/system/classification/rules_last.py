"""What decides when the text tells nothing: the HTTP status, then the exception's class alone."""

from __future__ import annotations

from holdfast.system.classification.answer import verdict
from holdfast.system.classification.rule import Rule

WAIT = verdict("network, low, transient, wait_and_retry")
AGAIN = verdict("network, low, transient, retry")
BAD = verdict("validation, medium, lasting, fix_request")
REFUSED = verdict("validation, high, lasting, fix_request")
USED_UP = verdict("validation, high, lasting, switch_backend")
REDIRECT = verdict("network, high, lasting, none")
PROXY = verdict("network, high, lasting, none")
FREE = verdict("memory, medium, transient, free_memory")
NODE_BUG = verdict("workflow, high, lasting, install_node")
WIRING = verdict("workflow, high, lasting, fix_request")
INSTALL = verdict("system, high, lasting, install_node")
MACHINE = verdict("system, high, lasting, none")
NOT_HERE = verdict("system, high, lasting, switch_backend")
CHILD = verdict("system, high, lasting, none")
GPU = verdict("system, critical, lasting, restart_server")
MODEL = verdict("model, high, lasting, download_model")

STATUS = (
    Rule("the service is overloaded, down or limits us", WAIT, says=("#http408", "#http425", "#http429", "#http5xx", "#grpcunavailable", "#grpcaborted",
         "#grpcdeadline_exceeded", "#grpcinternal")),
    Rule("the proxy wants credentials", PROXY, says=("#http407",)),
    Rule("credits are used up", USED_UP, says=("#http402",)),
    Rule("the service refuses who we are", REFUSED, says=("#http401", "#http403")),
    Rule("the service refuses the request", BAD, says=("#http4xx",)),
    Rule("the service sent us elsewhere", REDIRECT, says=("#http3xx",)),
)

CLASSES = (
    Rule("an exception for memory", FREE, says=("@memoryerror", "@outofmemoryerror"), weak=True),
    Rule("an exception for GPUs", GPU, says=("@acceleratorerror",), weak=True),
    Rule("an exception for model files", MODEL, says=("@safetensorerror", "@unpicklingerror", "@hfvalidationerror"), weak=True),
    Rule("an exception for missing packages", INSTALL, says=("@importerror", "@modulenotfounderror"), weak=True),
    Rule("an exception for connections", AGAIN, says=("@connectionerror", "@timeouterror", "@gaierror", "@sslerror", "@httperror", "@urlerror", "@requestexception",
         "@clienterror", "@from:requests", "@from:httpx", "@from:httpcore", "@from:aiohttp", "@from:urllib3", "@from:websockets", "@from:redis", "@operationalerror",
         "@interfaceerror", "@websocketexception", "@rpcerror", "@apierror", "@apiconnectionerror", "@botocoreerror", "@eoferror", "@transporterror", "@httpexception"), weak=True),
    Rule("an exception for the machine", MACHINE, says=("@oserror", "@blockingioerror", "@childprocesserror", "@systemerror", "@systemexit"), weak=True),
    Rule("a process that failed", CHILD, says=("@calledprocesserror", "@subprocesserror", "#exit1", "#exit2"), weak=True),
    Rule("an exception for what is not there yet", NOT_HERE, says=("@notimplementederror",), weak=True),
    Rule("an exception of a node's own code", NODE_BUG, says=("@typeerror", "@attributeerror", "@keyerror", "@nameerror", "@assertionerror", "@lookuperror", "@stopiteration",
         "@arithmeticerror", "@syntaxerror", "@recursionerror", "@indexerror"), weak=True),
    Rule("an exception for bad values", BAD, says=("@valueerror",), weak=True),
    Rule("a node failed", WIRING, says=("error occurred when executing", "@runtimeerror"), weak=True),
)

RULES = STATUS + CLASSES
