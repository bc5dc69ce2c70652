"""The app of examples/app against an appliance: what it accepts, and everything that it has to refuse.

usage: envelope_client.py URL MODEL            platform `none`, which the app of this test puts up with; token in APP_TOKEN
       envelope_client.py URL MODEL AK VALUES  a machine with a TPM whose key is AK; VALUES of `lethe-image measure tpm2 --json`
       envelope_client.py --captured DIRECTORY reports and quotes of real hardware (LETHE_CORPUS/evidence)
"""

import base64
import copy
import hashlib
import itertools
import json
import os
import pathlib
import struct
import subprocess
import sys
import tempfile
import time
import warnings
from unittest import mock

EXAMPLE = pathlib.Path(__file__).resolve().parents[2] / "examples" / "app"
sys.path.insert(0, str(EXAMPLE))

from cryptography import x509
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.utils import CryptographyDeprecationWarning

import evidence
from client import App, Opening, b64u, unb64u
from evidence import Refused, check

# What does not even parse is refused with the parser's own error: nothing is sent then either.
REFUSALS = (Refused, InvalidSignature, InvalidTag, ValueError, struct.error)


def refused(what: str, attempt) -> None:
    try:
        attempt()
    except REFUSALS:
        return
    raise AssertionError(f"accepted: {what}")


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1:]


def spoken(pieces: bytes) -> str:
    lines = [line[6:] for line in pieces.decode().splitlines() if line.startswith("data: ")]
    assert lines[-1] == "[DONE]", lines[-1]
    choices = [choice for line in lines[:-1] for choice in json.loads(line)["choices"]]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


def talk(app: App, model: str) -> None:
    """Answers, and what must not pass for one."""
    request = {"model": model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 8, "temperature": 0,
               "stream": True}
    pieces = list(app.chat(request))
    assert pieces  # what is ready at once travels at once: how many there are depends on the machine
    text = spoken(b"".join(pieces))
    assert text and text == spoken(b"".join(app.chat(request))), "greedy answers differ"

    recover(app, request)

    # an error of the request comes back sealed
    assert json.loads(b"".join(app.chat(request | {"temperature": 99})).removeprefix(b"data: "))["error"]["param"] == "temperature"

    # one message counts once
    body = json.dumps(request).encode()
    envelope, _ = app.seal(body)
    assert app.post(envelope).status == 200
    assert app.post(envelope).status == 400, "a message counted twice"

    # a changed byte, another name, a late date: none is answered
    envelope, _ = app.seal(body)
    sealed = unb64u(envelope["ciphertext"])
    for at in (0, len(sealed) // 2, len(sealed) - 1):
        assert app.post(envelope | {"ciphertext": b64u(flipped(sealed, at))}).status == 400
    assert app.post(envelope | {"rid": b64u(os.urandom(16))}).status in (400, 401)
    assert app.post(envelope | {"kid": "env-0000000000000000"}).status in (400, 401)
    if app.device:
        stranger = dict(envelope["device"], signature=b64u(bytes(64)))
        assert app.post(envelope | {"device": stranger}).status == 401
        assert app.post({name: value for name, value in envelope.items() if name != "device"}).status == 401
    else:
        honest, app.token = app.token, "wrong"
        assert app.post(envelope).status == 401
        app.token = honest
    assert app.post(envelope).status == 200, "what was refused left something behind"

    # on its way back: each event changed, left out, repeated
    envelope, opening = app.seal(body)
    lines = [line for line in app.post(envelope) if line.startswith(b"data: ")]
    def read(lines):
        fresh = Opening(opening.rid, opening.key, opening.nonce.to_bytes(12, "big"))
        return b"".join(fresh.pieces(lines)), fresh.receipt
    answer, receipt = read(lines)
    def changed(line):
        event = json.loads(line[6:])
        return b"data: " + json.dumps(event | {"ciphertext": b64u(flipped(unb64u(event["ciphertext"]), 3))}).encode()
    for at, line in enumerate(lines):
        for what, other in (("changed", [changed(line)]), ("left out", []), ("repeated", [line, line])):
            refused(f"event {at} {what}", lambda: read(lines[:at] + other + lines[at + 1:]))

    # the receipt of this answer is of no other request and no other answer
    digest = lambda data: hashlib.sha256(data).hexdigest()
    app.check_receipt(json.loads(receipt), digest(body), digest(answer))
    refused("the receipt of another request", lambda: app.check_receipt(json.loads(receipt), digest(b"{}"), digest(answer)))
    refused("the receipt of another answer", lambda: app.check_receipt(json.loads(receipt), digest(body), digest(answer + b"!")))
    refused("a changed receipt", lambda: app.check_receipt(json.loads(receipt) | {"served_at": 0}, digest(body), digest(answer)))

    # another TLS key than those of the keyset
    keys, app.line.keys = app.line.keys, {"00" * 32}
    refused("a connection to somebody else", lambda: list(app.chat(request)))
    app.line.keys = keys


def recover(app: App, request: dict) -> None:
    """A wrong clock and a key that is over each cost one message more, and one alone."""
    answer = spoken(b"".join(app.chat(request)))
    counts = {"post": 0, "verify": 0}
    def counted(name):
        call = getattr(App, name)
        def counting(*arguments):
            counts[name] += 1
            return call(app, *arguments)
        return counting
    def asked():
        counts.update(post=0, verify=0)
        return spoken(b"".join(app.chat(request)))
    def outdate(app):
        for key in app.keyset["e2ee_public_keys"]:
            key["key_id"] = "env-0000000000000000"
    app.post, app.verify = counted("post"), counted("verify")

    honest = time.time
    for wrong in (86400, -86400):
        with mock.patch.object(time, "time", lambda: honest() + wrong):
            assert asked() == answer and counts == {"post": 2, "verify": 0}, counts
            assert asked() == answer and counts == {"post": 1, "verify": 0}, "the difference was not remembered"
    app.ahead = 0
    outdate(app)
    assert asked() == answer and counts == {"post": 2, "verify": 1}, counts
    outdate(app)
    with mock.patch.object(time, "time", lambda: honest() + 86400):
        assert asked() == answer and counts == {"post": 3, "verify": 1}, counts
    app.ahead = 0

    # a clock that is never right, a key that is never known: given up, not tried for ever
    days = itertools.count(2)
    with mock.patch.object(time, "time", lambda: honest() + 86400 * next(days)):
        refused("a clock that jumps", asked)
    assert counts == {"post": 2, "verify": 0}, counts
    app.ahead = 0
    outdate(app)
    app.verify = lambda: counts.update(verify=counts["verify"] + 1)
    refused("a key that stays unknown", asked)
    assert counts == {"post": 2, "verify": 1}, counts
    del app.post, app.verify
    app.verify()
    assert spoken(b"".join(app.chat(request))) == answer


def signed_note(values: dict):
    """A release as a signer would publish it (C2SP signed-note), with the signer's public key."""
    key, name = ed25519.Ed25519PrivateKey.generate(), "example.org/release"
    public = b"\x01" + key.public_key().public_bytes_raw()
    key_id = hashlib.sha256(f"{name}\n".encode() + public).digest()[:4]
    text = json.dumps({"firmware": [], "tpm2": {"edk2": values}}).encode() + b"\n"
    line = base64.b64encode(key_id + key.sign(text)).decode()
    return text + f"\n— {name} {line}\n".encode(), f"{name}+{key_id.hex()}+{base64.b64encode(public).decode()}"


def machine(url: str, model: str, ak: bytes, values: dict) -> None:
    """Release, TPM, keyset: each link accepted once, and refused when it is another."""
    note, signer = signed_note(values)
    published = evidence.release(note, signer)
    _, stranger = signed_note(values)
    refused("a release of another signer", lambda: evidence.release(note, stranger))
    at = note.index(values["pcr4"]["values"][0]["value"]["sha256"].encode())
    refused("a changed release", lambda: evidence.release(flipped(note, at), signer))

    seen = {}
    def judge(report, data):
        check(report["attestation"]["tee_type"] == "tpm2", "no TPM 2.0")
        seen.update(report=report, data=data)
        evidence.tpm2(report["attestation"]["evidence"], data, published, ak)

    app = App(url, judge, device=ed25519.Ed25519PrivateKey.generate())
    talk(app, model)

    # the example's own command, with its options
    with tempfile.TemporaryDirectory() as directory:
        paths = {"--note": pathlib.Path(directory) / "note", "--ak": pathlib.Path(directory) / "ak"}
        def asked(signer, ak):
            paths["--note"].write_bytes(note)
            paths["--ak"].write_bytes(ak)
            options = [str(part) for pair in paths.items() for part in pair]
            command = [sys.executable, EXAMPLE / "client.py", url, "Hello", "--model", model, "--signer", signer, *options]
            return subprocess.run(command, capture_output=True)
        assert json.loads(asked(signer, ak).stdout)["choices"]
        for ended in (asked(stranger, ak), asked(signer, ak[:-1] + b"\0")):
            assert ended.returncode and b"refused" in ended.stderr and not ended.stdout, ended.stderr

    proof, data = seen["report"]["attestation"]["evidence"], seen["data"]
    evidence.tpm2(proof, data, published, ak)
    other = copy.deepcopy(published)
    for entry in other["tpm2"]["edk2"]["pcr4"]["values"]:
        entry["value"]["sha256"] = "11" * 32
    refused("another image", lambda: evidence.tpm2(proof, data, other, ak))
    refused("another TPM", lambda: evidence.tpm2(proof, data, published, ak[:-1] + b"\0"))
    refused("another nonce", lambda: evidence.tpm2(proof, evidence.report_data(seen["report"], bytes(32)), published, ak))
    for name in ("quote", "signature"):
        part = bytes.fromhex(proof["tpm2"][name])
        for at in range(0, len(part), 7):
            fake = copy.deepcopy(proof)
            fake["tpm2"][name] = flipped(part, at).hex()
            refused(f"{name} with byte {at} changed", lambda: evidence.tpm2(fake, data, published, ak))
    fake = copy.deepcopy(proof)
    fake["document"] += "0a"
    refused("another document", lambda: evidence.tpm2(fake, data, published, ak))
    fake = copy.deepcopy(proof)
    fake["tpm2"]["pcrs"]["sha256"]["4"] = "11" * 32
    refused("a register that was not quoted", lambda: evidence.tpm2(fake, data, published, ak))
    swapped = copy.deepcopy(seen["report"])
    swapped["attestation"]["workload_keyset"]["e2ee_public_keys"][0]["public_key"] = "11" * 32
    refused("a swapped key", lambda: evidence.report_data(swapped, bytes(32)))


def captured(corpus: pathlib.Path) -> None:
    """The signature chains of AMD and Intel, on what real hardware signed."""
    warnings.simplefilter("ignore", CryptographyDeprecationWarning)  # AMD's certificates of chips have serial number 0
    def certificate(path):
        return x509.load_der_x509_certificate((corpus / path).read_bytes())
    for item, product in (("milan-v3-oak-oc-release", "milan"), ("milan-v3-recomputable", "milan"), ("turin-v5-oak", "turin")):
        report = (corpus / f"snp/{item}/report.bin").read_bytes()
        chain = [certificate(f"snp/{item}/leaf.der")] + [certificate(f"roots/amd/{product}/{name}.der") for name in ("ask", "ark")]
        root = evidence.AMD_ROOTS[product.capitalize()]
        evidence.snp_authentic(report, chain, root)
        for at in range(0, 0x2A0, 13):
            refused(f"{item}: byte {at}", lambda: evidence.snp_authentic(flipped(report, at), chain, root))
        refused(f"{item}: another root", lambda: evidence.snp_authentic(report, chain, evidence.AMD_ROOTS["Genoa"]))
        refused(f"{item}: without ASK", lambda: evidence.snp_authentic(report, [chain[0], chain[2]], root))
    debug = corpus / "snp/milan-v2-debug"
    chain = [x509.load_der_x509_certificate((debug / "leaf.der").read_bytes())]
    chain += [certificate(f"roots/amd/milan/{name}.der") for name in ("ask", "ark")]
    refused("a guest that may be debugged",
            lambda: evidence.snp_authentic((debug / "report.bin").read_bytes(), chain, evidence.AMD_ROOTS["Milan"]))
    quote = (corpus / "tdx/v4-uptodate-b0c06f/quote.bin").read_bytes()
    evidence.tdx_authentic(quote)
    for at in range(0, 1300, 13):
        refused(f"quote: byte {at}", lambda: evidence.tdx_authentic(flipped(quote, at)))


if __name__ == "__main__":
    if sys.argv[1] == "--captured":
        captured(pathlib.Path(sys.argv[2]))
    elif len(sys.argv) == 3:
        def lenient(report, data):
            check(report["attestation"]["tee_type"] == "none", "a platform that has to be judged")
        talk(App(sys.argv[1], lenient, token=os.environ["APP_TOKEN"]), sys.argv[2])
    else:
        with open(sys.argv[3], "rb") as ak, open(sys.argv[4]) as values:
            machine(sys.argv[1], sys.argv[2], ak.read(), json.load(values))
    print("envelope: ok")
