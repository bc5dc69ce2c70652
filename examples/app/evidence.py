"""What an app checks before it trusts a key: a signed release, and evidence of AMD SEV-SNP, Intel TDX or a TPM 2.0.

Formats: docs/releases.md (notes), docs/protocol.md section 1 (keyset, statement), docs/decisions/0007 (members of evidence).
This file follows each signature to a root that the app brings with it, and compares what the platform measured with the
release. It does not judge patch levels and revocation lists, which change while an app lies on a phone: `lethe verify` does.
"""

import base64
import hashlib
import json
import struct

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature


class Refused(Exception):
    """Something is not what it has to be; nothing secret may be sent."""


def check(right: bool, what: str) -> None:
    if not right:
        raise Refused(what)


def canonical(value) -> bytes:
    """RFC 8785 for what Lethe signs: member names in ASCII, integers, no fractions."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def release(note: bytes, signer: str) -> dict:
    """The values of a release, if `signer` ("name+id+base64") signed them (C2SP signed-note)."""
    name, key_id, key = signer.split("+", 2)
    key = base64.b64decode(key, validate=True)
    check(key[0] == 1 and hashlib.sha256(f"{name}\n".encode() + key).digest()[:4].hex() == key_id, "no key of a signer")
    text, _, lines = note.rpartition(b"\n\n")
    for line in lines.decode().splitlines():
        if line.startswith(f"— {name} "):
            signature = base64.b64decode(line.split(" ")[2], validate=True)
            if signature[:4].hex() == key_id:
                ed25519.Ed25519PublicKey.from_public_bytes(key[1:]).verify(signature[4:], text + b"\n")
                return json.loads(text)
    raise Refused("the signer that this app trusts has not signed the release")


def values(register: dict, bank: str | None = None) -> list[bytes]:
    """The values that a register of a release may have."""
    listed = [entry["value"] for entry in register.get("values", [])]
    return [bytes.fromhex(value[bank] if bank else value) for value in listed]


def report_data(report: dict, nonce: bytes) -> bytes:
    """The 64 bytes that hardware has to have signed about this keyset and this nonce."""
    keyset = "sha256:" + hashlib.sha256(canonical(report["attestation"]["workload_keyset"])).hexdigest()
    check(keyset == report["workload_keyset_digest"], "the digest is not the keyset's")
    statement = {"keyset_digest": keyset, "nonce": nonce.hex(), "purpose": "aci.report_data.v1"}
    return hashlib.sha256(canonical(statement)).digest() + bytes(32)


def chain(certificates: list[x509.Certificate], root_spki_sha256: str) -> None:
    """Each certificate is signed by the next one, and the last one's key is the root's that the app knows."""
    for certificate, issuer in zip(certificates, certificates[1:] + certificates[-1:]):
        certificate.verify_directly_issued_by(issuer)
    key = certificates[-1].public_key()
    check(hashlib.sha256(spki(key)).hexdigest() == root_spki_sha256, "the chain ends in another root")


def spki(key) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


# --- TPM 2.0 -----------------------------------------------------------------------------------------------------------

def tpm2(evidence: dict, data: bytes, published: dict, ak: bytes) -> None:
    """A quote of the TPM whose attestation key the app knows (DER), over registers that say: this image, this document."""
    part = {name: bytes.fromhex(value) for name, value in evidence["tpm2"].items() if isinstance(value, str)}
    check(part["ak"] == ak, "another TPM's key")
    tpm_signature(serialization.load_der_public_key(ak), part["signature"], part["quote"])
    extra, banks, digest = tpm_attest(part["quote"])
    check(extra == hashlib.sha256(data).digest(), "the quote is about another keyset or nonce")
    pcrs = {bank: {int(number): bytes.fromhex(value) for number, value in registers.items()}
            for bank, registers in evidence["tpm2"]["pcrs"].items()}
    quoted = b"".join(pcrs[bank][number] for bank, numbers in banks for number in numbers)
    check(hashlib.sha256(quoted).digest() == digest, "the registers are not those of the quote")
    check("sha256" in dict(banks) and {4, 9, 11, 12} <= set(dict(banks)["sha256"]), "registers are missing in the quote")
    sha256, expected = pcrs["sha256"], published["tpm2"]["edk2"]
    for number in (4, 9, 11):
        check(sha256[number] in values(expected[f"pcr{number}"], "sha256"), f"PCR {number} is not the release's")
    document = hashlib.sha256(bytes.fromhex(evidence["document"])).digest()
    check(sha256[12] == hashlib.sha256(bytes(32) + document).digest(), "PCR 12 is not the document's")


def tpm_attest(quote: bytes):
    """extraData, the selected banks and the digest of a TPMS_ATTEST (TPM 2.0 part 2, 10.12.8)."""
    def sized(at):
        length, = struct.unpack_from(">H", quote, at)
        return quote[at + 2:at + 2 + length], at + 2 + length
    check(quote[:6] == b"\xffTCG\x80\x18", "not a quote of a TPM")
    _, at = sized(6)
    extra, at = sized(at)
    count, = struct.unpack_from(">I", quote, at + 25)  # behind clockInfo (17) and firmwareVersion (8)
    at, banks = at + 29, []
    for _ in range(count):
        algorithm, size = struct.unpack_from(">HB", quote, at)
        bits = int.from_bytes(quote[at + 3:at + 3 + size], "little")
        name = {0x0B: "sha256", 0x0C: "sha384"}.get(algorithm)
        check(name is not None, "a bank of an unknown hash")
        banks.append((name, [number for number in range(8 * size) if bits >> number & 1]))
        at += 3 + size
    digest, at = sized(at)
    check(at == len(quote), "bytes behind the quote")
    return extra, banks, digest


def tpm_signature(key, signature: bytes, signed: bytes) -> None:
    """TPMT_SIGNATURE: ECDSA or RSASSA, SHA-256."""
    scheme, digest, length = struct.unpack_from(">HHH", signature)
    check(digest == 0x0B, "not signed over SHA-256")
    first = signature[6:6 + length]
    if scheme == 0x18 and isinstance(key, ec.EllipticCurvePublicKey):
        second = signature[6 + length + 2:]
        numbers = encode_dss_signature(int.from_bytes(first, "big"), int.from_bytes(second, "big"))
        key.verify(numbers, signed, ec.ECDSA(hashes.SHA256()))
    else:
        check(scheme == 0x14 and isinstance(key, rsa.RSAPublicKey), "an unknown kind of signature")
        key.verify(first, signed, padding.PKCS1v15(), hashes.SHA256())


# --- AMD SEV-SNP -------------------------------------------------------------------------------------------------------

# SHA-256 of the public keys of AMD's roots (https://kdsintf.amd.com/vcek/v1/Milan/cert_chain and so on).
AMD_ROOTS = {
    "Milan": "9f056bee44377e29308cb5ffa895bdfb62d18881fa6bed8d6f075b0204089cb9",
    "Genoa": "429a69c9422aa258ee4d8db5fcda9c6470ef15f8cd5a9cebd6cbc7d90b863831",
    "Turin": "4f125410563a2ab9a50356f9243f6fe0b6f73de98603f53f90339c70e9d7ad08",
}


def sev_snp(evidence: dict, data: bytes, published: dict, vcek: x509.Certificate, ask: x509.Certificate,
            ark: x509.Certificate, product: str) -> None:
    """A report of AMD's secure processor. AMD serves the certificate of the chip and the two above it."""
    report = bytes.fromhex(evidence["sev_snp"]["report"])
    snp_authentic(report, [vcek, ask, ark], AMD_ROOTS[product])
    check(report[0x50:0x90] == data, "the report is about another keyset or nonce")
    digests = [digest for firmware in published["firmware"] for processor in
               firmware["sev_snp"].get("measured", {}).get("launch_digests", []) for digest in processor["by_vcpus"]]
    check(report[0x90:0xC0].hex() in digests, "the launch digest is not the release's")
    document = hashlib.sha256(bytes.fromhex(evidence["document"])).digest()
    check(report[0xC0:0xE0] == document, "HOST_DATA is not the document's")


def snp_authentic(report: bytes, certificates: list[x509.Certificate], root: str) -> None:
    """Signed by a chip of AMD's, for a guest at VMPL 0 that nobody may debug (SEV-SNP firmware ABI, table 22)."""
    chain(certificates, root)
    check(len(report) == 1184, "not a report")
    r, s = (int.from_bytes(report[at:at + 72], "little") for at in (0x2A0, 0x2A0 + 72))
    certificates[0].public_key().verify(encode_dss_signature(r, s), report[:0x2A0], ec.ECDSA(hashes.SHA384()))
    version, policy, vmpl, algorithm = struct.unpack_from("<I4xQ32xI", report) + struct.unpack_from("<I", report, 0x34)
    check(2 <= version <= 5 and algorithm == 1, "an unknown version or algorithm")
    check(vmpl == 0 and not policy >> 19 & 1 and not policy >> 18 & 1, "not at VMPL 0, or open to debugging or migration")


# --- Intel TDX ---------------------------------------------------------------------------------------------------------

# SHA-256 of the public key of Intel's root for SGX and TDX.
INTEL_ROOT = "a0af031289f5d5d4132f9186068a7fc13628633ba235777472e29b6b6c67a49e"


def tdx(evidence: dict, data: bytes, published: dict) -> None:
    """A quote of Intel's quoting enclave. Its certificates are in the quote."""
    body = tdx_authentic(bytes.fromhex(evidence["tdx"]["quote"]))
    check(body[520:584] == data, "the quote is about another keyset or nonce")
    measured = [firmware["tdx"]["measured"] for firmware in published["firmware"] if "measured" in firmware["tdx"]]
    check(any(body[136:184] in values(one["mrtd"]) and body[376:424] in values(one["rtmr1"])
              and body[424:472] in values(one["rtmr2"]) for one in measured), "MRTD, RTMR1 or RTMR2 are not the release's")
    check(body[472:520] == bytes(48), "RTMR3 is not zero")
    document = hashlib.sha384(bytes.fromhex(evidence["document"])).digest()
    check(body[184:232] == document, "MRCONFIGID is not the document's")


def tdx_authentic(quote: bytes) -> bytes:
    """The TD report of a quote v4, if Intel's chain signed it, for a TD that nobody may debug (TDX DCAP, appendix 3)."""
    version, kind, tee = struct.unpack_from("<HHI", quote)
    check((version, kind, tee) == (4, 2, 0x81), "not a TDX quote of version 4 with ECDSA P-256")
    signed, at = quote[:632], 636
    signature, key = quote[at:at + 64], quote[at + 64:at + 128]
    whole, = struct.unpack_from("<I", quote, 632)
    kind, length = struct.unpack_from("<HI", quote, at + 128)
    check(kind == 6 and whole == 134 + length, "no report of the quoting enclave")
    at += 134
    enclave, enclave_signature = quote[at:at + 384], quote[at + 384:at + 448]
    length, = struct.unpack_from("<H", quote, at + 448)
    extra = quote[at + 450:at + 450 + length]
    at += 450 + length
    kind, length = struct.unpack_from("<HI", quote, at)
    check(kind == 5 and at + 6 + length == 636 + whole <= len(quote), "no chain of certificates in the quote")
    certificates = x509.load_pem_x509_certificates(quote[at + 6:at + 6 + length].rstrip(b"\0"))
    chain(certificates, INTEL_ROOT)
    p256(certificates[0].public_key(), enclave_signature, enclave)
    check(enclave[320:352] == hashlib.sha256(key + extra).digest(), "the enclave does not vouch for the quote's key")
    attestation = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + key)
    p256(attestation, signature, signed)
    body = signed[48:]
    check(not body[120] & 1, "open to debugging")
    return body


def p256(key, signature: bytes, signed: bytes) -> None:
    r, s = (int.from_bytes(signature[at:at + 32], "big") for at in (0, 32))
    key.verify(encode_dss_signature(r, s), signed, ec.ECDSA(hashes.SHA256()))
