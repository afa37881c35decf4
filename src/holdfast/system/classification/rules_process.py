"""Processes that ended: exit codes, signals and Windows' statuses, as far as memory is not why."""

from __future__ import annotations

from holdfast.system.classification.answer import verdict
from holdfast.system.classification.rule import Rule

CRASHED = verdict("system, critical, lasting, restart_server")
UNFIT = verdict("system, critical, lasting, none")
STOPPED = verdict("system, high, transient, restart_server")
MISSING = verdict("system, high, lasting, none")
LOOP = verdict("workflow, critical, lasting, fix_request")

RULES = (
    Rule(
        "a loop in the graph overflowed the stack",
        LOOP,
        says=("stack overflow", "#exitc00000fd"),
        also=("validate inputs", "validate prompt", "recursive execute", "get input data"),
    ),
    Rule(
        "the processor lacks an instruction the program needs",
        UNFIT,
        says=(
            "illegal instruction core dumped",
            "sigill",
            "illegal hardware instruction",
            "#signal4",
            "#exit132",
            "#exitc000001d",
        ),
    ),
    Rule(
        "a library of the program is missing",
        MISSING,
        says=("#exitc0000135", "#exitc0000139", "#exitc000007b"),
    ),
    Rule(
        "the process crashed",
        CRASHED,
        says=(
            "violación de segmento",
            "段错误",
            "核心已转储",
            "speicherzugriffsfehler",
            "erreur de segmentation",
            "ошибка сегментирования",
            "セグメンテーション違反",
            "segmentation fault",
            "segfault",
            "sigsegv",
            "sigabrt",
            "sigbus",
            "bus error",
            "core dumped",
            "#exit139",
            "#exit134",
            "#exit135",
            "#exit136",
            "sigfpe",
            "#signal11",
            "#signal6",
            "#signal7",
            "#signal8",
            "#exitc0000005",
            "#exitc0000409",
            "#exitc0000374",
            "#exitc00000fd",
            "#exitc0000142",
            "access violation",
            "stack overflow",
            "fatal python error",
            "windows fatal exception",
            "heap corruption",
            "double free",
            "free invalid pointer",
            "malloc corrupted",
            "stack smashing",
            "terminate called",
            "terminating due to uncaught exception",
            "terminating with uncaught exception",
            "@brokenprocesspool",
            "@brokenexecutor",
            "process pool was terminated abruptly",
            "floating point exception core",
            "corrupted size vs prev size",
            "aborted core",
        ),
    ),
    Rule(
        "the process was asked to stop",
        STOPPED,
        says=(
            "sigterm",
            "#signal15",
            "#exit143",
            "sigint",
            "#exit130",
            "sighup",
            "#exit129",
            "#exitc000013a",
            "received shutdown signal",
        ),
    ),
    Rule(
        "the command was not found",
        MISSING,
        says=(
            "#exit127",
            "command not found",
            "is not recognized as an internal or external command",
            "executable file not found",
        ),
    ),
    Rule(
        "the program may not be run here",
        MISSING,
        says=(
            "#exit126",
            "exec format error",
            "#errno8 @oserror",
            "is not a valid win32 application",
        ),
    ),
    Rule(
        "the container keeps crashing",
        CRASHED,
        says=("crash loop back off", "crashloopbackoff", "back off restarting failed container"),
    ),
)
