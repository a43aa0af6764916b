use super::*;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};

const NOW: u64 = 1_800_000_000;

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn ed25519() -> Ed25519KeyPair {
    let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap()
}

fn good() -> Value {
    json!({ "sub": "ann@example.com", "exp": NOW + 60, "iss": "idp", "aud": ["shop", "quorate"], "roles": ["clerk"] })
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = good();
    claims[name] = value;
    claims
}

struct Issuer(Ed25519KeyPair);

impl Issuer {
    fn keys(&self) -> Vec<Key> {
        let x = URL_SAFE_NO_PAD.encode(self.0.public_key().as_ref());
        let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": "1", "use": "sig" });
        vec![serde_json::from_value::<Jwk>(jwk).unwrap().key().unwrap()]
    }

    fn issue(&self, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", part(header), part(claims));
        let signature = URL_SAFE_NO_PAD.encode(self.0.sign(message.as_bytes()).as_ref());
        format!("{message}.{signature}")
    }

    fn verified(&self, header: &Value, claims: &Value) -> Result<Claims, TokenError> {
        signed_by(&self.keys(), &self.issue(header, claims))?.check("idp", "quorate", NOW)
    }
}

#[test]
fn a_token_of_the_issuer_says_who_and_for_how_long() {
    let issuer = Issuer(ed25519());
    let claims = issuer.verified(&json!({ "alg": "EdDSA", "kid": "1" }), &good()).unwrap();
    let roles = Some(vec!["clerk".to_owned()]);
    assert_eq!(claims, Claims { user: "ann@example.com".to_owned(), until: NOW + 60, roles });
    let mut without = good();
    without.as_object_mut().unwrap().remove("roles");
    assert_eq!(issuer.verified(&json!({ "alg": "EdDSA" }), &without).unwrap().roles, None);
}

#[test]
fn what_is_over_early_or_for_others_is_refused() {
    let issuer = Issuer(ed25519());
    let refused = |claims: Value| issuer.verified(&json!({ "alg": "EdDSA" }), &claims).unwrap_err();
    assert_eq!(refused(with("exp", json!(NOW))), TokenError::Over);
    assert_eq!(refused(with("exp", json!("9999999999"))), TokenError::Format);
    assert_eq!(refused(with("exp", Value::Null)), TokenError::Format);
    assert_eq!(refused(with("nbf", json!(NOW + 61))), TokenError::Early);
    assert_eq!(refused(with("iss", json!("somebody"))), TokenError::Issuer);
    assert_eq!(refused(with("iss", Value::Null)), TokenError::Issuer);
    assert_eq!(refused(with("aud", json!("shop"))), TokenError::Audience);
    assert_eq!(refused(with("aud", Value::Null)), TokenError::Audience);
    assert_eq!(refused(with("sub", json!("a:b"))), TokenError::Subject);
}

#[test]
fn only_the_keys_sign_and_only_by_their_own_algorithm() {
    let (issuer, other) = (Issuer(ed25519()), Issuer(ed25519()));
    let header = json!({ "alg": "EdDSA" });
    let foreign = other.issue(&header, &good());
    assert!(matches!(signed_by(&issuer.keys(), &foreign), Err(TokenError::Foreign)));
    for header in [json!({ "alg": "none" }), json!({ "alg": "HS256" }), json!({ "alg": "EdDSA", "kid": "2" })]
    {
        assert_eq!(issuer.verified(&header, &good()), Err(TokenError::Foreign), "{header}");
    }
    let unknown = json!({ "alg": "EdDSA", "crit": ["exp"] });
    assert_eq!(issuer.verified(&unknown, &good()), Err(TokenError::Format));
    let unsigned = format!("{}.{}.", part(&json!({ "alg": "none" })), part(&good()));
    for bad in [unsigned.as_str(), "", "a", "a.b", "a.b.c", "..", "e30.e30.e30"] {
        assert!(signed_by(&issuer.keys(), bad).is_err(), "{bad:?}");
    }
    let token = issuer.issue(&header, &good());
    let changed = token.replacen(&part(&good()), &part(&with("sub", json!("admin"))), 1);
    assert!(matches!(signed_by(&issuer.keys(), &changed), Err(TokenError::Foreign)));
}

#[test]
fn a_token_signed_on_p256_is_taken() {
    let random = SystemRandom::new();
    let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).unwrap();
    let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
    let [x, y] = [x, y].map(|part| URL_SAFE_NO_PAD.encode(part));
    let jwk: Jwk = serde_json::from_value(json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y })).unwrap();
    let message = format!("{}.{}", part(&json!({ "alg": "ES256" })), part(&good()));
    let signature = URL_SAFE_NO_PAD.encode(pair.sign(&random, message.as_bytes()).unwrap().as_ref());
    assert!(signed_by(&[jwk.key().unwrap()], &format!("{message}.{signature}")).is_ok());
}

#[test]
fn a_file_without_a_key_that_is_understood_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jwks.json");
    for (text, says) in [("{", "no JWKS"), (r#"{"keys":[{"kty":"oct","k":"AA"}]}"#, "no key for")] {
        std::fs::write(&path, text).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains(says), "{text}");
    }
    assert!(matches!(read(Path::new("/nowhere")), Err(TokenKeysError::Unreadable { .. })));
}
