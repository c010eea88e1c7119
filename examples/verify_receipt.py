"""Verifies a receipt offline, by the trust file that its reader has pinned:

    python3 verify_receipt.py RECEIPT TRUST

Needs Python 3.9 and the package `cryptography`. It does steps 1 to 8 of docs/protocol.md,
"Receipts": which entries a log of the fabric holds, which facts they state, and that the agents of
connectors signed those that name them as producers. The signatures of caller and receiver (steps 9
to 12) are among these facts, and are not verified here.
"""
import json
import re
import sys
from base64 import b64decode, b64encode, urlsafe_b64encode
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def check(holds, what):
    if not holds:
        raise ValueError(what)


def raw(text):
    data = b64decode(text, validate=True)
    check(b64encode(data).decode() == text, "base64 in another form")
    return data


def canonical(value):  # RFC 8785, for integers, text, and names in ASCII
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def head(major, n):  # RFC 8949, section 4.2.1: the shortest form
    size = next(size for size in (0, 1, 2, 4, 8) if n < (256**size if size else 24))
    info = 23 + size.bit_length() if size else n
    return bytes([major << 5 | info]) + (n.to_bytes(size, "big") if size else b"")


def encode(value):  # The deterministic CBOR of leaves and facts
    if isinstance(value, bool):
        return b"\xf5" if value else b"\xf4"
    if isinstance(value, int):
        return head(0, value) if value >= 0 else head(1, -1 - value)
    if isinstance(value, (bytes, str)):
        data = value.encode() if isinstance(value, str) else value
        return head(3 if isinstance(value, str) else 2, len(data)) + data
    if isinstance(value, dict):
        pairs = sorted((encode(name), encode(item)) for name, item in value.items())
        return head(5, len(pairs)) + b"".join(name + item for name, item in pairs)
    return head(4, len(value)) + b"".join(map(encode, value))


def decode(data, at=0):  # Gives the item at `at` and its end, in whatever form
    major, n, at = data[at] >> 5, data[at] & 31, at + 1
    if n > 23:
        at, n = at + (1 << n - 24), int.from_bytes(data[at : at + (1 << n - 24)], "big")
    if major == 0:
        return n, at
    check(major in (2, 3, 4, 5) and n <= len(data), "CBOR of another kind")
    if major < 4:
        part = data[at : at + n]
        return (part if major == 2 else part.decode()), at + n
    items = []
    for _ in range(n if major == 4 else 2 * n):
        item, at = decode(data, at)
        items.append(item)
    return (items if major == 4 else dict(zip(items[::2], items[1::2]))), at


def root_of(node, index, last, path):  # RFC 9162, section 2.1.3.2
    for sibling in path:
        check(last > 0, "a path that is too long")
        is_right = index & 1 or index == last
        node = sha256(b"\x01" + (sibling + node if is_right else node + sibling)).digest()
        while is_right and index and not index & 1:
            index, last = index >> 1, last >> 1
        index, last = index >> 1, last >> 1
    check(last == 0, "a path that is too short")
    return node


def verify_stated(stated, leaf_hash, producer, origin):  # RFC 9052: COSE_Sign1
    check(stated.keys() == {"index", "key", "path", "statement"}, "a statement with other members")
    data, key = raw(stated["statement"]), raw(stated["key"])
    check(data[:1] == b"\xd2", "a statement without the tag of COSE_Sign1")
    parts = decode(data, 1)[0]
    check(b"\xd2" + encode(parts) == data, "a statement in another encoding")
    protected, unprotected, payload, signature = parts
    jwk = b'{"crv":"Ed25519","kty":"OKP","x":"%s"}' % urlsafe_b64encode(key).rstrip(b"=")
    key_id = urlsafe_b64encode(sha256(jwk).digest()).rstrip(b"=")  # RFC 7638
    kind = "application/vnd.countersign.batch+cbor"
    check(protected == encode({1: -8, 3: kind, 4: key_id}), "a statement by another key")
    batch = decode(payload)[0]
    check(unprotected == {} and encode(batch) == payload, "a statement in another encoding")
    version, log, by, chain, n, prev, size, root, at = batch
    check([version, log, by] == [2, origin, producer], "a statement of another log or producer")
    check(len(chain) == 16 and len(prev) == 32 and n >= 0 and at >= 0, "a malformed statement")
    index, path = stated["index"], [raw(sibling) for sibling in stated["path"]]
    check(type(index) is int and 0 <= index < size <= 256, "a place beyond the batch")
    check(root_of(leaf_hash, index, size - 1, path) == root, "an entry that is not in the batch")
    signed = encode(["Signature1", protected, b"", payload])
    Ed25519PublicKey.from_public_bytes(key).verify(signature, signed)
    return key_id.decode()


def verify_entry(entry, exchange, slot):
    check(entry.keys() - {"stated"} == {"leaf", "proof", "facts"}, "an entry with other members")
    data = raw(entry["leaf"])
    leaf = decode(data)[0]
    check(encode(leaf) == data, "a leaf in another encoding")
    version, leaf_exchange, kind, at, commitments = leaf
    check(version == 2 and leaf_exchange == exchange, "a leaf of another exchange")
    check(type(at) is int and 0 <= at < 2**53, "a time that is not in milliseconds")
    facts = {}
    for name, opened in entry["facts"].items():
        check(opened.keys() == {"salt", "value"}, "a fact with other members")
        salt, value = raw(opened["salt"]), opened["value"]
        if isinstance(value, dict):
            check(value.keys() == {"bytes"}, "a value with other members")
            value = raw(value["bytes"])
        facts[name] = value
        commitment = sha256(b"\x02" + salt + encode([name, value])).digest()
        check(len(salt) == 16 and commitments[name] == commitment, f"another value of {name}")

    proof, _, note = entry["proof"].partition("\n\n")
    header, place, *path = proof.split("\n")
    index = int(place[6:])
    check([header, place] == ["c2sp.org/tlog-proof@v1", f"index {index}"], "another proof")
    text, _, lines = note.partition("\n\n")
    check(lines.endswith("\n") and lines.count("\n") <= 16, "too many signature lines")
    line, *others = lines[:-1].split("\n")  # Others are of witnesses, whose keys nobody pinned
    origin, size, root = text.split("\n")
    check(origin == slot["origin"] and size == str(int(size)), "a checkpoint of another log")
    check(0 <= index < int(size), "an index beyond the checkpoint")
    leaf_hash = sha256(b"\x00" + data).digest()
    check(("producer" in commitments) == ("stated" in entry), "an entry that nobody stated")
    stated_by = None
    if "stated" in entry:
        stated_by = verify_stated(entry["stated"], leaf_hash, facts["producer"], origin)
    found = root_of(leaf_hash, index, int(size) - 1, [raw(sibling) for sibling in path])
    check(found == raw(root), "an entry that is not in the log")
    name, key_id, key = slot["vkey"].split("+", 2)  # C2SP signed-note, type 1: Ed25519
    check(line.startswith(f"— {name} "), "no signature by the log")
    check(all(re.match("— [^ +]+ [A-Za-z0-9+/=]+$", other) for other in others), "an odd line")
    check(not any(other.startswith(f"— {name} ") for other in others), "two lines of the log")
    signed = raw(line[len(f"— {name} ") :])
    check(signed[:4].hex() == key_id and raw(key)[0] == 1, "a signature by another key")
    Ed25519PublicKey.from_public_bytes(raw(key)[1:]).verify(signed[4:], f"{text}\n".encode())
    withheld = sorted(commitments.keys() - facts.keys())
    shown = {"kind": kind, "at": at, "index": index, "facts": facts, "withheld": withheld}
    return {**shown, "key": stated_by}, note


def verify(data, trust):
    receipt = json.loads(data)
    check(receipt["v"] == 2, f"it has version {receipt['v']}, and this verifies version 2")
    check(receipt.keys() == {"entries", "exchange", "level", "origin", "v"}, "other members")
    check(receipt["level"] in ("synced", "published"), "another level")
    check(type(receipt["v"]) is int and canonical(receipt) == data, "not in canonical form")
    slot = next(slot for slot in trust["slots"] if slot["origin"] == receipt["origin"])
    domain, exchange = trust["trustDomain"], receipt["exchange"]
    check(slot["origin"] == f"{domain}/ledger/{slot['slot']}", "a log of another fabric")
    check(exchange.startswith(f"exc_{slot['slot']}_"), "an exchange of another slot")
    certified = {name: slot[name] for name in ("slot", "origin", "vkey")}
    certificate = b"countersign-log-slot-v2\n" + canonical({**certified, "trustDomain": domain})
    slot_key = Ed25519PublicKey.from_public_bytes(raw(trust["slotKey"]))
    slot_key.verify(raw(slot["signature"]), certificate)
    entries, notes = zip(*(verify_entry(entry, exchange, slot) for entry in receipt["entries"]))
    kinds = [entry["kind"] for entry in entries]
    if kinds != ["refusal"]:
        check(len(kinds) == 2 and kinds[0] == "intent", "not one closed exchange")
        check(kinds[1] in ("outcome", "refusal", "indeterminate"), "not one closed exchange")
        check(entries[0]["index"] < entries[1]["index"], "an end before its intent")
        check(notes[0] == notes[1], "two checkpoints")
    return exchange, receipt["level"], entries


if __name__ == "__main__":
    try:
        receipt_file, trust_file = sys.argv[1:]
        with open(receipt_file, "rb") as receipt, open(trust_file, "rb") as trust:
            exchange, level, entries = verify(receipt.read(), json.load(trust))
    except Exception as error:  # Fails closed: whatever goes wrong, nothing is verified
        sys.exit(f"not verified: {str(error) or type(error).__name__}")
    print(f"verified {exchange!r}; its checkpoint is {level}, as the receipt states without proof")
    for entry in entries:
        print(f"entry {entry['index']}: {entry['kind']} at {entry['at']}")
        if entry["key"] is not None:
            print(f"  stated by {entry['facts']['producer']!r} with the key {entry['key']}")
        for name, value in entry["facts"].items():
            print(f"  {name!r}: {value!r}")
        print(f"  withheld: {entry['withheld']!r}")
