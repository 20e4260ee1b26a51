"""Foreign S/MIME programs as judges: openssl 3.0, gpgsm 2.2, NSS cmsutil, Bouncy Castle 1.72."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.cms.people import Person, root, root_der


class Refused(Exception):
    """The program said no; its words are the message."""


def run(*command: str | Path, data: bytes | None = None, folder: Path | None = None) -> bytes:
    """Standard output of a program. Raises Refused."""
    done = subprocess.run(
        [*map(str, command)], input=data, capture_output=True, cwd=folder, timeout=60, check=False
    )
    if done.returncode != 0:
        raise Refused((done.stderr or done.stdout).decode("utf-8", "replace")[-2000:])
    return done.stdout


class Openssl:
    """``openssl cms`` with the test root trusted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "root.crt"
        self.root.write_bytes(root()[1].public_bytes(Encoding.PEM))

    def sign(self, content: bytes, signer: Person, *options: str) -> bytes:
        certificate, key = signer.write(self.folder)
        return run(
            "openssl", "cms", "-sign", "-binary", "-outform", "DER",
            "-signer", certificate, "-inkey", key, *options, data=content,
        )  # fmt: skip

    def resign(self, message: bytes, signer: Person) -> bytes:
        """Add a second signer to an opaque message."""
        certificate, key = signer.write(self.folder)
        return run(
            "openssl", "cms", "-resign", "-binary", "-inform", "DER", "-outform", "DER",
            "-nodetach", "-signer", certificate, "-inkey", key, data=message,
        )  # fmt: skip

    def verify(
        self, message: bytes, detached: bytes | None = None, *, cades: bool = False
    ) -> bytes:
        """The content that openssl found signed. Raises Refused."""
        given: list[str | Path] = ["-cades"] if cades else []
        if detached is not None:
            (self.folder / "content").write_bytes(detached)
            given += ["-content", self.folder / "content"]
        return run(
            "openssl", "cms", "-verify", "-binary", "-inform", "DER", "-CAfile", self.root,
            "-purpose", "smimesign", *given, data=message,
        )  # fmt: skip

    def encrypt(
        self, content: bytes, recipients: list[Person], cipher: str, *options: str
    ) -> bytes:
        """``options``: those with values (-keyopt) apply to the last recipient."""
        before = [option for option in options if option in ("-keyid", "-stream", "-indef")]
        after = [option for option in options if option not in before]
        named: list[str | Path] = []
        for recipient in recipients:
            named += ["-recip", recipient.write(self.folder)[0]]
        legacy = ["-provider", "legacy", "-provider", "default"] if "rc2" in cipher else []
        return run(
            "openssl", "cms", "-encrypt", *legacy, f"-{cipher}", "-binary", "-outform", "DER",
            *before, *named, *after, data=content,
        )  # fmt: skip

    def decrypt(self, message: bytes, reader: Person) -> bytes:
        certificate, key = reader.write(self.folder)
        return run(
            "openssl", "cms", "-decrypt", "-binary", "-inform", "DER",
            "-recip", certificate, "-inkey", key, data=message,
        )  # fmt: skip

    def structure(self, message: bytes) -> str:
        """openssl's view of a message, for people."""
        printed = run(
            "openssl", "cms", "-cmsout", "-print", "-noout", "-inform", "DER", data=message
        )
        return printed.decode("utf-8", "replace")


class Gpgsm:
    """gpgsm with a home of its own, the test root trusted, revocation checks off."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "g"  # short: the agent's socket lives in it
        self.home.mkdir(mode=0o700)
        fingerprint = hashlib.sha1(root_der(), usedforsecurity=False).hexdigest().upper()
        (self.home / "trustlist.txt").write_text(f"{fingerprint} S relax\n")
        (self.home / "gpgsm.conf").write_text("disable-crl-checks\nbatch\nno-tty\n")
        (self.home / "gpg-agent.conf").write_text("allow-loopback-pinentry\n")
        self.call("--import", data=root_der())

    def call(self, *arguments: str | Path, data: bytes | None = None) -> bytes:
        return run(
            "gpgsm", "--homedir", self.home, "--disable-dirmngr", "--yes", *arguments, data=data
        )

    def call_with_key(self, *arguments: str | Path) -> bytes:
        """A call that uses a private key: the pass phrase travels on standard input."""
        loopback = ("--pinentry-mode", "loopback", "--passphrase-fd", "0")
        return self.call(*loopback, *arguments, data=b"x\n")

    def learn(self, person: Person) -> None:
        self.call("--import", data=person.certificate)

    def hold(self, person: Person) -> None:
        """Import an RSA key; gpgsm 2.2 takes no other kind from PKCS#12."""
        certificate, key = person.write(self.folder)
        path = self.folder / f"{person.name}.p12"
        run(
            "openssl", "pkcs12", "-export", "-legacy", "-in", certificate, "-inkey", key,
            "-out", path, "-passout", "pass:x",
        )  # fmt: skip
        self.call_with_key("--import", path)

    def verify(self, message: bytes, detached: bytes | None = None) -> None:
        (self.folder / "message").write_bytes(message)
        files: list[str | Path] = [self.folder / "message"]
        if detached is not None:
            (self.folder / "content").write_bytes(detached)
            files.append(self.folder / "content")
        self.call("--verify", *files)

    def decrypt(self, message: bytes) -> bytes:
        """Judged by its status line: it leaves with an error when somebody else's RecipientInfo
        comes first, although it decrypts with the next one."""
        (self.folder / "message").write_bytes(message)
        done = subprocess.run(
            [
                "gpgsm", "--homedir", self.home, "--disable-dirmngr", "--yes", "--status-fd", "2",
                "--pinentry-mode", "loopback", "--passphrase-fd", "0",
                "--decrypt", self.folder / "message",
            ],
            input=b"x\n", capture_output=True, timeout=60, check=False,
        )  # fmt: skip
        if b"[GNUPG:] DECRYPTION_OKAY" not in done.stderr:
            raise Refused(done.stderr.decode("utf-8", "replace")[-2000:])
        return done.stdout

    def encrypt(self, content: bytes, recipient: Person, cipher: str) -> bytes:
        address = f"<{recipient.name}@acme.example>"
        return self.call("--encrypt", "-r", address, "--cipher-algo", cipher, data=content)

    def sign(self, content: bytes, signer: Person, *options: str) -> bytes:
        (self.folder / "content").write_bytes(content)
        address = f"<{signer.name}@acme.example>"
        return self.call_with_key("--sign", *options, "-u", address, self.folder / "content")

    def close(self) -> None:
        run("gpgconf", "--homedir", self.home, "--kill", "all")


class Nss:
    """NSS cmsutil with a database of its own, the test root trusted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = f"sql:{folder}"
        run("certutil", "-N", "-d", self.database, "--empty-password")
        (folder / "root.der").write_bytes(root_der())
        run(
            "certutil", "-A", "-d", self.database, "-n", "root", "-t", "CT,C,C",
            "-i", folder / "root.der",
        )  # fmt: skip

    def learn(self, person: Person) -> None:
        path = self.folder / f"{person.name}.der"
        path.write_bytes(person.certificate)
        run("certutil", "-A", "-d", self.database, "-n", person.name, "-t", ",,", "-i", path)

    def hold(self, person: Person) -> None:
        certificate, key = person.write(self.folder)
        path = self.folder / f"{person.name}.p12"
        run(
            "openssl", "pkcs12", "-export", "-legacy", "-in", certificate, "-inkey", key,
            "-name", person.name, "-out", path, "-passout", "pass:x",
        )  # fmt: skip
        run("pk12util", "-d", self.database, "-i", path, "-W", "x")

    def open(self, message: bytes, detached: bytes | None = None) -> bytes:
        """``cmsutil -D``: verifies or decrypts, prints the content. Raises Refused."""
        (self.folder / "message").write_bytes(message)
        given: list[str | Path] = []
        if detached is not None:
            (self.folder / "content").write_bytes(detached)
            given = ["-c", self.folder / "content"]
        return run(
            "cmsutil", "-D", "-d", self.database, "-i", self.folder / "message", *given, "-u", "4"
        )

    def encrypt(self, content: bytes, recipient: Person) -> bytes:
        (self.folder / "content").write_bytes(content)
        address = f"{recipient.name}@acme.example"
        return run(
            "cmsutil", "-E", "-d", self.database, "-i", self.folder / "content", "-r", address
        )

    def sign(self, content: bytes, signer: Person, *options: str) -> bytes:
        (self.folder / "content").write_bytes(content)
        return run(
            "cmsutil", "-S", "-d", self.database, "-N", signer.name, "-G", *options,
            "-i", self.folder / "content",
        )  # fmt: skip


class BouncyCastle:
    """Bouncy Castle's CMS classes, driven by ``peer/Peer.java``."""

    JARS = [f"/usr/share/java/{name}.jar" for name in ("bcpkix", "bcprov", "bcutil")]

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        source = Path(__file__).with_name("peer") / "Peer.java"
        run("javac", "-cp", ":".join(self.JARS), "-d", folder, source)
        classes = ":".join([*self.JARS, str(folder)])
        self.process = subprocess.Popen(
            ["java", "-cp", classes, "Peer"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def _call(self, act: str, data: bytes, *arguments: str | Path) -> bytes:
        given, answer = self.folder / "given", self.folder / "answer"
        given.write_bytes(data)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(act, answer, given, *arguments, sep="\t", file=self.process.stdin, flush=True)
        said = self.process.stdout.readline().strip()
        if said != "ok":
            raise Refused(said)
        return answer.read_bytes()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()

    def _files(self, person: Person) -> tuple[Path, Path]:
        certificate, key = self.folder / "certificate", self.folder / "key"
        certificate.write_bytes(person.certificate)
        key.write_bytes(
            person.private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        )
        return certificate, key

    def verify(self, message: bytes, detached: bytes | None = None) -> bytes:
        if detached is None:
            return self._call("verify", message)
        (self.folder / "content").write_bytes(detached)
        return self._call("verify", message, self.folder / "content")

    def sign(
        self, content: bytes, signer: Person, kind: str, algorithm: str, *, opaque: bool
    ) -> bytes:
        form = "opaque" if opaque else "detached"
        return self._call("sign", content, *self._files(signer), kind, algorithm, form)

    def encrypt(self, content: bytes, reader: Person, cipher: str, transport: str) -> bytes:
        return self._call("encrypt", content, self._files(reader)[0], cipher, transport)

    def decrypt(self, message: bytes, reader: Person, kind: str, mode: str) -> bytes:
        return self._call("decrypt", message, self._files(reader)[1], kind, mode)

    def compress(self, content: bytes) -> bytes:
        return self._call("compress", content)
