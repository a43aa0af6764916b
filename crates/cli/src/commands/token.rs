//! `quorate token …`

use crate::failure::Failure;
use crate::output::Output;
use crate::secrets;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use clap::{Args, Subcommand};
use quorate_types::UserName;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const EXAMPLES: &str = "\
Nodes take tokens that somebody signed whose public keys they have (auth.jwks_file): an identity provider, or you with a key of
your own. None of these commands talks to a node.

Examples:
  quorate token keys --key-file issuer.pem --jwks-file jwks.json     make a key, and what the nodes need of it
  quorate token create --key-file issuer.pem --issuer ops --audience quorate --subject ann --role clerk --valid 8h > ann.token
  quorate token show ann.token
  quorate publish orders hello --token-file ann.token --ca ca.crt";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct TokenArgs {
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Make a key that signs tokens (Ed25519), and the set of public keys that nodes check them with.
    Keys {
        /// Where the key goes (PEM); must not be there yet.
        #[arg(long, value_name = "PATH")]
        key_file: PathBuf,
        /// Where the public keys go (JWKS); must not be there yet.
        #[arg(long, value_name = "PATH")]
        jwks_file: PathBuf,
    },
    /// Sign a token and print it.
    Create(Create),
    /// Print what a token says. It is not checked whether it is good.
    Show {
        /// Holds the token.
        #[arg(value_name = "PATH")]
        token_file: PathBuf,
    },
}

#[derive(Args, Debug)]
struct Create {
    /// The key that signs it (PEM, Ed25519).
    #[arg(long, value_name = "PATH")]
    key_file: PathBuf,
    /// Who issues it: auth.jwt_issuer of the nodes.
    #[arg(long, value_name = "NAME")]
    issuer: String,
    /// For whom it is: auth.jwt_audience of the nodes.
    #[arg(long, value_name = "NAME")]
    audience: String,
    /// The user.
    #[arg(long, value_name = "USER")]
    subject: String,
    /// A role of the user; may be given several times. Without any it has those that the cluster knows of the user.
    #[arg(long = "role", value_name = "ROLE")]
    roles: Vec<String>,
    /// How long it is good.
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = humantime::parse_duration)]
    valid: Duration,
}

pub(crate) fn run(args: TokenArgs, output: Output) -> Result<(), Failure> {
    match args.command {
        TokenCommand::Keys { key_file, jwks_file } => keys(&key_file, &jwks_file, output),
        TokenCommand::Create(create) => output.text(token(&create)?),
        TokenCommand::Show { token_file } => show(&secrets::from_file(&token_file)?, output),
    }
}

fn keys(key_file: &Path, jwks_file: &Path, output: Output) -> Result<(), Failure> {
    let random = || Failure::Usage("this machine gives no randomness".to_owned());
    let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| random())?;
    let pair = Ed25519KeyPair::from_pkcs8(document.as_ref()).map_err(|_| random())?;
    let pem = format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        STANDARD.encode(document.as_ref())
    );
    let jwk = json!({
        "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": key_id(&pair),
        "x": URL_SAFE_NO_PAD.encode(pair.public_key().as_ref()),
    });
    write_new(key_file, &pem, 0o600)?;
    write_new(jwks_file, &format!("{:#}\n", json!({ "keys": [jwk] })), 0o644)?;
    let text = format!("{} signs, {} is for the nodes", key_file.display(), jwks_file.display());
    output.result(text, &json!({ "key_file": key_file, "jwks_file": jwks_file }))
}

fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), Failure> {
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(mode).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|source| Failure::Directory { path: path.to_owned(), source })
}

/// The beginning of the public key: enough to tell keys of one issuer apart.
fn key_id(pair: &Ed25519KeyPair) -> String {
    URL_SAFE_NO_PAD.encode(pair.public_key().as_ref().get(..9).unwrap_or_default())
}

fn token(create: &Create) -> Result<String, Failure> {
    let user = UserName::parse(&create.subject).map_err(|error| Failure::Usage(error.to_string()))?;
    let pair = signer(&create.key_file)?;
    let now = now_s();
    let mut claims = json!({
        "iss": create.issuer, "aud": create.audience, "sub": user.as_str(),
        "iat": now, "exp": now + create.valid.as_secs(),
    });
    if !create.roles.is_empty()
        && let Some(claims) = claims.as_object_mut()
    {
        claims.insert("roles".to_owned(), json!(create.roles));
    }
    let header = json!({ "alg": "EdDSA", "typ": "JWT", "kid": key_id(&pair) });
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(&header), part(&claims));
    let signature = URL_SAFE_NO_PAD.encode(pair.sign(message.as_bytes()).as_ref());
    Ok(format!("{message}.{signature}"))
}

#[expect(clippy::disallowed_methods, reason = "a command is on no simulated clock")]
fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn signer(path: &Path) -> Result<Ed25519KeyPair, Failure> {
    let pem = secrets::from_file(path)?;
    let body: String = pem.lines().map(str::trim).filter(|line| !line.starts_with("-----")).collect();
    let none = || Failure::Usage(format!("{} is no private key of Ed25519 in PEM", path.display()));
    let document = STANDARD.decode(body).map_err(|_| none())?;
    Ed25519KeyPair::from_pkcs8_maybe_unchecked(&document).map_err(|_| none())
}

fn show(token: &str, output: Output) -> Result<(), Failure> {
    let claims = token.trim().split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
    let claims = claims.and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    let claims = claims.ok_or_else(|| Failure::Usage("that is no token".to_owned()))?;
    let until = claims.get("exp").and_then(Value::as_u64).unwrap_or_default();
    let until = UNIX_EPOCH.checked_add(Duration::from_secs(until));
    let until =
        until.map_or_else(String::new, |at| format!("\nuntil {}", humantime::format_rfc3339_seconds(at)));
    output.result(format!("{claims:#}{until}"), &claims)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_signed_by_the_key_and_only_its_owner_may_read_that() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let (key_file, jwks) = (dir.path().join("key.pem"), dir.path().join("jwks.json"));
        keys(&key_file, &jwks, Output::new(crate::output::Format::Json)).unwrap();
        assert_eq!(key_file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(
            keys(&key_file, &jwks, Output::new(crate::output::Format::Json)).is_err(),
            "nothing is overwritten"
        );
        let create = Create {
            key_file: key_file.clone(),
            issuer: "ops".to_owned(),
            audience: "quorate".to_owned(),
            subject: "ann".to_owned(),
            roles: vec!["clerk".to_owned()],
            valid: Duration::from_secs(60),
        };
        let token = token(&create).unwrap();
        let (message, signature) = token.rsplit_once('.').unwrap();
        let public = signer(&key_file).unwrap().public_key().as_ref().to_vec();
        let key = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, public);
        key.verify(message.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap()).unwrap();
    }
}
