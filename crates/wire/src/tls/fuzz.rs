//! Fuzz targets of what is read of certificates and keys: see docs/fuzzing.md.

use super::CertifiedNames;
use super::files::{Contents, authorities, certificates, expiry, key};
use quorate_fuzz::{Source, peak_bytes, run};
use rcgen::{CertificateParams, DnType, KeyPair, SanType};
use rustls::pki_types::CertificateDer;
use std::path::Path;
use std::sync::LazyLock;

/// A certificate with names of several kinds, and its key.
static CERTIFICATE: LazyLock<(Vec<u8>, String, String)> = LazyLock::new(|| {
    let mut params =
        CertificateParams::new(vec!["n1.quorate.internal".to_owned(), "10.0.0.1".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "shop");
    params.subject_alt_names.push(SanType::Rfc822Name("ann@example.com".try_into().unwrap()));
    params.subject_alt_names.push(SanType::URI("spiffe://shop/n1".try_into().unwrap()));
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    (certificate.der().to_vec(), certificate.pem(), key.serialize_pem())
});

#[test]
fn fuzz_certificate() {
    run!(|source, seen| {
        let mut der = CERTIFICATE.0.clone();
        let names = CertifiedNames::of(&CertificateDer::from(der.clone())).unwrap();
        assert_eq!((names.common_name.as_deref(), names.alternative.len()), (Some("shop"), 4));
        seen.valid();
        source.damage(&mut der);
        let damaged = CertificateDer::from(der);
        let (read, peak) = peak_bytes(|| CertifiedNames::of(&damaged));
        seen.damaged(read.is_some());
        assert!(peak <= (64 << 10) + 64 * damaged.len(), "{peak} bytes");
        assert_eq!(expiry(&[damaged]).is_some(), read.is_some());
        if let Some(read) = read {
            let _ = read.are_any_of(&[source.text(), format!("*.{}", source.text())]);
        }
    });
}

fn damaged(source: &mut Source<'_>, pem: &str) -> Contents {
    let mut bytes = pem.as_bytes().to_vec();
    source.damage(&mut bytes);
    [(Path::new("file").to_owned(), bytes)].into()
}

#[test]
fn fuzz_pem() {
    run!(|source, seen| {
        let (_, certificate, private) = &*CERTIFICATE;
        seen.valid();
        let path = Path::new("file");
        let contents = damaged(source, certificate);
        let read = certificates(&contents, path);
        seen.damaged(read.is_ok());
        let trusted = authorities(&contents, path);
        assert!(read.is_ok() || trusted.is_err());
        let wrong = key(&damaged(source, private), path);
        seen.damaged(wrong.is_ok());
    });
}
