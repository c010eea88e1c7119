"""Reads messages as Python's standard library does. One JSON line in, one out; see oracle.ts."""

import ast
import base64
import email.message
import html
import http.server
import io
import json
import os
import posixpath
import re
import struct
import sys
import tomllib
import urllib.parse

try:
    import yaml
except ImportError:
    yaml = None

OPERATIONS = set(json.loads(os.environ["FUZZ_OPERATIONS"]))


def encode(value):
    if value is None:
        return "n"
    if value is True:
        return "t"
    if value is False:
        return "f"
    if isinstance(value, (int, float)):
        return "d" + struct.pack(">d", float(value) + 0.0).hex()
    if isinstance(value, str):
        return "s" + value.encode("utf-8", "surrogatepass").hex()
    if isinstance(value, list):
        return "[" + ",".join(encode(one) for one in value) + "]"
    members = sorted(encode(name) + ":" + encode(one) for name, one in value.items())
    return "{" + ",".join(members) + "}"


def call_of(value):
    if isinstance(value, list):
        return next((found for found in map(call_of, value) if found), None)
    if not isinstance(value, dict) or value.get("method") not in OPERATIONS:
        return None
    params = value.get("params")
    named = params if isinstance(params, dict) else {}
    return "%s|%s" % (value["method"], named.get("name", named.get("uri", "")))


def attempts(body):
    """Every value that some program could make of the bytes with the means of the library."""
    texts = [body]
    for charset in ("utf-8-sig", "utf-16"):
        try:
            texts.append(body.decode(charset))
        except UnicodeError:
            pass
    for text in texts:
        yield lambda: json.loads(text)
        if isinstance(text, bytes):
            continue
        start = text.find("{")
        yield lambda: json.JSONDecoder(strict=False).raw_decode(text[max(start, 0) :])[0]
        yield lambda: ast.literal_eval(text.strip())
        for line in text.splitlines():
            yield lambda: json.loads(line)
        for part in (text, html.unescape(text), urllib.parse.unquote(text)):
            yield lambda: ast.literal_eval(part.strip())
            yield lambda: json.JSONDecoder(strict=False).raw_decode(part[max(part.find("{"), 0) :])[0]
            yield lambda: tomllib.loads(part)
            if yaml:
                yield lambda: list(yaml.safe_load_all(part))
        pairs = urllib.parse.parse_qsl(text, keep_blank_values=True)
        yield lambda: dict(pairs)
        for pair in pairs:
            for part in pair:
                yield lambda: json.loads(part)


def read_call(body, _):
    for attempt in attempts(body):
        try:
            found = call_of(attempt())
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError, AttributeError):
            continue
        except Exception as fault:
            if not yaml or not isinstance(fault, yaml.YAMLError):
                raise
            continue
        if found:
            return found
    return None


def read_json(body, _):
    return encode(json.loads(body))


def read_form(body, _):
    pairs = urllib.parse.parse_qsl(body.decode(), keep_blank_values=True, errors="strict")
    return encode([list(pair) for pair in pairs])


def read_path(body, _):
    path = urllib.parse.unquote(urllib.parse.urlsplit(body.decode()).path, errors="strict")
    return posixpath.normpath(path)


def media_of(field):
    message = email.message.Message()
    message["content-type"] = field
    return message


def read_media(body, _):
    media = media_of(body.decode("latin-1"))
    return "%s;%s" % (media.get_content_type(), media.get_content_charset() or "")


def read_text(body, field):
    charset = media_of(field).get_content_charset() or "utf-8"
    return body.decode("utf-8-sig" if charset in ("utf-8", "utf8") else charset)


class Handler(http.server.BaseHTTPRequestHandler):
    def __init__(self, head):
        self.rfile = io.BytesIO(head)
        self.wfile = io.BytesIO()
        self.client_address = ("127.0.0.1", 0)
        self.requestline = ""
        self.close_connection = True

    def log_message(self, *_):
        pass


def read_head(body, _):
    handler = Handler(body)
    handler.raw_requestline = handler.rfile.readline(65537)
    if not handler.parse_request():
        raise ValueError("refused")
    fields = [[name.lower(), value.strip(" \t")] for name, value in handler.headers.items()]
    return json.dumps([handler.command, handler.path, sorted(fields)])


def events_of(lines):
    events, fields, data = [], {}, []
    for line in lines:
        if line == "":
            if fields or data:
                last = [[name, fields[name]] for name in ("event", "id", "retry") if name in fields]
                events.append(last + ([["data", "\n".join(data)]] if data else []))
            fields, data = {}, []
            continue
        name, _, value = line.partition(":")
        value = value[1:] if value.startswith(" ") else value
        if name == "data":
            data.append(value)
        elif name in ("event", "id", "retry"):
            fields[name] = value
    return encode(events)


def read_events(body, _):
    """By the standard, and as readers do that split lines as Python does."""
    text = body.decode()
    strict = events_of(re.split(r"\r\n|\r|\n", text))
    lax = events_of(text.splitlines())
    return strict if strict == lax else strict + " or " + lax


READERS = {
    "events": read_events,
    "json": read_json,
    "call": read_call,
    "form": read_form,
    "path": read_path,
    "media": read_media,
    "text": read_text,
    "head": read_head,
}

for line in sys.stdin:
    asked = json.loads(line)
    try:
        reading = READERS[asked["kind"]](base64.b64decode(asked["body"]), asked["type"])
    except (ValueError, LookupError, OverflowError, RecursionError, TypeError):
        reading = None
    sys.stdout.write(json.dumps({"reading": reading}) + "\n")
    sys.stdout.flush()
