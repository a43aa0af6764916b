//! Certificates of our own authorities.

use anyhow::Result;
use quorate_client::{ClientFiles, ClientOptions, ClientTls, KeyFiles, TlsNet};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Whom a port trusts, as files in a directory.
pub struct Authority {
    directory: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate.
    pub ca: PathBuf,
}

impl Authority {
    /// A new one, of which the files are called so.
    pub fn new(directory: &Path, name: &str) -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate()?;
        let ca = directory.join(format!("{name}.pem"));
        std::fs::write(&ca, params.self_signed(&key)?.pem())?;
        Ok(Self { directory: directory.to_owned(), issuer: Issuer::new(params, key), ca })
    }

    /// A certificate with this common name for this machine, which is good until the 1st of January of that year. One of the same
    /// name is replaced.
    pub fn issue(&self, name: &str, until_year: i32) -> Result<KeyFiles> {
        self.issue_for(name, until_year, &["localhost", "127.0.0.1"])
    }

    /// The same for these hosts.
    pub fn issue_for(&self, name: &str, until_year: i32, hosts: &[&str]) -> Result<KeyFiles> {
        let mut params =
            CertificateParams::new(hosts.iter().map(|host| (*host).to_owned()).collect::<Vec<_>>())?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_after = rcgen::date_time_ymd(until_year, 1, 1);
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let files = KeyFiles {
            cert: self.directory.join(format!("{name}.crt")),
            key: self.directory.join(format!("{name}.key")),
        };
        std::fs::write(&files.cert, certificate.pem())?;
        std::fs::write(&files.key, key.serialize_pem())?;
        Ok(files)
    }

    /// How a client behaves that trusts this authority, and shows this certificate.
    pub fn trusted(&self, own: Option<KeyFiles>) -> Result<ClientOptions> {
        let tls = ClientTls::new(ClientFiles { ca: self.ca.clone(), own })?;
        Ok(ClientOptions { connect: Arc::new(TlsNet::new(tls)), ..ClientOptions::default() })
    }
}
