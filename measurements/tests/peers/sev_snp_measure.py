"""Answers of sev-snp-measure to cases on standard input, as JSON on standard output.

{"digests": [{"id", "firmware", "kernel", "initrd", "cmdline", "vcpus", "cpu", "features", "vmm"}, ...], "keys": [NUMBER, ...]}
A case is answered with its digest or the tool's error; a key (a private number) with its public key and the tool's ID block.
"""

import base64
import json
import sys
import tempfile

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from sevsnpmeasure import guest, id_block, vcpu_types
from sevsnpmeasure.sev_mode import SevMode
from sevsnpmeasure.vmm_types import VMMType

VMMS = {"qemu": VMMType.QEMU, "ec2": VMMType.ec2, "gce": VMMType.gce}


def digest(case):
    try:
        return guest.calc_launch_digest(
            SevMode.SEV_SNP, case["vcpus"], vcpu_types.CPU_SIGS[case["cpu"]], case["firmware"], case["kernel"],
            case["initrd"], case["cmdline"], case["features"], "", VMMS[case["vmm"]]).hex()
    except RuntimeError as error:
        return f"error: {error}"


def block(number):
    private = ec.derive_private_key(number, ec.SECP384R1())
    with tempfile.NamedTemporaryFile() as file:
        file.write(private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                         serialization.NoEncryption()))
        file.flush()
        text = id_block.snp_calc_id_block(bytes(range(48)), file.name, file.name)
    def field(name, end):
        return base64.b64decode(text.split(name, 1)[1].split(end, 1)[0]).hex()
    public = private.public_key().public_bytes(serialization.Encoding.DER,
                                               serialization.PublicFormat.SubjectPublicKeyInfo)
    return {"public": public.hex(), "digest": field("id_key_hash: ", "\n"), "id_block": field("id-block=", ",")}


request = json.load(sys.stdin)
json.dump({"digests": {case["id"]: digest(case) for case in request["digests"]},
           "keys": {str(number): block(number) for number in request["keys"]}}, sys.stdout)
