"""Salted hashes of passwords, for systems that keep their own: tables and files. Each has the form that its readers know."""

import base64
import hashlib
import secrets
from collections.abc import Callable, Mapping
from enum import StrEnum

import argon2
import bcrypt
from passlib.hash import sha512_crypt

#: crypt(3), SHA512: 2.7 ms for 5,000 rounds here; this many take about 50 ms.
_SHA512_ROUNDS = 100_000
_BCRYPT_COST = 12
_BCRYPT_LIMIT = 72
_SSHA512_SALT = 16


class Unhashable(Exception):
    """The scheme cannot take this password; a shorter or other one would be stored in its place. The message holds none of it."""


class Scheme(StrEnum):
    """How a password is kept."""

    ARGON2ID = "argon2id"  # RFC 9106, PHC string
    BCRYPT = "bcrypt"  # $2b$
    SHA512_CRYPT = "sha512-crypt"  # $6$, crypt(3)
    SSHA512 = "ssha512"  # {SSHA512}: SHA-512 over password and salt; fast, so weak against a stolen file


def salted_hash(scheme: Scheme, password: str) -> str:
    """With a new salt each time; ASCII. Raises Unhashable."""
    if not password:
        raise Unhashable("an empty password is not stored")
    return _HASHERS[scheme](password)


def _argon2id(password: str) -> str:
    return argon2.PasswordHasher().hash(password)


def _bcrypt(password: str) -> str:
    raw = password.encode()
    if len(raw) > _BCRYPT_LIMIT:
        raise Unhashable(f"bcrypt looks at {_BCRYPT_LIMIT} bytes and this password has more")
    _no_nul(password)
    return bcrypt.hashpw(raw, bcrypt.gensalt(_BCRYPT_COST)).decode()


def _sha512_crypt(password: str) -> str:
    _no_nul(password)
    return str(sha512_crypt.using(rounds=_SHA512_ROUNDS).hash(password))


def _ssha512(password: str) -> str:
    salt = secrets.token_bytes(_SSHA512_SALT)
    return "{SSHA512}" + base64.b64encode(hashlib.sha512(password.encode() + salt).digest() + salt).decode()


def _no_nul(password: str) -> None:
    """Readers in C would stop there, and take the beginning alone."""
    if "\0" in password:
        raise Unhashable("this scheme ends a password at a NUL character")


_HASHERS: Mapping[Scheme, Callable[[str], str]] = {
    Scheme.ARGON2ID: _argon2id,
    Scheme.BCRYPT: _bcrypt,
    Scheme.SHA512_CRYPT: _sha512_crypt,
    Scheme.SSHA512: _ssha512,
}
