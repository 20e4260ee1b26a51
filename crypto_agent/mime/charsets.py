"""Octets to text, for charsets as mail names them: an allow-list, loaded when the module is.

Python's own look-up would import a module for whatever a stranger writes after ``charset=``, which
a confined process may not do, and some of its codecs are no charsets at all (``unicode_escape``).
UTF-7 is refused: text in it changes its meaning after every filter has looked at it.
"""

from __future__ import annotations

import codecs
import re
from typing import Final

_CODECS: Final = {
    "ascii": "us-ascii ascii ansi_x3.4-1968 646 iso646-us",
    "utf-8": "utf-8 utf8 unicode-1-1-utf-8",
    "utf-16": "utf-16 utf16",
    "utf-16-le": "utf-16le",
    "utf-16-be": "utf-16be",
    "utf-32": "utf-32",
    # As browsers do (WHATWG Encoding), Latin-1 means Windows-1252: its C1 range is never meant.
    "cp1252": "windows-1252 cp1252 iso-8859-1 iso8859-1 iso_8859-1 latin1 latin-1 l1 x-ansi",
    "iso8859-2": "iso-8859-2 latin2",
    "iso8859-3": "iso-8859-3",
    "iso8859-4": "iso-8859-4",
    "iso8859-5": "iso-8859-5",
    "iso8859-6": "iso-8859-6",
    "iso8859-7": "iso-8859-7",
    "iso8859-8": "iso-8859-8 iso-8859-8-i iso-8859-8-e",
    "iso8859-9": "iso-8859-9",
    "iso8859-10": "iso-8859-10",
    "iso8859-11": "iso-8859-11 tis-620",
    "iso8859-13": "iso-8859-13",
    "iso8859-14": "iso-8859-14",
    "iso8859-15": "iso-8859-15 latin-9 latin9",
    "iso8859-16": "iso-8859-16",
    "cp1250": "windows-1250 cp1250",
    "cp1251": "windows-1251 cp1251",
    "cp1253": "windows-1253 cp1253",
    "cp1254": "windows-1254 cp1254",
    "cp1255": "windows-1255 cp1255",
    "cp1256": "windows-1256 cp1256",
    "cp1257": "windows-1257 cp1257",
    "cp1258": "windows-1258 cp1258",
    "cp874": "windows-874",
    "cp437": "cp437 ibm437",
    "cp850": "cp850 ibm850",
    "cp866": "cp866 ibm866",
    "koi8-r": "koi8-r",
    "koi8-u": "koi8-u",
    "mac-roman": "macintosh x-mac-roman",
    # GB 18030 contains GBK contains GB 2312; senders name the oldest and use the newest.
    "gb18030": "gb18030 gb2312 gbk cp936 x-gbk gb_2312-80 euc-cn",
    "hz": "hz-gb-2312",
    "big5hkscs": "big5 big5-hkscs cp950 x-x-big5",
    "cp932": "shift_jis shift-jis sjis x-sjis windows-31j cp932 ms_kanji",
    "euc_jp": "euc-jp x-euc-jp",
    "iso2022_jp_2": "iso-2022-jp iso-2022-jp-2",
    "iso2022_jp_ext": "iso-2022-jp-ext",
    "cp949": "euc-kr ks_c_5601-1987 ks_c_5601-1989 ksc5601 cp949 korean windows-949",
    "iso2022_kr": "iso-2022-kr",
}

_NOT_A_NAME: Final = re.compile(r"[^a-z0-9._:-]")


def _load() -> dict[str, codecs.CodecInfo]:
    """Look every codec up and use it once: some load their tables at the first use only."""
    found = {}
    for codec, names in _CODECS.items():
        info = codecs.lookup(codec)
        info.decode(b"", "replace")
        if not codec.startswith(("utf-16", "utf-32")):
            info.decode(b"a\x1b$BFw\x1b(B\x80\xa4\xa2\xff~{VP~}", "replace")
        for name in names.split():
            found[name] = info
    return found


_FOUND: Final = _load()

REFUSED: Final = frozenset({"utf-7", "utf7", "unicode-1-1-utf-7", "x-unicode-2-0-utf-7"})


def decode(data: bytes, charset: str) -> str:
    """Text of ``data``; never raises.

    A known charset is obeyed, with U+FFFD for octets it does not know. For one that is unknown,
    refused or not given (``unknown-8bit``): UTF-8 when that fits, else Windows-1252.
    """
    name = _NOT_A_NAME.sub("", charset.strip().lower())
    info = _FOUND.get(name)
    if info is None or name in ("us-ascii", "ascii"):
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            info = _FOUND["cp1252"]
    return info.decode(data, "replace")[0]
