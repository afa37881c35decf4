"""All rules in the order in which they are asked; the first that applies decides."""

from __future__ import annotations

from holdfast.system.classification import (
    rules_api,
    rules_database,
    rules_device,
    rules_graph,
    rules_held,
    rules_last,
    rules_machine,
    rules_memory,
    rules_model,
    rules_network,
    rules_process,
    rules_prompt,
    rules_python,
    rules_request,
    rules_tls,
)

RULES = (
    *rules_held.RULES,
    *rules_memory.RULES,
    *rules_process.RULES,
    *rules_prompt.RULES,
    *rules_machine.RULES[:3],
    *rules_api.RULES[:1],
    *rules_graph.RULES[:1],
    *rules_model.RULES,
    *rules_device.RULES,
    *rules_python.RULES,
    *rules_database.RULES,
    *rules_machine.RULES[3:],
    *rules_api.RULES[1:],
    *rules_graph.RULES[1:],
    *rules_tls.RULES,
    *rules_network.RULES,
    *rules_request.RULES,
    *rules_last.RULES,
)
