"""What a server will say about a workflow, before it is sent.

`preflight` holds a workflow against a server's `Catalog` and finds every
error the server's own validation would raise, at once and not one at a time,
each with what would be right; and what the server takes and users suffer
from: sizes off the model's grid, branches left out, nodes that cost money.
Pure: nothing is sent and nothing is changed.
"""

from holdfast.comfyui.preflight.judgement import preflight
from holdfast.comfyui.preflight.packs import pack_of
from holdfast.comfyui.preflight.report import Problem, Report, Severity, Suggestion

__all__ = ["Problem", "Report", "Severity", "Suggestion", "pack_of", "preflight"]
