//! Fuzz targets of what callers prove themselves with: see docs/fuzzing.md.

use super::access::Access;
use super::caller::{Caller, Known, Proof};
use super::credentials::Credentials;
use super::password::{hash, is_of};
use super::token::{keys_of, signed_by};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use quorate_fuzz::{Source, peak_bytes, run};
use quorate_types::{Clock, Entropy, Millis};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::json;
use std::sync::{Arc, LazyLock};

/// What a header may cost that is a few hundred bytes long.
const HEADER_BYTES: usize = 64 << 10;

#[test]
fn fuzz_credentials() {
    run!(|source, seen| {
        let (user, password) = (source.text().replace(':', ""), source.bytes(20));
        let encoded = STANDARD.encode([user.as_bytes(), b":", &password].concat());
        let mut header = format!("Basic {encoded}").into_bytes();
        assert!(Credentials::parse(&header) == Some(Credentials::Password { user, password }));
        seen.valid();
        source.damage(&mut header);
        let (read, peak) = peak_bytes(|| Credentials::parse(&header));
        assert!(peak <= HEADER_BYTES, "{peak} bytes");
        seen.damaged(read.is_some());
    });
}

struct Issuer(Ed25519KeyPair);

impl Issuer {
    fn new() -> Self {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self(Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap())
    }

    fn jwks(&self) -> String {
        let x = URL_SAFE_NO_PAD.encode(self.0.public_key().as_ref());
        json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": "1", "use": "sig" }] }).to_string()
    }

    /// A token of any header and payload: the signature is good.
    fn sign(&self, header: &[u8], payload: &[u8]) -> String {
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        let signature = URL_SAFE_NO_PAD.encode(self.0.sign(message.as_bytes()).as_ref());
        format!("{message}.{signature}")
    }
}

/// What an issuer signed is checked, whatever it is; what it did not sign is not even read.
#[test]
fn fuzz_token() {
    let issuer = Issuer::new();
    let keys = keys_of(issuer.jwks().as_bytes()).unwrap();
    run!(|source, seen| {
        let mut header = json!({ "alg": "EdDSA", "kid": "1" }).to_string().into_bytes();
        let (sub, exp) = (source.text(), source.number());
        let mut claims = json!({ "sub": sub, "exp": exp, "iss": "idp", "aud": ["quorate"] });
        if source.flip() {
            claims["nbf"] = source.number().into();
            claims["roles"] = (0..source.below(4)).map(|_| source.text()).collect();
        }
        let mut payload = claims.to_string().into_bytes();
        let token = issuer.sign(&header, &payload);
        assert!(signed_by(&keys, &token).is_ok());
        seen.valid();
        let choice = source.byte() % 3;
        match choice {
            0 => source.damage(&mut payload),
            1 => source.damage(&mut header),
            _ => {}
        }
        let mut token = issuer.sign(&header, &payload).into_bytes();
        if choice == 2 {
            source.damage(&mut token);
        }
        let token = String::from_utf8_lossy(&token);
        let now = source.number();
        let (read, peak) =
            peak_bytes(|| signed_by(&keys, &token).and_then(|claims| claims.check("idp", "quorate", now)));
        assert!(peak <= HEADER_BYTES, "{peak} bytes");
        seen.damaged(read.is_ok());
        if let Ok(read) = read {
            assert!(read.until > now && read.roles.is_none_or(|roles| roles.len() <= 32));
        }
    });
}

#[test]
fn fuzz_jwks() {
    let issuer = Issuer::new();
    let point = URL_SAFE_NO_PAD.encode([7; 32]);
    let rsa = URL_SAFE_NO_PAD.encode([9; 256]);
    let several = json!({ "keys": [
        { "kty": "EC", "crv": "P-256", "x": point, "y": point },
        { "kty": "RSA", "n": rsa, "e": "AQAB" },
        { "kty": "oct", "k": "AA" },
    ] })
    .to_string();
    let token = issuer.sign(br#"{"alg":"EdDSA"}"#, br#"{"sub":"ann","exp":9}"#);
    run!(|source, seen| {
        let mut jwks = if source.flip() { issuer.jwks() } else { several.clone() }.into_bytes();
        assert!(!keys_of(&jwks).unwrap().is_empty());
        seen.valid();
        source.damage(&mut jwks);
        let (keys, peak) = peak_bytes(|| keys_of(&jwks));
        assert!(peak <= HEADER_BYTES, "{peak} bytes");
        seen.damaged(keys.is_ok());
        if let Ok(keys) = keys {
            // Keys that are none sign nothing.
            let _ = signed_by(&keys, &token);
        }
    });
}

struct Still;

impl Clock for Still {
    fn now(&self) -> Millis {
        Millis::new(1)
    }
}

impl Entropy for Still {
    fn next_u64(&self) -> u64 {
        1
    }
}

/// What another node says of a caller, in the header of a call that it passes on.
#[test]
fn fuzz_passed_caller() {
    run!(|source, seen| {
        let access = Access::new(None, Arc::new(Still), &Still);
        let proof = match source.flip() {
            true => Proof::Certificate,
            false => {
                let roles = source.flip().then(|| (0..source.below(3)).map(|_| source.text()).collect());
                Proof::Token { until: source.number(), roles }
            }
        };
        let remote = source.flip().then(|| ([127, 0, 0, source.byte()], u16::from(source.byte())).into());
        let known = Known { user: source.text(), remote, proof, access: access.clone() };
        let user = known.user.clone();
        let header = Caller::Known(Arc::new(known)).passed_on().unwrap();
        assert_eq!(access.passed(header.as_bytes()).user(), Some(&*user));
        seen.valid();
        let mut json = STANDARD.decode(header.as_bytes()).unwrap();
        source.damage(&mut json);
        let mut header = STANDARD.encode(&json).into_bytes();
        if source.one_in(4) {
            source.damage(&mut header);
        }
        let (read, peak) = peak_bytes(|| access.passed(&header));
        assert!(peak <= HEADER_BYTES, "{peak} bytes");
        seen.damaged(read.user().is_some());
    });
}

static HASH: LazyLock<String> = LazyLock::new(|| hash(b"correct horse", [7; 16]).unwrap());

fn phc(source: &mut Source<'_>) -> String {
    let good = &*HASH;
    let mut bytes = good.clone().into_bytes();
    match source.byte() % 4 {
        0 => good.replacen("m=19456", &format!("m={}", source.number()), 1),
        1 => good.replacen("t=2", &format!("t={}", source.number()), 1),
        2 => good.replacen("p=1", &format!("p={}", source.number()), 1),
        _ => {
            source.damage(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        }
    }
}

/// A hash says itself what comparing costs: it must not cost more than those that are made here.
#[test]
fn fuzz_password_hash() {
    run!(|source, seen| {
        let hash = phc(source);
        seen.valid();
        let (same, peak) = peak_bytes(|| is_of(b"correct horse", &hash));
        assert!(peak <= 20 << 20, "{peak} bytes for {hash}");
        seen.damaged(same);
    });
}
