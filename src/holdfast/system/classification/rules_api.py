"""Paid and hosted services: credits, credentials, and content they will not make."""

from __future__ import annotations

from holdfast.system.classification.answer import Verdict, verdict
from holdfast.system.classification.report import Report
from holdfast.system.classification.rule import Rule

USED_UP = verdict("validation, high, lasting, switch_backend")
USED_UP_429 = verdict("network, high, lasting, switch_backend")
CONTENT = verdict("validation, medium, lasting, fix_request")
CREDENTIALS = verdict("validation, high, lasting, fix_request")
NO_SUCH = verdict("validation, high, lasting, fix_request")


def _used_up(report: Report) -> Verdict:
    asked_too_often = report.http == 429 or (
        report.http is None and report.says("insufficient quota", "current quota", "@ratelimiterror", "resource exhausted")
    )
    return USED_UP_429 if asked_too_often else USED_UP


RULES = (
    Rule("credits or quota are used up", _used_up,
         says=("insufficient quota", "exceeded your current quota", "current quota", "insufficient credit*", "insufficient balance", "insufficient funds",
               "credits .. exhausted", "out of credits", "not enough credits", "no credits", "billing hard limit", "billing", "payment required", "#http402",
               "credit balance is too low", "monthly limit", "monthly spend*", "spending limit", "usage limit", "quota exceeded", "exceeded .. quota",
               "exceeded your monthly", "balance is too low", "insufficient account balance", "run out of credits", "free tier", "free time limit",
               "quota has been exhausted", "exceeded your gpu quota", "daily limit", "daily quota", "lacks enough credits", "negative balance",
               "payment method", "top up", "recharge", "arrearage", "overdue", "subscription", "trial .. ended", "credits", "prepaid"),
         also=("quota", "credit*", "billing", "balance", "limit", "payment", "funds", "#http402", "top up", "recharge", "arrearage", "overdue", "subscription",
               "trial", "prepaid"),
         unless=("disk quota", "requests per minute", "tokens per min*", "per minute", "rate limit reached for", "not enough quota is available",
                 "try again in", "disk", "size limit", "length limit", "context", "concurrent", "file size limit")),
    Rule("the service will not make this content", CONTENT,
         says=("content policy", "content policy violation", "safety system", "content moderation", "moderation", "moderation blocked", "content filter",
               "nsfw", "flagged", "safety filter*", "inappropriate content", "sensitive content", "prohibited content", "policy violation", "safety settings",
               "responsible ai", "blocked by", "copyright", "violates .. policies", "violates our", "explicit content", "request moderated",
               "content was blocked", "prompt was blocked", "prohibited", "refused to generate", "data inspection failed", "real people",
               "content .. not allowed", "safety checks", "safety checker", "image safety", "usage guidelines", "usage policy", "public figure*",
               "against our"),
         also=("content", "prompt", "moderat*", "nsfw", "safety", "policy", "policies", "image*", "output*", "input", "flagged", "generat*", "request*"),
         unless=("cors", "network policy", "group policy", "cloudflare", "browser", "firewall", "safety checker .. found in model", "no module named",
                 "1008", "state dict", "no file named", "#http429", "control policy")),
    Rule("wrong or missing credentials", CREDENTIALS,
         says=("invalid api key", "incorrect api key", "api key", "unauthorized", "invalid token", "authentication", "@authenticationerror",
               "invalid access token", "token expired", "expired token", "invalid credentials", "could not be authenticated", "access denied",
               "signature does not match", "invalid access key id", "invalid client token id", "unrecognized client", "unable to locate credentials",
               "no credentials", "@nocredentialserror", "not authenticated", "unauthenticated", "please login", "not logged in", "login first", "bearer token",
               "invalid signature", "api token", "permission denied publickey", "bad credentials", "credentials", "#grpcunauthenticated",
               "#grpcpermission_denied", "forbidden", "not authorized", "access token", "@permissiondeniederror", "jwt", "csrf", "hmac",
               "requires authentication", "expired signature", "auth token", "not allowed to access", "does not have access", "insufficient permissions",
               "insufficient_scope"),
         also=("key", "token", "credential*", "invalid", "missing", "#http401", "#http403", "expired", "denied", "unauthorized", "login", "logged", "not set",
               "required", "wrong", "authenticat*", "provide", "must", "forbidden", "authorized", "signature", "incorrect", "permission*"),
         unless=("#http429", "#http5xx", "#http400 .. must be", "unexpected token", "positional argument*", "token indices", "max tokens", "tokens",
                 "#http422", "key error", "@keyerror", "@filenotfounderror", "proxy", "load key", "cross site", "#http413", "#winerror5", "c users",
                 "#http404", "#http405", "#http400", "object has no attribute", "websocket*", "keyword argument")),
)
