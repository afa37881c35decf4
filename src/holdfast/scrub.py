"""Takes secrets out of whatever is about to be stored, shown or sent.

- What goes: tokens of known shapes, credentials in headers, cookies, URLs and DSNs, the values
  of names such as ``password``, private keys, and long strings that look random.
- What stays: words, numbers, paths, UUIDs and plain hexadecimal, so that commits, checksums of
  models and prompt ids remain readable. A secret in plain hexadecimal goes only if its name
  or its prefix gives it away.
- Time is linear in the length of the text, whoever wrote it: every search starts at a literal,
  no pattern backtracks, and none starts again inside what it has already taken.
- Done twice it changes nothing more, by construction: it is repeated until nothing changes, and
  a text that will not settle is taken out whole.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

REDACTED = "[redacted]"
"""What stands where a secret was."""
MOST_DEPTH = 12
"""Levels of nested data that are kept."""
MOST_ITEMS = 10_000
"""Values that are kept of one piece of nested data."""
_PASSES = 6

_RUN = r"A-Za-z0-9_\-"
# Hugging Face (two), Replicate, RunPod, Groq, xAI, Perplexity, Fireworks, Linear, Notion
_SIMPLE = "hf_ api_org_ r8_ rpa_ gsk_ xai- pplx- fw_ lin_api_ ntn_"
# Each pattern follows its literal. The literal is looked for first, because that costs next to
# nothing; a letter or digit right before it means that it is part of a longer word.
_TOKENS = tuple(
    (literal, re.compile(re.escape(literal) + pattern))
    for literal, pattern in (
        *((literal, "[A-Za-z0-9]{20,}+") for literal in _SIMPLE.split()),
        ("sk-", rf"(?=[a-z-]{{0,60}}[A-Z0-9_])[{_RUN}]{{16,}}+"),  # OpenAI, Anthropic, OpenRouter
        ("hf_", r"[a-z2-7]{12}_[A-Za-z0-9]{20,}+"),  # a key of our own gateway
        ("gh", rf"[pousr]_[{_RUN}.]{{20,}}+"),  # GitHub
        ("github_pat_", r"[A-Za-z0-9_]{20,}+"),
        ("gl", r"(?:pat|ptt|dt|rt|soat|cbt|ft|agent|imt|oas|ffct)-[\w.-]{16,}+"),  # GitLab
        ("AKIA", r"[A-Z0-9]{12,}+"),  # Amazon
        ("ASIA", r"[A-Z0-9]{12,}+"),
        ("AIza", rf"[{_RUN}]{{30,}}+"),  # Google
        ("ya29.", rf"[{_RUN}]{{16,}}+"),
        ("GOCSPX-", rf"[{_RUN}]{{16,}}+"),
        ("1//0", rf"[{_RUN}]{{24,}}+"),
        ("xox", r"[abceoprs](?:\.xox[a-z])?-[A-Za-z0-9-]{10,}+"),  # Slack
        ("xapp-", r"[A-Za-z0-9-]{16,}+"),
        ("sk_", r"(?:live|test|prod)_[A-Za-z0-9]{10,}+"),  # Stripe, Clerk
        ("rk_", r"(?:live|test)_[A-Za-z0-9]{10,}+"),
        ("pk_", r"(?:live|test)_[A-Za-z0-9]{10,}+"),
        ("whsec_", r"[A-Za-z0-9+/=]{16,}+"),
        ("nvapi-", rf"[{_RUN}]{{20,}}+"),  # NVIDIA
        ("npm_", r"[A-Za-z0-9]{30,}+"),
        ("pypi-", rf"[{_RUN}]{{40,}}+"),
        ("SG.", rf"[{_RUN}]{{16,40}}\.[{_RUN}]{{16,}}+"),  # SendGrid
        ("SK", r"[0-9a-f]{32}+(?![0-9a-zA-Z])"),  # Twilio
        ("key-", r"[0-9a-f]{32}+(?![0-9a-zA-Z])"),  # Mailgun
        ("do", r"[por]_v1_[a-f0-9]{32,}+"),  # DigitalOcean
        ("dapi", r"[a-f0-9]{32}+"),  # Databricks
        ("shp", r"(?:at|ca|pa|ss)_[a-fA-F0-9]{24,}+"),  # Shopify
        ("hvs.", rf"[{_RUN}]{{20,}}+"),  # Vault
        ("hvb.", rf"[{_RUN}]{{20,}}+"),
        ("glsa_", r"\w{24,}+"),  # Grafana
        ("PMAK-", r"[a-f0-9-]{32,}+"),  # Postman
        ("dp.", r"[a-z]{2,5}\.[A-Za-z0-9]{32,}+"),  # Doppler
        ("tskey-", rf"[{_RUN}]{{16,}}+"),  # Tailscale
        ("sq0", rf"[a-z]{{3}}-[{_RUN}]{{20,}}+"),  # Square
        ("AGE-SECRET-KEY-1", r"[A-Z0-9]{20,}+"),
        ("sbp_", r"[a-f0-9]{32,}+"),  # Supabase
        ("ATATT3", rf"[{_RUN}=]{{20,}}+"),  # Atlassian
        ("figd_", rf"[{_RUN}]{{20,}}+"),  # Figma
        ("eyJ", rf"[{_RUN}]{{6,}}+(?:\.[{_RUN}]*+)*+"),  # JWT, JWE
    )
)
_PLAIN = tuple(
    (literal, re.compile(pattern))
    for literal, pattern in (
        (
            "-----BEGIN",
            (
                r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
                r"(?:[A-Za-z0-9+/=\s\\:,.>|]|-(?!----))*+"
                r"(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----)?"
            ),
        ),
        # Passwords may hold an @; the host begins after the last one.
        ("://", r"(?<=://)[^\s/?#\"'<>@]{0,200}:[^\s/?#\"'<>]{0,400}(?=@)"),
        ("://", r"(?<=://):?[^\s/?#\"'<>@:]{24,400}(?=@)"),
        ("hooks.slack.com/", r"(?<=hooks\.slack\.com/)[a-z]{3,20}/[\w/-]{6,}+"),
        ("/api/webhooks/", r"(?<=/api/webhooks/)\d{1,25}/[\w-]{6,}+"),
        (".webhook.office.com/", r"(?<=\.webhook\.office\.com/)[\w/@-]{6,}+"),
        ("/webhook/", r"(?<=/webhook/)[\w-]{30,}+"),
        ("earer ", r"(?<=[Bb]earer )(?=[^\s\"']{0,200}[0-9]|[^\s\"']{24})[\w.~+/=:-]{8,}+"),
        ("EARER ", r"(?<=BEARER )(?=[^\s\"']{0,200}[0-9]|[^\s\"']{24})[\w.~+/=:-]{8,}+"),
        (" -u ", r"(?<= -u )[\"']?[^\s:\"']{1,200}:[^\s\"']++"),
        ("--user ", r"(?<=--user )[\"']?[^\s:\"']{1,200}:[^\s\"']++"),
    )
)
_TELEGRAM = re.compile(rf"(?<![0-9])[0-9]{{6,12}}:AA[{_RUN}]{{30,}}+")
_DISCORD = re.compile(rf"[MNO][A-Za-z0-9_-]{{22,27}}\.[{_RUN}]{{6,7}}\.[{_RUN}]{{27,}}+")
_BASIC = re.compile(r"(?<=[Bb]asic )[A-Za-z0-9+/]{6,}+={0,2}")
_QUERY = re.compile(
    r"[?&;](?:x-[a-z]{2,5}-(?:signature|credential|security-token)|key|sig|signature|hmac|auth"
    r"|st|ticket|pass|awsaccesskeyid|code(?==[^&\s]{12}))=([^&\s\"'<>#]++)"
)

_CORES: tuple[str, ...] = (
    "pass",
    "pwd",
    "secret",
    "token",
    "key",
    "auth",
    "cred",
    "cookie",
    "sess",
    "jwt",
)
_CORES += ("mnemonic", "connect.sid", "csrf", "signature")
_NAME_BEFORE = re.compile(r"[\w.\-]{0,60}\Z")
_NAME_REST = re.compile(r"[\w\-]{0,40}+")
_SEPARATOR = re.compile(
    r"(?:(?P<quote>\\{0,3}[\"'`])\]?[ \t]{0,4}(?:=>|[:=,])"
    r"|\]?[ \t]{0,4}(?P<mark>=>|:=|==?|:|%3[dD]))"
    r"[ \t]{0,4}"
)
_AFTER_OPTION = re.compile(r"[ \t]{1,4}(?!-)")
_QUOTED = {
    '"': re.compile(r'[^"\\\r\n]*+(?:\\.[^"\\\r\n]*+)*+'),
    "'": re.compile(r"[^'\\\r\n]*+(?:\\.[^'\\\r\n]*+)*+"),
    "`": re.compile(r"[^`\r\n]*+"),
}
_ESCAPED = re.compile(r"[^\"'\\\r\n]*+")
_OPENING = re.compile(r"[bru]{0,2}(\\{0,3})([\"'`])")
_BARE = re.compile(r"\([^()\r\n]{1,400}\)|(?:[^\s;&\"'<>`,)}\]]|[,)}\]](?![\s;,)}\]\"']|\Z))++")
_LINE = re.compile(r"[^\r\n]*+")
_NOTHING = re.compile(
    r"(?:none|null|nil|true|false|undefined|str|bytes|int|any|optional\[\w{1,20}\]|string|required"
    r"|missing|optional|\*{2,}+|\.{3}|<\w{0,20}>?|\[redacted\])(?![\w.+/-])"
    r"|(?:self|cls|os|config|settings|args|env|options|\$|%)[.({]",
    re.IGNORECASE,
)
_WORD = re.compile(r"[a-z]{1,20}(?![^\s,.;:!?])")
_PROSE = re.compile(r"[A-Za-z']{1,20}[,;]? [a-z]")
_TALLY = re.compile(r"[0-9]{1,6}(?![\w.])")
_SCHEME = re.compile(
    r"(?:bearer|basic|digest|token|negotiate|ntlm|apikey|key|aws4-hmac-sha256|hawk|oauth|dpop) ",
    re.IGNORECASE,
)
_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_CERTAIN = re.compile(
    r"passw(?:or)?d|passphrase|passwrd|secret(?!ar)|credential|authorization|api_?key|mnemonic"
    r"|(?:access|private|account|signing|encryption|subscription|functions|storage|master|shared"
    r"|service|auth|session|license|deploy|ssh|hmac|admin|root|webhook|project)key"
    r"|access_?token|auth_?token|sessi?d\b|sessionid|csrftoken|xsrftoken|connectsid"
)
_WHOLE = frozenset(
    ("pass", "pwd", "pw", "auth", "token", "cookie", "cookies", "jwt", "creds", "cred", "csrf")
)
_HARMLESS = frozenset(
    re.findall(
        "[a-z]+",
        """
        age algorithm budget check class count domain enabled endpoint error errors exists
        expired expires expiry field file header hint id ids idx index invalid jar len
        length less limit manager max method min name names path policy position prefix
        provider rate required scope scopes size state status strength ttl type types uri
        url usage valid version
        """,
    )
)

_NOT_RUN = str.maketrans(
    {chr(c): " " for c in range(128) if not (chr(c).isalnum() or chr(c) in "+/_-")}
)
_LONG = 32
_UPPER, _LOWER, _DIGIT = re.compile("[A-Z]"), re.compile("[a-z]"), re.compile("[0-9]")
_HEX = re.compile(r"(?:[0-9a-f]++|[0-9A-F]++)\Z")
_PIECES = re.compile(r"[A-Za-z0-9]{8,}+")
_TURNS = re.compile(r"[a-z](?=[A-Z0-9])|[A-Z](?=[0-9])|[0-9](?=[A-Za-z])|[A-Z](?=[a-z])")


def scrub(text: str) -> str:
    """``text`` with `REDACTED` where a secret was.

    Takes time in proportion to the length: some 10 microseconds for a message, 100 for a kilobyte
    of traceback; 10 MB of bait made to be slow took 16 seconds, of most texts a few.
    ``scrub(scrub(text)) == scrub(text)``.
    """
    for _ in range(_PASSES):
        spans = sorted(span for finder in _FINDERS for span in finder(text))
        done = _without(text, spans) if spans else text
        if done == text:
            return text
        text = done
    return REDACTED


def scrub_data(value: Any) -> Any:
    """Nested data without secrets, as plain data.

    The value of a name such as ``password`` goes whatever its shape (None stays). Mappings become
    dicts, sets lists, bytes text, and any other object its scrubbed ``repr``. Beyond
    `MOST_DEPTH` levels and `MOST_ITEMS` values it says so and stops.
    """
    return _Nested().scrub(value, MOST_DEPTH)


@lru_cache(maxsize=2048)
def is_sensitive(name: str) -> bool:
    """Whether a field, option, header or variable of this name holds a secret."""
    parts = [part.lower() for part in _PARTS.findall(name[:200])]
    while parts and parts[-1].isdigit():
        parts.pop()
    if not parts or parts[-1] in _HARMLESS:
        return False
    compact = "".join(parts)
    if _CERTAIN.search(compact) or parts[-1] in _WHOLE:
        return True
    if "token" in parts[:-1] and parts[-1] in {"value", "read", "write", "main", "default"}:
        return True
    return compact.endswith(("signature", "token")) and len(parts) > 1


class _Nested:
    """One walk through nested data, with what is left of its allowance."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = MOST_ITEMS

    def scrub(self, value: Any, depth: int) -> Any:
        self.left -= 1
        if value is None or type(value) in (bool, int, float):
            return value
        if isinstance(value, str):
            return scrub(str(value))
        if not isinstance(value, Mapping | list | tuple | set | frozenset):
            return scrub(_told(value))
        if depth <= 0:
            return "[too deep]"
        if isinstance(value, Mapping):
            return self.mapping(value, depth)
        kept = self.items(value, depth)
        return tuple(kept) if isinstance(value, tuple) else kept

    def items(self, values: Iterable[Any], depth: int) -> list[Any]:
        kept: list[Any] = []
        for value in values:
            if self.left <= 0:
                kept.append("[more]")
                break
            kept.append(self.scrub(value, depth - 1))
        return kept

    def mapping(self, value: Mapping[Any, Any], depth: int) -> dict[Any, Any]:
        kept: dict[Any, Any] = {}
        for key, item in value.items():
            if self.left <= 0:
                kept["[more]"] = len(value) - len(kept)
                break
            name = key if isinstance(key, str) else _told(key)
            plain = key is None or type(key) in (bool, int, float)
            safe = key if plain else scrub(name)
            if item is not None and (is_sensitive(name) or name.lower() in _HIDDEN_KEYS):
                kept[safe] = REDACTED
            else:
                kept[safe] = self.scrub(item, depth - 1)
        return kept


_HIDDEN_KEYS = frozenset(("sig", "x-amz-credential", "set-cookie", "key_material"))


def _told(value: Any) -> str:
    """What an object says of itself; an object that cannot be asked is named by its class."""
    if isinstance(value, bytes | bytearray):
        return value.decode("utf-8", "replace")
    try:
        return repr(value)
    except Exception:  # noqa: BLE001  # a stranger's __repr__ may raise anything
        return f"<{type(value).__name__}>"


def _without(text: str, spans: list[tuple[int, int]]) -> str:
    """``text`` with each of the sorted ``spans``, those that touch taken together, replaced."""
    pieces: list[str] = []
    done, start, end = 0, *spans[0]
    for begin, stop in (*spans[1:], (len(text) + 1, len(text) + 1)):
        if begin <= end:
            end = max(end, stop)
            continue
        pieces += (text[done:start], REDACTED)
        done, start, end = end, begin, stop
    pieces.append(text[done:])
    return "".join(pieces)


def _tokens(text: str) -> Iterator[tuple[int, int]]:
    """Secrets that their own shape gives away."""
    for literal, pattern in _TOKENS:
        if literal in text:
            for found in pattern.finditer(text):
                start = found.start()
                if not (start and text[start - 1].isalnum()):
                    yield found.span()
    if ":AA" in text:
        yield from (found.span() for found in _TELEGRAM.finditer(text))
    if text.count(".") > 1:
        yield from (found.span() for found in _DISCORD.finditer(text))


def _credentials(text: str) -> Iterator[tuple[int, int]]:
    """Secrets that what stands before them gives away."""
    for literal, pattern in _PLAIN:
        if literal in text:
            yield from (found.span() for found in pattern.finditer(text))
    if "asic " in text:
        yield from (found.span() for found in _BASIC.finditer(text) if _is_pair(found[0]))


def _is_pair(encoded: str) -> bool:
    """Whether base64 holds ``user:password``."""
    try:
        pair = base64.b64decode(encoded + "==")
    except (binascii.Error, ValueError):
        return False
    return b":" in pair and pair.isascii()


def _named(text: str) -> Iterator[tuple[int, int]]:
    """Values that stand behind a name that gives them away."""
    lower = text.lower()
    if len(lower) != len(text):  # a few letters become two
        lower = text.translate({c: c + 32 for c in range(65, 91)})
    if "=" in lower and ("?" in lower or "&" in lower or ";" in lower):
        yield from (
            found.span(1)
            for found in _QUERY.finditer(lower)
            if not lower.startswith(REDACTED, found.start(1))
        )
    for core in _CORES:
        at = lower.find(core)
        while at >= 0:
            end = at + len(core)
            rest = _NAME_REST.match(lower, end)
            stop = rest.end() if rest else end
            span = _value(text, at, stop)
            if span is not None:
                yield span
                end = max(end, span[1])
            at = lower.find(core, end)


def _value(text: str, at: int, stop: int) -> tuple[int, int] | None:
    """Where the secret lies whose name has its telling part at ``at`` and ends at ``stop``."""
    separator = _SEPARATOR.match(text, stop)
    gap = separator or _AFTER_OPTION.match(text, stop)
    if gap is None:
        return None
    before = _NAME_BEFORE.search(text, max(0, at - 60), at)
    start = before.start() if before else at
    name, begin = text[start:stop], gap.end()
    if not is_sensitive(name) or not (separator or name.startswith("--")):
        return None
    opening = _OPENING.match(text, begin)
    if opening is not None:
        inside = opening.end()
        if text.startswith((REDACTED, "***"), inside):
            return None
        pattern = _ESCAPED if opening[1] else _QUOTED[opening[2]]
        return _span(pattern.match(text, inside))
    if separator is None:
        return None if _NOTHING.match(text, begin) else _span(_BARE.match(text, begin))
    return _unquoted(text, name.lower(), begin, separator, text[start - 1 : start])


def _unquoted(
    text: str, name: str, begin: int, separator: re.Match[str], around: str
) -> tuple[int, int] | None:
    """Where a value lies that is not in quotes, of a name that may be in quotes itself."""
    if separator["quote"] and text[begin - 1] == ",":
        return None
    whole = name.endswith("cookie") and "=" in text[begin : begin + 200]
    if whole or (name.endswith("authorization") and _SCHEME.match(text, begin)):
        line = _ESCAPED if around in {'"', "'"} else _LINE
        return None if text.startswith(REDACTED, begin) else _span(line.match(text, begin))
    if _NOTHING.match(text, begin) or text.startswith(("{", "["), begin):
        return None
    if separator["mark"] == ":" and _is_prose(text, begin, name):
        return None
    return _span(_BARE.match(text, begin))


def _span(found: re.Match[str] | None) -> tuple[int, int] | None:
    return found.span() if found and found.end() > found.start() else None


def _is_prose(text: str, begin: int, name: str) -> bool:
    """Whether a sentence goes on after "name:", as in "password: must have 8 letters"."""
    if _PROSE.match(text, begin):
        return True
    if name == "pass":
        return bool(_TALLY.match(text, begin))
    return "pass" not in name and bool(_WORD.match(text, begin))


def _random(text: str) -> Iterator[tuple[int, int]]:
    """Long strings that no person and no naming scheme would write."""
    at = 0
    for run in text.translate(_NOT_RUN).split(" "):
        if len(run) < _LONG or not run.isascii():
            continue
        # Shorter runs in between cannot hold this one, so the next place it stands is its own.
        at = text.find(run, at)
        if _looks_random(run):
            yield at, at + len(run)
        at += len(run)


def _looks_random(run: str) -> bool:
    """Whether the letters, capitals and digits of a run are mixed as chance mixes them.

    In random base64 two neighbours are of different kinds in 64 of 100 cases; in words, camel
    case, paths and names of files and models in 35 of 100 or fewer.
    """
    head = run[:512]
    if not (_DIGIT.search(head) and _UPPER.search(head) and _LOWER.search(head)):
        return False
    length = turns = 0
    for piece in _PIECES.findall(head):
        if _HEX.match(piece):
            continue
        length += len(piece) - 1
        turns += len(_TURNS.findall(piece))
    return length >= 20 and turns >= 0.45 * length and len(set(head)) >= 16


_FINDERS: tuple[Callable[[str], Iterator[tuple[int, int]]], ...] = (
    _tokens,
    _credentials,
    _named,
    _random,
)
