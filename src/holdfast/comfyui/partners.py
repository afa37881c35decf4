"""What nodes are called that call paid services, for when no server says which they are."""

from __future__ import annotations

import re

_PARTNERS = re.compile(
    r"^(?:ByteDance|Flux(?:Pro|Kontext(?:Pro|Max))|Gemini|Hailuo|Ideogram|Kling|Luma|Minimax|"
    r"Moonvalley|OpenAI|Pika|Pixverse|Recraft|Rodin|Runway|Sora|Stability|Topaz|Tripo|Veo|Vidu|"
    r"Wan(?:Text|Image)ToVideoApi)"
)


def named_as_paid(class_type: str) -> bool:
    """Whether a node class is called like those of core that cost money."""
    return bool(_PARTNERS.match(class_type))
