"""Object identifiers, with the RFC that gives each."""

from __future__ import annotations

from typing import Final

# content types: RFC 5652 §4, 5083 §2, 3274 §2, 3161 §2.4.2
DATA: Final = "1.2.840.113549.1.7.1"
SIGNED_DATA: Final = "1.2.840.113549.1.7.2"
ENVELOPED_DATA: Final = "1.2.840.113549.1.7.3"
AUTH_ENVELOPED_DATA: Final = "1.2.840.113549.1.9.16.1.23"
COMPRESSED_DATA: Final = "1.2.840.113549.1.9.16.1.9"
TST_INFO: Final = "1.2.840.113549.1.9.16.1.4"
OCSP_RESPONSE: Final = "1.3.6.1.5.5.7.16.2"  # RFC 5940 §2

# attributes
CONTENT_TYPE: Final = "1.2.840.113549.1.9.3"  # RFC 5652 §11.1
MESSAGE_DIGEST: Final = "1.2.840.113549.1.9.4"  # RFC 5652 §11.2
SIGNING_TIME: Final = "1.2.840.113549.1.9.5"  # RFC 5652 §11.3
SMIME_CAPABILITIES: Final = "1.2.840.113549.1.9.15"  # RFC 8551 §2.5.2
ENCRYPTION_KEY_PREFERENCE: Final = "1.2.840.113549.1.9.16.2.11"  # RFC 8551 §2.5.3
MICROSOFT_ENCRYPTION_KEY: Final = "1.3.6.1.4.1.311.16.4"  # the same for Outlook, [MS-OXOSMIME]
SIGNING_CERTIFICATE: Final = "1.2.840.113549.1.9.16.2.12"  # RFC 2634 §5.4
SIGNING_CERTIFICATE_V2: Final = "1.2.840.113549.1.9.16.2.47"  # RFC 5035 §3
ALGORITHM_PROTECTION: Final = "1.2.840.113549.1.9.52"  # RFC 6211 §2
TIMESTAMP_TOKEN: Final = "1.2.840.113549.1.9.16.2.14"  # noqa: S105 - RFC 3161 App. A, RFC 5126

# digests: RFC 5754 §2, 8702 §3.1, 9688 §2
DIGESTS: Final = {
    "1.2.840.113549.2.5": "md5",
    "1.3.14.3.2.26": "sha1",
    "2.16.840.1.101.3.4.2.4": "sha224",
    "2.16.840.1.101.3.4.2.1": "sha256",
    "2.16.840.1.101.3.4.2.2": "sha384",
    "2.16.840.1.101.3.4.2.3": "sha512",
    "2.16.840.1.101.3.4.2.7": "sha3_224",
    "2.16.840.1.101.3.4.2.8": "sha3_256",
    "2.16.840.1.101.3.4.2.9": "sha3_384",
    "2.16.840.1.101.3.4.2.10": "sha3_512",
    "2.16.840.1.101.3.4.2.12": "shake_256",
    "2.16.840.1.101.3.4.2.18": "shake_256",  # id-shake256-len, RFC 8419 §2.3: 512 bits
}
DIGEST_OIDS: Final = {
    "sha1": "1.3.14.3.2.26",
    "sha224": "2.16.840.1.101.3.4.2.4",
    "sha256": "2.16.840.1.101.3.4.2.1",
    "sha384": "2.16.840.1.101.3.4.2.2",
    "sha512": "2.16.840.1.101.3.4.2.3",
}
SHAKE256_LEN: Final = "2.16.840.1.101.3.4.2.18"

# keys and signatures: RFC 3370 §3, 5754 §3, 4056 §2, 8410 §3, 9882 §2
RSA: Final = "1.2.840.113549.1.1.1"
RSA_PSS: Final = "1.2.840.113549.1.1.10"
RSA_OAEP: Final = "1.2.840.113549.1.1.7"
MGF1: Final = "1.2.840.113549.1.1.8"
P_SPECIFIED: Final = "1.2.840.113549.1.1.9"
EC_PUBLIC_KEY: Final = "1.2.840.10045.2.1"
P256: Final = "1.2.840.10045.3.1.7"
P384: Final = "1.3.132.0.34"
P521: Final = "1.3.132.0.35"
X25519: Final = "1.3.101.110"
ED25519: Final = "1.3.101.112"
ED448: Final = "1.3.101.113"
ML_KEM_768: Final = "2.16.840.1.101.3.4.4.2"
ML_KEM_1024: Final = "2.16.840.1.101.3.4.4.3"
RSA_SIGNATURES: Final = {
    RSA: "",
    "1.2.840.113549.1.1.4": "md5",
    "1.2.840.113549.1.1.5": "sha1",
    "1.2.840.113549.1.1.14": "sha224",
    "1.2.840.113549.1.1.11": "sha256",
    "1.2.840.113549.1.1.12": "sha384",
    "1.2.840.113549.1.1.13": "sha512",
    "2.16.840.1.101.3.4.3.13": "sha3_224",
    "2.16.840.1.101.3.4.3.14": "sha3_256",
    "2.16.840.1.101.3.4.3.15": "sha3_384",
    "2.16.840.1.101.3.4.3.16": "sha3_512",
}
"""Digest that the identifier names; empty when it leaves that to digestAlgorithm."""
ECDSA_SIGNATURES: Final = {
    EC_PUBLIC_KEY: "",
    "1.2.840.10045.4.1": "sha1",
    "1.2.840.10045.4.3.1": "sha224",
    "1.2.840.10045.4.3.2": "sha256",
    "1.2.840.10045.4.3.3": "sha384",
    "1.2.840.10045.4.3.4": "sha512",
    "2.16.840.1.101.3.4.3.9": "sha3_224",
    "2.16.840.1.101.3.4.3.10": "sha3_256",
    "2.16.840.1.101.3.4.3.11": "sha3_384",
    "2.16.840.1.101.3.4.3.12": "sha3_512",
}
ECDSA_OIDS: Final = {
    "sha256": "1.2.840.10045.4.3.2",
    "sha384": "1.2.840.10045.4.3.3",
    "sha512": "1.2.840.10045.4.3.4",
}
ML_DSA: Final = {
    "2.16.840.1.101.3.4.3.17": "ml-dsa-44",
    "2.16.840.1.101.3.4.3.18": "ml-dsa-65",
    "2.16.840.1.101.3.4.3.19": "ml-dsa-87",
}

# content encryption: RFC 3565, 5084, 3370 §5, 8103
AES_128_CBC: Final = "2.16.840.1.101.3.4.1.2"
AES_192_CBC: Final = "2.16.840.1.101.3.4.1.22"
AES_256_CBC: Final = "2.16.840.1.101.3.4.1.42"
AES_128_GCM: Final = "2.16.840.1.101.3.4.1.6"
AES_192_GCM: Final = "2.16.840.1.101.3.4.1.26"
AES_256_GCM: Final = "2.16.840.1.101.3.4.1.46"
AES_128_CCM: Final = "2.16.840.1.101.3.4.1.7"
AES_192_CCM: Final = "2.16.840.1.101.3.4.1.27"
AES_256_CCM: Final = "2.16.840.1.101.3.4.1.47"
CHACHA20_POLY1305: Final = "1.2.840.113549.1.9.16.3.18"
DES_EDE3_CBC: Final = "1.2.840.113549.3.7"
RC2_CBC: Final = "1.2.840.113549.3.2"
CEK_HKDF_SHA256: Final = "1.2.840.113549.1.9.16.3.31"  # RFC 9709 §2
ZLIB_COMPRESS: Final = "1.2.840.113549.1.9.16.3.8"  # RFC 3274 §2

# key wrap and agreement: RFC 3565 §2.3.2, 3370 §4.3.1, 5753 §7.1.4, 8418 §3
AES_128_WRAP: Final = "2.16.840.1.101.3.4.1.5"
AES_192_WRAP: Final = "2.16.840.1.101.3.4.1.25"
AES_256_WRAP: Final = "2.16.840.1.101.3.4.1.45"
CMS_3DES_WRAP: Final = "1.2.840.113549.1.9.16.3.6"
X963_SCHEMES: Final = {
    "1.3.133.16.840.63.0.2": "sha1",  # dhSinglePass-stdDH; openssl's choice when not told
    "1.3.132.1.11.0": "sha224",
    "1.3.132.1.11.1": "sha256",
    "1.3.132.1.11.2": "sha384",
    "1.3.132.1.11.3": "sha512",
    "1.3.133.16.840.63.0.3": "sha1",  # dhSinglePass-cofactorDH; same for curves of cofactor 1
    "1.3.132.1.14.0": "sha224",
    "1.3.132.1.14.1": "sha256",
    "1.3.132.1.14.2": "sha384",
    "1.3.132.1.14.3": "sha512",
}
HKDF_SCHEMES: Final = {
    "1.2.840.113549.1.9.16.3.19": "sha256",
    "1.2.840.113549.1.9.16.3.20": "sha384",
    "1.2.840.113549.1.9.16.3.21": "sha512",
}
ORI_KEM: Final = "1.2.840.113549.1.9.16.13.3"  # RFC 9629 §3
HKDF_SHA256: Final = "1.2.840.113549.1.9.16.3.28"  # RFC 8619 §2

# extensions and purposes
SUBJECT_KEY_IDENTIFIER: Final = "2.5.29.14"
EXTENDED_KEY_USAGE: Final = "2.5.29.37"
TIME_STAMPING: Final = "1.3.6.1.5.5.7.3.8"  # RFC 3161 §2.3
