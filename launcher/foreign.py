"""Outside correspondents: a certification authority and S/MIME mail made by the openssl program.

Nothing here uses Sealpost's own cryptography: what the demo and the tests read was made by a
foreign program, and what Sealpost sends is opened and judged by it.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

POLICY_OF_LEVEL = {
    "V1": "2.23.140.1.5.1.2",  # mailbox-validated, multipurpose (CA/B S/MIME BR 7.1.6.1)
    "V2": "2.23.140.1.5.4.2",  # individual-validated
    "V3": "2.23.140.1.5.2.2",  # organization-validated
    "V4": "2.23.140.1.5.3.2",  # sponsor-validated: organisation and person
}

AGE = timedelta(days=365)

CA_CONFIGURATION = """\
[ca]
default_ca = it
[it]
dir = {folder}
database = $dir/index.txt
serial = $dir/serial
crlnumber = $dir/crlnumber
new_certs_dir = $dir/issued
certificate = $dir/ca.crt
private_key = $dir/ca.key
default_md = sha256
default_crl_days = 30
policy = anything
unique_subject = no
copy_extensions = none
[anything]
countryName = optional
organizationName = optional
commonName = optional
givenName = optional
surname = optional
emailAddress = optional
"""


class OpensslError(RuntimeError):
    """openssl refused; its own words are the message."""


def openssl(*arguments: str | Path, data: bytes | None = None, at: datetime | None = None) -> bytes:
    """Run the openssl program and return what it prints. Raises OpensslError.

    ``at``: what its clock shows, by the faketime program; it has no option for signingTime.
    """
    command = ["openssl", *map(str, arguments)]
    environment = None
    if at is not None:
        moment = at.astimezone(UTC)
        command = ["faketime", "-f", f"{moment:%Y-%m-%d %H:%M:%S}", *command]
        environment = os.environ | {"TZ": "UTC"}
    done = subprocess.run(command, input=data, capture_output=True, check=False, env=environment)
    if done.returncode != 0:
        raise OpensslError(done.stderr.decode("utf-8", "replace").strip())
    return done.stdout


@dataclass(frozen=True)
class Correspondent:
    """Somebody outside: a mailbox, a key and a certificate in files."""

    address: str
    name: str
    key: Path
    certificate: Path
    chain: Path
    """PEM of the intermediate authorities, to be sent along."""

    def mailbox(self) -> str:
        return f"{self.name} <{self.address}>"


def _crl_point(url: str) -> str:
    return f"crlDistributionPoints=URI:{url}\n" if url else ""


@dataclass
class ForeignAuthority:
    """A root with one intermediate, in a folder, run by ``openssl ca``."""

    folder: Path
    name: str
    crl_url: str = ""
    """Where the intermediate's list of revoked people is published; empty: nowhere."""
    root_crl_url: str = ""
    """Where the root's list of revoked authorities is published; empty: nowhere."""
    bits: int = 2048
    intermediate: Path = field(init=False)

    def __post_init__(self) -> None:
        self.intermediate = self.folder / "intermediate"

    @property
    def root_certificate(self) -> Path:
        return self.folder / "root" / "ca.crt"

    @property
    def chain(self) -> Path:
        return self.intermediate / "ca.crt"

    def create(self) -> ForeignAuthority:
        """Make root and intermediate, unless they are there."""
        if self.chain.exists():
            return self
        root = self.folder / "root"
        self._prepare(root)
        self._key(root / "ca.key")
        self._sign(
            root,
            root / "ca.key",
            root / "ca.crt",
            subject=f"/C=DE/O={self.name}/CN={self.name} Root",
            extensions="basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n"
            "subjectKeyIdentifier=hash\n",
            days=7300,
        )
        self._prepare(self.intermediate)
        self._key(self.intermediate / "ca.key")
        self._sign(
            root, self.intermediate / "ca.key", self.intermediate / "ca.crt",
            subject=f"/C=DE/O={self.name}/CN={self.name} S-MIME CA",
            extensions="basicConstraints=critical,CA:TRUE,pathlen:0\n"
            "keyUsage=critical,keyCertSign,cRLSign\nextendedKeyUsage=emailProtection\n"
            "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
            "certificatePolicies=2.5.29.32.0\n"  # any: it may vouch for every level
            + _crl_point(self.root_crl_url),
            days=3650,
        )  # fmt: skip
        return self

    def issue(
        self,
        address: str,
        name: str,
        *,
        level: str = "V1",
        organisation: str = "",
        start: str = "",
        end: str = "",
        elliptic: bool = False,
        label: str = "",
    ) -> Correspondent:
        """A key and a certificate for ``address``; ``start``/``end`` as YYYYMMDDHHMMSSZ."""
        stem = self.folder / "people" / (label or address)
        stem.parent.mkdir(parents=True, exist_ok=True)
        key, certificate = stem.with_name(stem.name + ".key"), stem.with_name(stem.name + ".crt")
        person = Correspondent(address, name, key, certificate, self.chain)
        if certificate.exists():
            return person
        if elliptic:
            openssl(
                "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key
            )
        else:
            self._key(key)
        subject = "/C=GB" if organisation else ""
        subject += f"/O={organisation}" if organisation else ""
        subject += f"/CN={address if level == 'V1' else organisation if level == 'V3' else name}"
        usage = "digitalSignature,keyAgreement" if elliptic else "digitalSignature,keyEncipherment"
        extensions = (
            f"basicConstraints=critical,CA:FALSE\nkeyUsage=critical,{usage}\n"
            f"extendedKeyUsage=emailProtection\nsubjectAltName=email:{address}\n"
            f"certificatePolicies={POLICY_OF_LEVEL[level]}\n"
            "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n" + _crl_point(self.crl_url)
        )
        self._sign(
            self.intermediate, key, certificate,
            subject=subject, extensions=extensions, days=1095, start=start, end=end,
        )  # fmt: skip
        return person

    def revoke(self, person: Correspondent, *, at: datetime | None = None) -> None:
        configuration = self.intermediate / "ca.conf"
        openssl("ca", "-config", configuration, "-revoke", person.certificate,
                "-crl_reason", "keyCompromise", at=at)  # fmt: skip

    def crl(self) -> bytes:
        """A fresh list of the people whose certificates were revoked, DER."""
        return self._crl(self.intermediate)

    def root_crl(self) -> bytes:
        """A fresh list of revoked authorities, DER."""
        return self._crl(self.folder / "root")

    def _crl(self, authority: Path) -> bytes:
        pem = openssl("ca", "-config", authority / "ca.conf", "-gencrl")
        return openssl("crl", "-outform", "DER", data=pem)

    def _prepare(self, folder: Path) -> None:
        (folder / "issued").mkdir(parents=True, exist_ok=True)
        (folder / "index.txt").touch()
        (folder / "serial").write_text(openssl("rand", "-hex", "16").decode())
        (folder / "crlnumber").write_text("01\n")
        (folder / "ca.conf").write_text(CA_CONFIGURATION.format(folder=folder))

    def _key(self, path: Path) -> None:
        openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", f"rsa_keygen_bits:{self.bits}",
                "-out", path)  # fmt: skip

    def _sign(
        self,
        issuer: Path,
        key: Path,
        certificate: Path,
        *,
        subject: str,
        extensions: str,
        days: int,
        start: str = "",
        end: str = "",
    ) -> None:
        request, extension_file = certificate.with_suffix(".csr"), certificate.with_suffix(".ext")
        openssl("req", "-new", "-utf8", "-key", key, "-out", request, "-subj", subject)
        extension_file.write_text(extensions)
        if not start:  # a year old: people have had their certificates for a while
            begin = datetime.now(UTC) - AGE
            start, end = (f"{day:%Y%m%d%H%M%S}Z" for day in (begin, begin + timedelta(days=days)))
        own_key: list[str | Path] = []
        if certificate.parent == issuer:  # a root signs itself
            own_key = ["-selfsign", "-keyfile", key]
        openssl("ca", "-batch", "-notext", "-config", issuer / "ca.conf", "-in", request,
                "-out", certificate, "-extfile", extension_file, "-preserveDN",
                "-startdate", start, "-enddate", end,
                *own_key)  # fmt: skip


# --------------------------------------------------------------------------- mail

HEADERS_OUTSIDE = ("From", "To", "Cc", "Subject", "Date", "Message-ID", "In-Reply-To", "References")


def split_message(message: EmailMessage) -> tuple[bytes, bytes]:
    """(outer headers, the MIME entity to be protected), both with CRLF line ends."""
    outer = EmailMessage(policy=policy.SMTP)
    inner = message_from_bytes(message.as_bytes(policy=policy.SMTP), policy=policy.SMTP)
    for name in HEADERS_OUTSIDE:
        if name in message:
            outer[name] = str(message[name])
            del inner[name]
    return outer.as_bytes().rstrip(b"\r\n") + b"\r\n", inner.as_bytes()


def hide_subject(message: EmailMessage) -> tuple[bytes, bytes]:
    """As :func:`split_message`, but the headers stand inside too and the subject only there
    (RFC 9788 section 2.2)."""
    inner = message_from_bytes(message.as_bytes(policy=policy.SMTP), policy=policy.SMTP)
    inner.set_param("hp", "cipher")
    outer = EmailMessage(policy=policy.SMTP)
    for name in HEADERS_OUTSIDE:
        if name in message:
            outer[name] = "[...]" if name == "Subject" else str(message[name])
            inner["HP-Outer"] = f"{name}: {outer[name]}"
    return outer.as_bytes().rstrip(b"\r\n") + b"\r\n", inner.as_bytes()


def _entity(openssl_output: bytes) -> bytes:
    """What openssl wrote, with CRLF line ends."""
    return b"\r\n".join(openssl_output.replace(b"\r\n", b"\n").split(b"\n"))


def sign_entity(
    entity: bytes, signer: Correspondent, *, opaque: bool = False, at: datetime | None = None
) -> bytes:
    """``openssl cms -sign`` over a MIME entity; ``at`` becomes the signingTime."""
    arguments: list[str | Path] = [
        "cms", "-sign", "-signer", signer.certificate, "-inkey", signer.key,
        "-certfile", signer.chain, "-md", "sha256", "-crlfeol",
    ]  # fmt: skip
    return _entity(openssl(*arguments, *(["-nodetach"] if opaque else []), data=entity, at=at))


def encrypt_entity(
    entity: bytes, certificates: list[Path], *, cipher: str = "aes-256-cbc", oaep: bool = False
) -> bytes:
    """``openssl cms -encrypt`` to ``certificates``; a GCM cipher makes AuthEnvelopedData."""
    recipients: list[str | Path] = []
    for certificate in certificates:
        recipients += ["-recip", certificate]
        if oaep:
            recipients += ["-keyopt", "rsa_padding_mode:oaep"]
    return _entity(openssl("cms", "-encrypt", f"-{cipher}", *recipients, data=entity))


def smime(
    message: EmailMessage,
    *,
    signer: Correspondent | None = None,
    opaque: bool = False,
    recipients: list[Path] | None = None,
    cipher: str = "aes-256-cbc",
    at: datetime | None = None,
    subject_hidden: bool = False,
) -> bytes:
    """The whole mail: sign (``at`` that time), then encrypt, as asked; raw bytes for delivery."""
    outer, entity = (hide_subject if subject_hidden else split_message)(message)
    if signer is not None:
        entity = sign_entity(entity, signer, opaque=opaque, at=at)
    if recipients is not None:
        entity = encrypt_entity(entity, recipients, cipher=cipher)
    return outer + entity


@dataclass(frozen=True)
class Opened:
    """What the openssl program found in a mail."""

    entity: bytes
    encrypted: bool
    signed: bool


def open_mail(mail: bytes, reader: Correspondent, roots: list[Path]) -> Opened:
    """Decrypt and verify ``mail`` as ``reader``. Raises OpensslError when either fails."""
    entity, encrypted, signed = mail, False, False
    while True:
        part = message_from_bytes(entity)
        kind = part.get_content_type()
        smime_type = str(part.get_param("smime-type") or "").lower()
        if kind in ("application/pkcs7-mime", "application/x-pkcs7-mime") and (
            smime_type in ("enveloped-data", "authenveloped-data")
        ):
            entity = openssl("cms", "-decrypt", "-recip", reader.certificate, "-inkey", reader.key,
                             data=entity)  # fmt: skip
            encrypted = True
        elif kind == "multipart/signed" or smime_type == "signed-data":
            bundle = reader.key.with_name("roots.pem")
            bundle.write_bytes(b"".join(root.read_bytes() for root in roots))
            entity = openssl("cms", "-verify", "-CAfile", bundle, "-purpose", "smimesign",
                             data=entity)  # fmt: skip
            signed = True
        else:
            return Opened(entity, encrypted, signed)
