"""An app that talks to a Lethe appliance by the envelope: docs/protocol.md section 5, in Python without code of ours.

    pip install pyhpke cryptography
    python client.py https://appliance:8443 --note 0.2.0.note --signer 'example.org/lethe+…' --ak tpm.der "Hello"

The app brings two things that no server can give it: the key of whoever signs releases, and the platform's root (for AMD and
Intel it is in evidence.py, for a TPM it is its attestation key). From there: release -> measured image -> keyset -> sealed prompt.
"""

import argparse
import base64
import hashlib
import http.client
import json
import secrets
import ssl
import sys
import time
import urllib.parse

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from pyhpke import AEADId, CipherSuite, KDFId, KEMId, KEMKey

import evidence
from evidence import Refused, canonical, check

# What an appliance asks to be done again: with its keys of now (a phone may have slept for days), or by its clock.
OTHER_KEY = "https://iana.org/assignments/http-problem-types#ohttp-key"
OTHER_DATE = "https://iana.org/assignments/http-problem-types#date"

SUITE = CipherSuite.new(KEMId.DHKEM_X25519_HKDF_SHA256, KDFId.HKDF_SHA256, AEADId.CHACHA20_POLY1305)


def b64u(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64u(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Line:
    """Requests over TLS. Certificates of appliances sign themselves: what counts is that the key is in the verified keyset."""

    def __init__(self, url: str):
        self.at = urllib.parse.urlsplit(url)
        self.context = ssl.create_default_context()
        self.context.check_hostname, self.context.verify_mode = False, ssl.CERT_NONE
        self.keys: set[str] | None = None  # of the verified keyset

    def send(self, method: str, path: str, body=None, headers=None) -> http.client.HTTPResponse:
        connection = http.client.HTTPSConnection(self.at.hostname, self.at.port or 443, context=self.context, timeout=120)
        connection.connect()
        shown = x509.load_der_x509_certificate(connection.sock.getpeercert(True)).public_key()
        key = hashlib.sha256(evidence.spki(shown)).hexdigest()
        check(self.keys is None or key in self.keys, "somebody else answers: no such TLS key in the verified keyset")
        connection.request(method, path, body, headers or {})
        return connection.getresponse()


def read_problem(response) -> dict:
    """What a refusal says of itself. Anybody on the way can have written it: no problem document is a refusal without a reason."""
    try:
        problem = json.loads(response.read())
    except ValueError:
        return {}
    return problem if isinstance(problem, dict) else {}


class App:
    """One appliance as an app sees it. `judge` refuses evidence, or says nothing."""

    def __init__(self, url: str, judge, device: ed25519.Ed25519PrivateKey | None = None, token: str | None = None):
        self.line, self.judge, self.device, self.token = Line(url), judge, device, token
        self.keyset = None
        self.ahead = 0  # seconds that the appliance's clock is ahead of ours, as far as it said so; nothing verified rests on it

    def verify(self) -> None:
        """Asks for evidence over a fresh nonce. Afterwards, and not before, `keyset` has keys that may be used."""
        self.line.keys, nonce = None, secrets.token_bytes(32)
        response = self.line.send("GET", f"/v1/aci/attestation?nonce={nonce.hex()}")
        check(response.status == 200, f"no evidence: {response.status}")
        report = json.loads(response.read())
        self.judge(report, evidence.report_data(report, nonce))
        self.keyset = report["attestation"]["workload_keyset"]
        self.line.keys = {key["spki_sha256"] for key in self.keyset["tls_public_keys"]}

    def seal(self, body: bytes):
        """The envelope of a request, and what opens its answer."""
        key = next(key for key in self.keyset["e2ee_public_keys"] if key["algo"] == "lethe.envelope.x25519")
        public = KEMKey.from_jwk({"kty": "OKP", "crv": "X25519", "x": b64u(bytes.fromhex(key["public_key"]))})
        rid, ts = b64u(secrets.token_bytes(16)), int(time.time()) + self.ahead
        aad = canonical({"kid": key["key_id"], "rid": rid, "ts": ts, "v": 1})
        enc, context = SUITE.create_sender_context(public, info=b"lethe envelope request")
        envelope = {"kid": key["key_id"], "enc": b64u(enc), "ciphertext": b64u(context.seal(body, aad)),
                    "aad": b64u(aad), "ts": ts, "rid": rid}
        if self.device:
            signed = canonical({name: envelope[name] for name in ("aad", "enc", "kid", "rid", "ts")})
            envelope["device"] = {
                "alg": "ed25519", "key": b64u(self.device.public_key().public_bytes_raw()),
                "signature": b64u(self.device.sign(b"lethe envelope device v1\n" + signed))}
        opener = ChaCha20Poly1305(context.export(b"lethe envelope response", 32))
        return envelope, Opening(rid, opener, context.export(b"lethe envelope nonce", 12))

    def post(self, envelope: dict) -> http.client.HTTPResponse:
        headers = {"content-type": "application/json"}
        if self.token:
            headers["authorization"] = f"Bearer {self.token}"
        return self.line.send("POST", "/api/chat", json.dumps(envelope), headers)

    def ask(self, body: bytes):
        """Seals and sends; for either of the two reasons that an appliance has for it, once more."""
        reasons = {OTHER_KEY, OTHER_DATE}
        while True:
            envelope, opening = self.seal(body)
            response = self.post(envelope)
            problem = read_problem(response) if response.status == 400 else {}
            reason = problem.get("type")
            if reason not in reasons:
                return response, opening
            reasons.remove(reason)
            if reason == OTHER_KEY:
                self.verify()
            else:
                check(isinstance(problem.get("now"), int), "refused for its date, without the appliance's")
                self.ahead = problem["now"] - int(time.time())

    def chat(self, request: dict):
        """Yields the answer piece by piece. It counts when the iteration ends without an error: then its receipt was right."""
        if not self.keyset:
            self.verify()
        body = json.dumps(request).encode()
        response, opening = self.ask(body)
        check(response.status == 200, f"refused: {response.status}")
        answer = hashlib.sha256()
        for piece in opening.pieces(response):
            answer.update(piece)
            yield piece
        self.check_receipt(json.loads(opening.receipt), hashlib.sha256(body).hexdigest(), answer.hexdigest())

    def check_receipt(self, receipt: dict, request: str, answer: str) -> None:
        """The appliance signed that it gave exactly this answer to exactly this request."""
        signature = bytes.fromhex(receipt.pop("signature"))
        key = next(key for key in self.keyset["receipt_signing_keys"] if key["key_id"] == receipt["key_id"])
        check(key["algo"] == "ed25519", "signed with a key for something else")
        ed25519.Ed25519PublicKey.from_public_bytes(bytes.fromhex(key["public_key"])).verify(signature, canonical(receipt))
        hashed = {event["type"]: event.get("body_hash") for event in receipt["event_log"]}
        check(hashed["request.received"] == f"sha256:{request}", "the receipt is of another request")
        check(hashed["response.returned"] == f"sha256:{answer}", "the receipt is of another answer")


class Opening:
    """Opens the events of an answer, in their order, up to the one that is marked as the last."""

    def __init__(self, rid: str, key: ChaCha20Poly1305, nonce: bytes):
        self.rid, self.key, self.nonce, self.receipt = rid, key, int.from_bytes(nonce, "big"), b""

    def pieces(self, lines):
        seq, last = 0, False
        for line in lines:
            if not line.startswith(b"data: "):
                continue
            event = json.loads(line[6:])
            check(event["seq"] == seq and not last, "an event out of its order")
            last = event["last"]
            aad = canonical({"last": last, "rid": self.rid, "seq": seq})
            plain = self.key.decrypt((self.nonce ^ seq).to_bytes(12, "big"), unb64u(event["ciphertext"]), aad)
            if last:
                self.receipt = plain
            else:
                yield plain
            seq += 1
        check(last, "the answer was cut off")


def main() -> None:
    parser = argparse.ArgumentParser(description="Ask a verified Lethe appliance.")
    parser.add_argument("url")
    parser.add_argument("prompt")
    parser.add_argument("--model", required=True)
    parser.add_argument("--note", required=True, help="measurements/VERSION.note of the release")
    parser.add_argument("--signer", required=True, help="public key of whoever signs releases")
    parser.add_argument("--ak", required=True, help="attestation key of the TPM (DER)")
    arguments = parser.parse_args()
    try:
        ask(arguments)
    except Refused as reason:
        sys.exit(f"refused: {reason}")


def ask(arguments) -> None:
    with open(arguments.note, "rb") as note, open(arguments.ak, "rb") as ak:
        published, ak = evidence.release(note.read(), arguments.signer), ak.read()

    def judge(report, data):
        check(report["attestation"]["tee_type"] == "tpm2", "no TPM 2.0")
        evidence.tpm2(report["attestation"]["evidence"], data, published, ak)

    app = App(arguments.url, judge, device=ed25519.Ed25519PrivateKey.generate())
    request = {"model": arguments.model, "messages": [{"role": "user", "content": arguments.prompt}]}
    for piece in app.chat(request):
        sys.stdout.buffer.write(piece)


if __name__ == "__main__":
    main()
