"""Keys and tokens made by another library (PyJWT): writes a JSON Web Key Set into a folder, prints tokens by name as JSON.

tokens.py FOLDER SECRET PREVIOUS ISSUER AUDIENCE
"""
import base64, hashlib, hmac, json, sys, time
import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

folder, secret, previous, issuer, audience = sys.argv[1:]
keys = {
    "rsa": rsa.generate_private_key(65537, 2048), "p256": ec.generate_private_key(ec.SECP256R1()),
    "p384": ec.generate_private_key(ec.SECP384R1()), "p521": ec.generate_private_key(ec.SECP521R1()),
    "ed": ed25519.Ed25519PrivateKey.generate(),
}
kinds = {"rsa": jwt.algorithms.RSAAlgorithm, "ed": jwt.algorithms.OKPAlgorithm}
jwks = []
for kid, key in keys.items():
    jwk = json.loads(kinds.get(kid, jwt.algorithms.ECAlgorithm).to_jwk(key.public_key()))
    jwks.append({k: v for k, v in jwk.items() if k != "key_ops"} | {"kid": kid, "use": "sig"})
with open(folder + "/jwks.json", "w") as file: json.dump({"keys": jwks}, file)

now = int(time.time())
claims = {"sub": "alice", "iss": issuer, "aud": audience, "exp": now + 600, "threads": ["t1", "t2"], "jobs": ["j1"],
          "metadata": {"plan": "pro"}}


def token(algorithm, key, kid=None, **changes):
    payload = {k: v for k, v in (claims | changes).items() if v is not None}
    return jwt.encode(payload, key, algorithm=algorithm, headers={"kid": kid} if kid else None)


def raw(header, payload, key=b""):
    part = lambda value: base64.urlsafe_b64encode(value).rstrip(b"=")
    signed = part(json.dumps(header).encode()) + b"." + part(payload)
    signature = hmac.new(key, signed, hashlib.sha256).digest() if key else b""
    return (signed + b"." + part(signature)).decode()


tokens = {f"good {a}": token(a, secret) for a in ("HS256", "HS384", "HS512")}
tokens["good previous"] = token("HS256", previous)
for a in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"): tokens[f"good {a}"] = token(a, keys["rsa"], "rsa")
tokens["good ES256"] = token("ES256", keys["p256"], "p256")
tokens["good ES384"] = token("ES384", keys["p384"], "p384")
tokens["good ES512"] = token("ES512", keys["p521"], "p521")
tokens["good EdDSA"] = token("EdDSA", keys["ed"], "ed")
tokens["good other user"] = token("HS256", secret, sub="bob")
tokens["good non-ASCII"] = token("HS256", secret, sub="用户1")
tokens["good array aud"] = token("HS256", secret, aud=["x", audience])
tokens["good no rooms"] = token("HS256", secret, threads=None, jobs=None)
tokens["good one room"] = token("HS256", secret, threads=["t2", "t3"], jobs=None, exp=now + 900)
tokens["good in nanoseconds"] = token("HS256", secret, exp=now * 10**9)
tokens["good without end"] = raw({"alg": "HS256"}, json.dumps(claims | {"exp": 1e300}).encode(), secret.encode())
tokens["good soon"] = token("HS256", secret, exp=now + 4)
tokens["good barely expired"] = token("HS256", secret, exp=now - 2)

tokens["bad token_expired"] = token("HS256", secret, exp=now - 60)
tokens["bad token_not_yet_valid"] = token("HS256", secret, nbf=now + 600)
tokens["bad token_audience"] = token("HS256", secret, aud="another")
tokens["bad token_audience (none)"] = token("HS256", secret, aud=None)
tokens["bad token_issuer"] = token("HS256", secret, iss="another")
tokens["bad token_without_expiry"] = token("HS256", secret, exp=None)
tokens["bad token_signature (other secret)"] = token("HS256", "x" * 64)
tokens["bad token_signature (other key)"] = token("RS256", rsa.generate_private_key(65537, 2048), "rsa")
tokens["bad token_signature (of another)"] = token("HS256", secret, sub="eve").rsplit(".", 1)[0] + "." + token("HS256", secret).rsplit(".", 1)[1]
tokens["bad token_algorithm (none)"] = raw({"alg": "none"}, json.dumps(claims).encode())
tokens["bad token_algorithm (None)"] = raw({"alg": "NonE"}, json.dumps(claims).encode())
pem = keys["rsa"].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
tokens["bad token_signature (public key as secret)"] = raw({"alg": "HS256", "kid": "rsa"}, json.dumps(claims).encode(), pem)
tokens["bad token_unknown_key"] = token("RS256", keys["rsa"], "nobody")
tokens["bad token_unknown_key (none named)"] = token("ES256", keys["p256"], "rsa")
tokens["bad token_too_large"] = token("HS256", secret, metadata={"x": "y" * 9000})
tokens["bad token_subject (empty)"] = token("HS256", secret, sub="")
tokens["bad token_subject (long)"] = token("HS256", secret, sub="x" * 257)
tokens["bad token_subject (number)"] = raw({"alg": "HS256"}, json.dumps(claims | {"sub": 5}).encode(), secret.encode())
tokens["bad token_malformed (not UTF-8)"] = raw({"alg": "HS256"}, b'{"sub":"\xff\xfe","exp":9999999999}', secret.encode())
tokens["bad token_malformed"] = "not.a.token!"
print(json.dumps(tokens))
