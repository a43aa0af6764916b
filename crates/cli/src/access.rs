//! How a command is let in: what it trusts, and how it proves who it is. Secrets are in files, never in arguments, which everybody
//! on the machine can read.

use crate::failure::Failure;
use crate::secrets;
use clap::Args;
use quorate_client::{
    ClientFiles, ClientOptions, ClientTls, Credentials, CredentialsError, KeyFiles, TlsNet,
};
use std::path::PathBuf;
use std::sync::Arc;

/// What is trusted, and who one is.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Security")]
pub(crate) struct AccessArgs {
    /// Connect with TLS, and trust the certificates of these authorities (PEM).
    #[arg(id = "access.ca", long = "ca", value_name = "PATH", env = "QUORATE_CA")]
    pub(crate) ca: Option<PathBuf>,
    /// Show this certificate (PEM).
    #[arg(id = "access.cert", long = "cert", value_name = "PATH", env = "QUORATE_CERT", requires_all = ["access.ca", "access.cert_key"])]
    pub(crate) cert: Option<PathBuf>,
    /// Its private key (PEM).
    #[arg(
        id = "access.cert_key",
        long = "cert-key",
        value_name = "PATH",
        env = "QUORATE_CERT_KEY",
        requires = "access.cert"
    )]
    pub(crate) cert_key: Option<PathBuf>,
    /// Come as this user, with the password in --password-file.
    #[arg(
        id = "access.user",
        long = "user",
        value_name = "NAME",
        env = "QUORATE_USER",
        requires = "access.password_file"
    )]
    pub(crate) user: Option<String>,
    /// Holds the password of --user.
    #[arg(
        id = "access.password_file",
        long = "password-file",
        value_name = "PATH",
        env = "QUORATE_PASSWORD_FILE",
        requires = "access.user"
    )]
    pub(crate) password_file: Option<PathBuf>,
    /// Come with the token in this file.
    #[arg(
        id = "access.token_file",
        long = "token-file",
        value_name = "PATH",
        env = "QUORATE_TOKEN_FILE",
        conflicts_with = "access.user"
    )]
    pub(crate) token_file: Option<PathBuf>,
}

impl AccessArgs {
    /// Options of a client that is let in so.
    pub(crate) fn options(&self) -> Result<ClientOptions, Failure> {
        let mut options = ClientOptions::default();
        if let Some(ca) = &self.ca {
            let own = self.cert.clone().zip(self.cert_key.clone()).map(|(cert, key)| KeyFiles { cert, key });
            options.connect = Arc::new(TlsNet::new(ClientTls::new(ClientFiles { ca: ca.clone(), own })?));
        }
        let invalid = |error: CredentialsError| Failure::Usage(error.to_string());
        if let (Some(user), Some(file)) = (&self.user, &self.password_file) {
            let password = secrets::from_file(file)?;
            options.credentials = Some(Credentials::password(user, &password).map_err(invalid)?);
        } else if let Some(file) = &self.token_file {
            options.credentials = Some(Credentials::token(&secrets::from_file(file)?).map_err(invalid)?);
        }
        Ok(options)
    }

    /// As a process of ours is told.
    fn arguments(&self) -> Vec<String> {
        let paths = [
            ("ca", &self.ca),
            ("cert", &self.cert),
            ("cert-key", &self.cert_key),
            ("password-file", &self.password_file),
            ("token-file", &self.token_file),
        ];
        let paths = paths
            .into_iter()
            .filter_map(|(name, path)| Some(format!("--{name}={}", path.as_ref()?.display())));
        paths.chain(self.user.iter().map(|user| format!("--user={user}"))).collect()
    }
}

/// A cluster, and how it is reached.
#[derive(Clone, Debug)]
pub(crate) struct Reach {
    /// Addresses of its nodes.
    pub(crate) nodes: Vec<String>,
    /// For clients of it.
    pub(crate) options: ClientOptions,
    /// For processes of ours that are clients of it.
    pub(crate) arguments: Vec<String>,
}

impl Reach {
    /// These nodes, let in so.
    pub(crate) fn new(nodes: Vec<String>, access: &AccessArgs) -> Result<Self, Failure> {
        Ok(Self { nodes, options: access.options()?, arguments: access.arguments() })
    }

    /// Nodes of our own, which let everybody in on this machine.
    pub(crate) fn open(nodes: Vec<String>) -> Self {
        Self { nodes, options: ClientOptions::default(), arguments: Vec::new() }
    }

    /// One node alone.
    pub(crate) fn of(&self, node: &str) -> Self {
        Self { nodes: vec![node.to_owned()], ..self.clone() }
    }
}
