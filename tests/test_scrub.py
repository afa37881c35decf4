"""Secrets go, words stay. All values are made up, and put together only when the test runs."""

from __future__ import annotations

import base64
import json
import random
import re
import string
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.scrub import MOST_DEPTH, MOST_ITEMS, REDACTED, is_sensitive, scrub, scrub_data

CHANCE = random.Random(7)
ALNUM = string.ascii_letters + string.digits
HEX = "0123456789abcdef"


def made(length, letters=ALNUM):
    """A value that looks like a secret and is none; the last ones make it surely mixed."""
    tail = "9aZ" if letters == ALNUM else letters[:1]
    return "".join(CHANCE.choices(letters, k=length - len(tail))) + tail


def b64(text):
    return base64.b64encode(text.encode()).decode()


def jwt():
    parts = ({"alg": "HS256", "typ": "JWT"}, {"sub": "1234567890", "name": "Jo"})
    head, body = (
        base64.urlsafe_b64encode(json.dumps(p).encode()).decode().rstrip("=") for p in parts
    )
    return f"{head}.{body}.{made(43)}"


def pem(kind="RSA "):
    body = "\n".join(made(64) for _ in range(5))
    dashes = "-" * 5
    return f"{dashes}BEGIN {kind}PRIVATE KEY{dashes}\n{body}\n{dashes}END {kind}PRIVATE KEY{dashes}"


AWS = made(20) + "/" + made(18) + "+"
TOKENS = {
    "openai": "sk-" + made(48),
    "openai project": "sk-" + "proj-" + made(40) + "_" + made(40) + "-" + made(20),
    "openai service": "sk-" + "svcacct-" + made(60),
    "anthropic": "sk-" + "ant-api03-" + made(60) + "-" + made(32) + "AA",
    "openrouter": "sk-" + "or-v1-" + made(64, HEX),
    "hugging face": "hf" + "_" + made(34),
    "github classic": "ghp" + "_" + made(36),
    "github oauth": "gho" + "_" + made(36),
    "github app": "ghs" + "_" + made(36),
    "github refresh": "ghr" + "_" + made(70),
    "github fine grained": "github" + "_pat_" + made(22) + "_" + made(59),
    "gitlab": "glpat" + "-" + made(20),
    "gitlab runner": "glrt" + "-" + made(20),
    "aws key id": "AKIA" + made(16, string.ascii_uppercase + "234567"),
    "aws temporary": "ASIA" + made(16, string.ascii_uppercase + "234567"),
    "aws secret alone": AWS,
    "google api": "AIza" + made(35),
    "google oauth": "ya29" + ".a0" + made(60),
    "google client": "GOCSPX" + "-" + made(28),
    "slack bot": "xoxb" + "-" + made(12, "0123456789") + "-" + made(24),
    "slack app": "xapp" + "-1-" + made(11, string.ascii_uppercase) + "-" + made(13, "0123456789"),
    "stripe": "sk" + "_live_" + made(24),
    "stripe test": "sk" + "_test_" + made(24),
    "stripe restricted": "rk" + "_live_" + made(24),
    "stripe webhook": "whsec" + "_" + made(32),
    "replicate": "r8" + "_" + made(37),
    "runpod": "rpa" + "_" + made(40),
    "groq": "gsk" + "_" + made(52),
    "xai": "xai" + "-" + made(80),
    "perplexity": "pplx" + "-" + made(48),
    "nvidia": "nvapi" + "-" + made(64),
    "npm": "npm" + "_" + made(36),
    "pypi": "pypi" + "-AgEIcHlwaS5vcmc" + made(60),
    "sendgrid": "SG" + "." + made(22) + "." + made(43),
    "twilio": "SK" + made(32, HEX),
    "mailgun": "key" + "-" + made(32, HEX),
    "digitalocean": "dop" + "_v1_" + made(64, HEX),
    "databricks": "dapi" + made(32, HEX),
    "shopify": "shpat" + "_" + made(32, HEX),
    "vault": "hvs" + "." + made(90),
    "grafana": "glsa" + "_" + made(32) + "_" + made(8, HEX),
    "doppler": "dp" + ".pt." + made(43),
    "tailscale": "tskey" + "-auth-" + made(16) + "-" + made(32),
    "age": "AGE-SECRET" + "-KEY-1" + made(58, string.ascii_uppercase + "23456789"),
    "telegram": made(10, "123456789") + ":AA" + made(33),
    "discord": "M" + made(25) + "." + made(6) + "." + made(38),
    "jwt": jwt(),
    "jwe": "eyJ" + made(30) + "." + made(40) + "." + made(16) + "." + made(80) + "." + made(22),
    "random base64": made(43),
    "random base64url": made(20) + "-" + made(20) + "_" + made(20),
}


@pytest.mark.parametrize("token", TOKENS.values(), ids=TOKENS)
@pytest.mark.parametrize(
    "around",
    [
        "{}",
        "refused: {} is not valid",
        "key={}&x=1",
        '{{"v": "{}"}}',
        "['{}']",
        "a\n{}\nb",
        "({}).",
    ],
)
def test_a_token_of_a_known_shape_goes_wherever_it_stands(token, around):
    done = scrub(around.format(token))
    assert token not in done
    assert REDACTED in done
    assert all(part not in done for part in (token[8:24], token[-12:]))


SECRET = "corr3ct-h0rse"
NAMED = {
    "bearer": f"Authorization: Bearer {SECRET}",
    "bearer in a dict": f"{{'Authorization': 'Bearer {SECRET}', 'Accept': '*/*'}}",
    "bearer alone": f"sent Bearer {SECRET}00 to it",
    "basic": f"Authorization: Basic {b64('jo:' + SECRET)}",
    "basic alone": f"with Basic {b64('jo:' + SECRET)} it failed",
    "header pair": f"(b'authorization', b'Bearer {SECRET}')",
    "header list": f"[('X-Api-Key', '{SECRET}')]",
    "curl": f"curl -H 'X-API-Key: {SECRET}' https://x.test",
    "curl user": f"curl -u jo:{SECRET} https://x.test",
    "digest": f'Authorization: Digest username="jo", response="{SECRET}"',
    "proxy": f"Proxy-Authorization: Basic {b64('a:' + SECRET)}",
    "cookie": f"Cookie: theme=dark; sid={SECRET}; x=1",
    "set-cookie": f"Set-Cookie: session={SECRET}; Path=/; HttpOnly",
    "cookie in a dict": f'{{"cookie": "sid={SECRET}"}}',
    "url": f"https://jo:{SECRET}@host.test/path",
    "url without user": f"redis://:{SECRET}@cache:6379/0",
    "url with an at": f"amqp://jo:{SECRET}@x@host/",
    "dsn": f"postgresql+psycopg://jo:{SECRET}@db:5432/x?sslmode=require",
    "mongo": f"mongodb+srv://jo:{SECRET}@cluster0.mongodb.net",
    "sentry": f"https://{made(16, HEX)}:{SECRET}@o1.ingest.sentry.io/2",
    "libpq": f"host=db user=jo password={SECRET} dbname=x",
    "odbc": f"Driver=x;Server=y;Uid=jo;Pwd={SECRET};",
    "azure storage": f"DefaultEndpointsProtocol=https;AccountName=a;AccountKey={SECRET}==;Suffix=x",
    "azure sas": f"https://a.blob.core.windows.net/c?sv=2022-11-02&se=2030&sig={SECRET}%3D",
    "service bus": f"Endpoint=sb://x/;SharedAccessKeyName=Root;SharedAccessKey={SECRET}=",
    "query token": f"GET /view?filename=a.png&token={SECRET}&type=output",
    "query key": f"https://maps.test/api?key={SECRET}",
    "query password": f"/login?user=jo&password={SECRET}",
    "query amazon": f"https://b.s3.test/k?X-Amz-Signature={SECRET}&X-Amz-Expires=60",
    "query credential": f"?X-Amz-Credential={SECRET}%2F20260101",
    "query google": f"?X-Goog-Signature={SECRET}",
    "query secret": f"?client_secret={SECRET}&grant_type=x",
    "query civitai": f"https://civitai.com/api/download/models/1?type=Model&token={SECRET}",
    "form": f"grant_type=password&username=jo&password={SECRET}",
    "env": f"HF_TOKEN={SECRET} python main.py",
    "env export": f'export AWS_SECRET_ACCESS_KEY="{SECRET}"',
    "env dotted": f"spring.datasource.password={SECRET}",
    "yaml": f"db:\n  password: {SECRET}\n",
    "yaml plain word": "db:\n  password: swordfish\n  user: jo",
    "json": f'{{"user": "jo", "password": "{SECRET}"}}',
    "json camel": f'{{"apiKey": "{SECRET}"}}',
    "json spaced": f'{{ "client_secret" : "{SECRET}" }}',
    "json in json": f'{{"body": "{{\\"password\\": \\"{SECRET}\\"}}"}}',
    "repr": f"Config(user='jo', api_key='{SECRET}', retries=3)",
    "repr escaped": f"Config(password='it\\'s {SECRET}')",
    "bytes": f"{{b'token': b'{SECRET}'}}",
    "call": f"connect(password={SECRET})",
    "option": f"app --password {SECRET} --verbose",
    "option equals": f"app --api-key={SECRET}",
    "option token": f"huggingface-cli login --token {SECRET}",
    "assignment": f"self.password = '{SECRET}'",
    "subscript": f"os.environ['API_KEY'] = '{SECRET}'",
    "auth pair": f"requests.get(url, auth=('jo', '{SECRET}'))",
    "private key": "loaded " + pem() + " from disk",
    "openssh key": pem("OPENSSH "),
    "key in json": json.dumps({"private_key": pem("")}),
    "cut off key": pem()[:200],
    "slack hook": "https://hooks.slack.com/" + "services/T0000/B0000/" + made(24),
    "discord hook": "https://discord.com/api/" + "webhooks/123456789012345678/" + made(68),
    "telegram url": "https://api.telegram.org/bot" + made(9, "123456789") + ":AA" + made(33) + "/x",
    "url token as user": "https://" + made(40) + "@github.com/a/b.git",
    "url encoded": f"body: password%3D{SECRET}",
    "csrf": f"csrftoken={SECRET}",
    "npmrc": f"//registry.npmjs.org/:_authToken={SECRET}",
    "capital": f"PASSWORD={SECRET}",
    "number": "password=12345678",
    "unicode": "пароль ok, password=пар0ль",  # noqa: RUF001
    "long s": "İİ password=" + SECRET,
}


@pytest.mark.parametrize("text", NAMED.values(), ids=NAMED)
def test_what_a_name_or_a_place_gives_away_goes(text):
    done = scrub(text)
    assert REDACTED in done
    for secret in (SECRET, b64("jo:" + SECRET), b64("a:" + SECRET), "swordfish", "12345678\n"):
        assert secret not in done
    assert "пар0ль" not in done  # noqa: RUF001
    assert not [word for word in re.split(r"[\s/&;=?,]+", done) if len(word) > 40]


STAYS = [
    "",
    "CUDA out of memory. Tried to allocate 2.00 GiB (GPU 0; 8.00 GiB total capacity)",
    "prompt 5f2b7c1e-8a3d-4b6f-9c0e-1d2f3a4b5c6d was not found",
    "HEAD is now at 516a43321af7c33d9c1b6f1e2d3c4b5a69788796 A rejection asks less",
    "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "model hash 6ce0161689b3853acaa03779ec93eafe75a02f4ced659bee03f50797806fa2fa",
    "trace 4bf92f3577b34da6a3ce929d0e0e4736 span 00f067aa0ba902b7",
    "models/checkpoints/sd_xl_base_1.0_0.9vae.safetensors",
    "flux1-dev-fp8-e4m3fn.safetensors not in ['v1-5-pruned-emaonly-fp16.safetensors']",
    "C:\\Users\\Jo\\AppData\\Local\\Programs\\Python\\Python311\\Lib\\site-packages\\torch\\nn.py",
    "/usr/lib/python3.11/site-packages/transformers/models/CLIPTextModelWithProjection/init.py",
    'File "/home/jo/ComfyUI/execution.py", line 327, in execute',
    "DPMSolverMultistepSchedulerOutputWithPast2 has no attribute set_timesteps",
    "CLIPTextEncodeSDXLRefiner, KSamplerAdvancedEfficientNodeV2WithPreviews",
    "test_a_breaker_that_is_open_lets_one_probe_through_and_not_20",
    "max_tokens=512, prompt_tokens: 77, token_count=3, tokenizer=CLIP-ViT-L/14",
    "Token indices sequence length is longer than the maximum (96 > 77)",
    "SyntaxError: Unexpected token < in JSON at position 0",
    "Unexpected token: identifier expected",
    "KeyError: 'positive'",
    "Missing key(s) in state_dict: 'model.diffusion_model.input_blocks.0.0.weight'",
    "key: value, keyboard: us, monkey=3, primary_key=id, foreign key: order",
    "password: must be at least eight characters",
    "Password incorrect for user jo",
    "api_key: str | None = None",
    "password=None, token=null, api_key=''",
    "the secretary and the author agree: authority matters",
    "Author: Jo <jo@example.test>",
    "Basic authentication failed; Bearer authentication is required",
    "http://gpu1:8188/view?filename=a_00001_.png&subfolder=&type=output",
    "ws://127.0.0.1:8188/ws?clientId=5f2b7c1e8a3d4b6f9c0e1d2f3a4b5c6d",
    "ssh://git@github.com/a/b.git and git@github.com:a/b.git",
    "user@example.test wrote to admin@example.test:25",
    "2026-11-28T16:13:00.123456+00:00 [ERROR] step 3/20",
    "<torch._C.Generator object at 0x7f3b2c1d4e50>",
    "size mismatch for proj_in.weight: copying a param with shape torch.Size([1280, 1280])",
    "Пароль не нужен. 页面文件太小，无法完成操作。 (os error 1455)",  # noqa: RUF001
    "[redacted]",
    "password=[redacted]&x=1",
    "password=*****",
    "pass: 3, fail: 2, bypass=true",
    "session 12 of 40; cookies are enabled",
    "signature: (x, y) -> z",
    "task-scheduler-with-a-very-long-name-of-many-words",
    "sk-learn-contrib-preprocessing-extras",
    "A" * 300,
    "=" * 80,
    "-" * 80 + "\n" + "_" * 80,
    "0123456789" * 10,
    "def f(password: str, token: bytes) -> None:",
]


@pytest.mark.parametrize("text", STAYS)
def test_ordinary_text_stays_as_it_is(text):
    assert scrub(text) == text


def test_what_stands_around_a_secret_stays():
    text = f"POST /prompt?token={SECRET}&client=7 failed: 401, user=jo, password='{SECRET}', try 2"
    assert scrub(text) == (
        f"POST /prompt?token={REDACTED}&client=7 failed: 401, user=jo, password='{REDACTED}', try 2"
    )


@pytest.mark.parametrize(
    ("text", "done"),
    [
        (f"amqp://jo:{SECRET}@host:5672/v", f"amqp://{REDACTED}@host:5672/v"),
        (f'{{"password": "{SECRET}", "n": 1}}', f'{{"password": "{REDACTED}", "n": 1}}'),
        (f"Cookie: a={SECRET}\r\nHost: x", f"Cookie: {REDACTED}\r\nHost: x"),
        (f"-H 'Cookie: a={SECRET}' -v", f"-H 'Cookie: {REDACTED}' -v"),
        (f"f(token={SECRET}), g", f"f(token={REDACTED}), g"),
    ],
)
def test_only_the_secret_goes(text, done):
    assert scrub(text) == done


PIECES = st.sampled_from(
    [
        *TOKENS.values(),
        *NAMED.values(),
        *STAYS,
        REDACTED,
        "password=",
        "token: ",
        '"',
        "'",
        "\\",
        "://",
        "@",
        ":",
        "=",
        "?key=",
        "&",
        "\n",
        " ",
        ",",
        "(",
        ")",
        "[",
        "]",
        "Bearer ",
        "Cookie: ",
        "sk-",
        "eyJ",
        "--token ",
        "Authorization",
        "-----BEGIN PRIVATE KEY-----",
        "authorization: ",
    ]
)
TEXTS = st.one_of(
    st.text(), st.lists(st.one_of(PIECES, st.text(max_size=9)), max_size=12).map("".join)
)


@given(TEXTS)
@settings(max_examples=600, deadline=None)
def test_twice_is_once(text):
    once = scrub(text)
    assert scrub(once) == once


@given(st.lists(st.text(max_size=30), max_size=4), st.sampled_from(list(TOKENS.values())))
@settings(max_examples=200, deadline=None)
def test_no_surroundings_save_a_token(around, token):
    assert token not in scrub(f" {token} ".join(["", *around, ""]))


@pytest.mark.parametrize(
    "bait",
    [
        *("password=", "password='", "token: ", "sk-", "eyJ", "a:b@://", "SG.", "key ", "?key=&"),
        *("authorization: bearer ", "cookie: = ", "\\", "Basic QQ ", "1:AA", "M.", "--password "),
        *("-----BEGIN PRIVATE KEY-----", "İpassword=x ", "Ab1", " -u a:", "[redacted]", "auth=("),
        *(
            "hooks.slack.com/",
            "/api/webhooks/1/",
            "ghp_",
            "a@b:",
            '"token":"',
            "bearer a",
            "x" * 40,
        ),
    ],
)
def test_time_grows_with_the_length_and_no_faster(bait):
    def took(length):
        text = bait * (length // len(bait))
        best = 1e9
        for _ in range(3):
            began = time.perf_counter()
            scrub(text)
            best = min(best, time.perf_counter() - began)
        return best

    # A search that starts again at every step would take 64 times as long for 8 times the text.
    assert took(160_000) < 24 * took(20_000) + 0.05


def test_ten_megabytes_are_no_trouble():
    text = f"at {made(6)} password={SECRET} in /usr/lib/python3.11/x.py, line 3\n" * 160_000
    began = time.perf_counter()
    done = scrub(text)
    assert time.perf_counter() - began < 30
    assert SECRET not in done


def test_the_value_of_a_telling_name_goes_whatever_its_shape():
    data = {
        "password": 12345,
        "api_key": {"nested": "x"},
        "Authorization": ["Bearer", "x"],
        "HF_TOKEN": b"raw",
        "clientSecret": True,
        "cookie": "a=b",
        "token": None,
        "sig": "x",
    }
    assert scrub_data(data) == {**dict.fromkeys(data, REDACTED), "token": None}


def test_data_keeps_its_shape_and_loses_its_secrets():
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    token = TOKENS["github classic"]
    data = {
        "prompt_id": "5f2b7c1e-8a3d-4b6f-9c0e-1d2f3a4b5c6d",
        "steps": 20,
        "cfg": 7.5,
        "list": [f"Bearer {SECRET}1", ("a", {"url": f"http://a:{SECRET}@b"})],
        "when": moment,
        "bytes": f"password={SECRET}".encode(),
        token: "in the name",
        3: {SECRET},
    }
    assert scrub_data(data) == {
        "prompt_id": "5f2b7c1e-8a3d-4b6f-9c0e-1d2f3a4b5c6d",
        "steps": 20,
        "cfg": 7.5,
        "list": [f"Bearer {REDACTED}", ("a", {"url": f"http://{REDACTED}@b"})],
        "when": repr(moment),
        "bytes": f"password={REDACTED}",
        REDACTED: "in the name",
        3: [SECRET],
    }


class Hostile:
    def __repr__(self):
        raise RuntimeError("no")


class Talkative:
    def __repr__(self):
        return f"Talkative(password={SECRET!r})"


def test_objects_are_told_in_scrubbed_words():
    assert scrub_data([Hostile(), Talkative()]) == [
        "<Hostile>",
        f"Talkative(password={REDACTED!r})",
    ]


def test_data_without_an_end_ends():
    endless = []
    endless += [endless] * 5
    told = json.dumps(scrub_data(endless))
    assert "[more]" in told
    assert len(told) < MOST_ITEMS * 20
    deep = here = {}
    for _ in range(MOST_DEPTH + 5):
        here["in"] = here = {}
    assert "[too deep]" in json.dumps(scrub_data(deep))
    assert scrub_data({n: n for n in range(MOST_ITEMS + 9)})["[more]"] == 10


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "DB_PASSWORD",
        "userPassword",
        "X-Api-Key",
        "openai_api_key",
        "token",
        "GH_TOKEN",
        "accessToken",
        "refresh-token",
        "client_secret",
        "Set-Cookie",
        "auth",
        "jwt",
        "credentials",
        "aws_secret_access_key",
        "privateKey",
        "passphrase",
        "proxy-authorization",
        "csrfToken",
    ],
)
def test_names_of_secrets_are_known(name):
    assert is_sensitive(name)


@pytest.mark.parametrize(
    "name",
    [
        "tokens",
        "max_tokens",
        "token_count",
        "tokenizer",
        "key",
        "primary_key",
        "author",
        "passes",
        "secretary",
        "password_length",
        "cookie_jar",
        "authority",
        "compass",
        "monkey",
        "",
        "42",
        "aws_access_key_id",
        "session",
        "signature",
        "prompt",
        "node_id",
        "keyframes",
    ],
)
def test_other_names_are_none(name):
    assert not is_sensitive(name)
