"""Keys and tokens, good and bad, made by PyJWT: an implementation that the bank has nothing to do with.

    python tokens.py DIRECTORY

Writes the public keys into the directory and prints the tokens by name, as JSON. What the server says to
each is in tokens.rs.
"""

import base64
import hashlib
import hmac
import json
import sys
import time
from pathlib import Path

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

ISSUER, AUDIENCE = "https://issuer.test", "bank"
SECRET = b"a secret of thirty-two bytes or more"

ED = ed25519.Ed25519PrivateKey.generate()
EC = ec.generate_private_key(ec.SECP256R1())
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
# Keys that the bank does not know, and kinds that it does not take.
OTHER_ED = ed25519.Ed25519PrivateKey.generate()
OTHER_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
SMALL_RSA = rsa.generate_private_key(public_exponent=65537, key_size=1024)
P384 = ec.generate_private_key(ec.SECP384R1())

NOW = int(time.time())


def claims(**changes):
    """Claims of a good token, with changes; None takes one out."""
    good = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "exp": NOW + 3600, "iat": NOW, "scope": "bank.read bank.write"}
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def token(key=ED, algorithm="EdDSA", kid="ed", headers=None, **changes):
    headers = {**({} if kid is None else {"kid": kid}), **(headers or {})}
    return jwt.encode(claims(**changes), key, algorithm=algorithm, headers=headers)


def public_pem(key):
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form)


def public_jwk(key, kid, algorithm, **more):
    to_jwk = {"EdDSA": jwt.algorithms.OKPAlgorithm, "RS256": jwt.algorithms.RSAAlgorithm}
    to_jwk = to_jwk.get(algorithm, jwt.algorithms.ECAlgorithm).to_jwk
    return {**json.loads(to_jwk(key.public_key())), "kid": kid, **more}


def b64(raw):
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def by_hand(header, payload, secret):
    """What no library makes: HS256 with anything as the secret, and any payload."""
    message = b64(json.dumps(header).encode()) + "." + b64(payload)
    return message + "." + b64(hmac.new(secret, message.encode(), hashlib.sha256).digest())


def tampered(good):
    header, payload, signature = good.split(".")
    changed = json.loads(base64.urlsafe_b64decode(payload + "=="))
    changed["sub"] = "bob"
    return f"{header}.{b64(json.dumps(changed).encode())}.{signature}"


def cases():
    good = token()
    header, payload, signature = good.split(".")
    good_payload = json.dumps(claims()).encode()
    return {
        # Good.
        "ed25519": good,
        "p256": token(EC, "ES256", "ec"),
        "rsa": token(RSA, "RS256", "rsa"),
        "audience among others": token(aud=["other", AUDIENCE]),
        "scopes as a list": token(scope=None, scp=["bank.read", "bank.write"]),
        "a list whose elements are no whole scopes": token(scope=["x bank.read", "bank.read bank.write", " bank.read", "bank.read "]),
        "scopes as a text under scp": token(scope=None, scp="bank.read bank.write"),
        "expired within the leeway": token(exp=NOW - 5),
        "not yet valid within the leeway": token(nbf=NOW + 25),
        "a time with a fraction": token(exp=NOW + 3600.5),
        "headers that mean nothing here": token(headers={"jku": "https://attacker.test", "x5u": "https://attacker.test"}),
        "a subject of 128 characters": token(sub="s" * 128),
        # Good, but without leave.
        "no scopes": token(scope=None),
        "scopes of other services": token(scope="openid bank.reads BANK.READ"),
        # Of another time.
        "expired": token(exp=NOW - 60),
        "expired long ago": token(exp=1),
        "not yet valid": token(nbf=NOW + 120),
        # For others, or from others.
        "wrong audience": token(aud="another-bank"),
        "wrong audiences": token(aud=["other", "another-bank"]),
        "audience in another case": token(aud="Bank"),
        "wrong issuer": token(iss="https://attacker.test"),
        "issuer with a slash": token(iss=ISSUER + "/"),
        "issuers as a list": by_key_anyway(claims(iss=[ISSUER])),
        # Without what must be there, or with something else in its place.
        "no expiry": token(exp=None),
        "no issuer": token(iss=None),
        "no audience": token(aud=None),
        "no subject": token(sub=None),
        "expiry as a text": by_key_anyway(claims(exp=str(NOW + 3600))),
        "expiry before time": by_key_anyway(claims(exp=-1)),
        "not-before as a text": by_key_anyway(claims(nbf="soon")),
        "subject as a number": by_key_anyway(claims(sub=7)),
        "scope as a number": by_key_anyway(claims(scope=7)),
        "claims as a list": by_key_raw(b"[]"),
        "claims twice": by_key_raw(good_payload[:-1] + b', "sub": "bob"}'),
        "no claims": by_key_raw(b""),
        # Subjects that cannot own an account.
        "an empty subject": token(sub=""),
        "a subject with a space": token(sub="alice smith"),
        "a subject of 129 characters": token(sub="s" * 129),
        "a subject with a line break": token(sub="alice\nroot"),
        # Of other keys.
        "wrong key": token(OTHER_ED),
        "wrong rsa key": token(OTHER_RSA, "RS256", "rsa"),
        "key of another kind": token(ED, "EdDSA", "rsa"),
        "another key's id": token(EC, "ES256", "ed"),
        "unknown key id": token(OTHER_ED, kid="unknown"),
        "no key id": token(kid=None),
        "a key that is left out": token(SMALL_RSA, "RS256", "small"),
        "a curve that is left out": token(P384, "ES384", "p384"),
        # Of other algorithms than the key's.
        "alg none": jwt.encode(claims(), None, algorithm="none", headers={"kid": "ed"}),
        "alg none with a signature": jwt.encode(claims(), None, algorithm="none", headers={"kid": "ed"}) + signature,
        "alg None": by_hand({"alg": "None", "kid": "ed"}, good_payload, b""),
        "hs256 signed with the rsa public key": by_hand({"alg": "HS256", "kid": "rsa"}, good_payload, public_pem(RSA)),
        "hs256 signed with the ed25519 public key": by_hand(
            {"alg": "HS256", "kid": "ed"},
            good_payload,
            ED.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw),
        ),
        "hs256 signed with the development secret": by_hand({"alg": "HS256", "kid": "ed"}, good_payload, SECRET),
        "rs512": token(RSA, "RS512", "rsa"),
        "ps256": token(RSA, "PS256", "rsa"),
        # Headers that must be understood.
        "crit": token(headers={"crit": ["exp"]}),
        "crit of nothing": token(headers={"crit": []}),
        "crit of b64": token(headers={"crit": ["b64"], "b64": False}),
        # Damaged.
        "tampered": tampered(good),
        "signature cut": good[:-2],
        "signature missing": f"{header}.{payload}.",
        "signature of another": f"{header}.{payload}.{token(sub='bob').split('.')[2]}",
        "two parts": f"{header}.{payload}",
        "four parts": f"{good}.{signature}",
        "one part": header,
        "dots": "..",
        "padding": f"{header}=.{payload}.{signature}",
        "header that is no json": f"{b64(b'{')}.{payload}.{signature}",
        "two tokens": f"{good},{good}",
        "huge": token(padding="x" * 8000),
    }


def by_key_raw(payload):
    """Signed by the right key, with claims that PyJWT would not sign."""
    message = b64(json.dumps({"alg": "EdDSA", "kid": "ed"}).encode()) + "." + b64(payload)
    return message + "." + b64(ED.sign(message.encode()))


def by_key_anyway(odd):
    return by_key_raw(json.dumps(odd).encode())


def main():
    directory = Path(sys.argv[1])
    jwks = {
        "keys": [
            public_jwk(ED, "ed", "EdDSA"),
            public_jwk(EC, "ec", "ES256", alg="ES256", use="sig"),
            public_jwk(RSA, "rsa", "RS256", alg="RS256", key_ops=["verify"]),
            # The bank leaves these out.
            public_jwk(SMALL_RSA, "small", "RS256"),
            public_jwk(P384, "p384", "ES384"),
            public_jwk(OTHER_RSA, "for encryption", "RS256", use="enc"),
            {**public_jwk(OTHER_ED, "private", "EdDSA"), "d": b64(OTHER_ED.private_bytes_raw())},
            {"kty": "oct", "kid": "shared", "k": b64(SECRET)},
            {"kty": "OKP", "crv": "Ed25519", "x": b64(b"no id" * 7)[:43]},
            "nonsense",
        ]
    }
    (directory / "jwks.json").write_text(json.dumps(jwks))
    (directory / "secret").write_bytes(SECRET + b"\n")
    for name, key in {"ed25519": ED, "p256": EC, "rsa": RSA, "small-rsa": SMALL_RSA, "p384": P384}.items():
        (directory / f"{name}.pem").write_bytes(public_pem(key))
    tokens = cases()
    tokens["hs256"] = jwt.encode(claims(), SECRET, algorithm="HS256")
    tokens["hs256 with another secret"] = jwt.encode(claims(), SECRET + b"!", algorithm="HS256")
    print(json.dumps(tokens))


if __name__ == "__main__":
    main()
