"""The CMS engine: pure functions of bytes (RFC 5652, profiled by S/MIME 4.0, RFC 8551).

No I/O, no clock, no keys held. Private keys are used through the protocols in
:mod:`crypto_agent.cms.keys`; the content of hostile messages never raises anything but
:class:`crypto_agent.cms.errors.CmsError`.
"""
