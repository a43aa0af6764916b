//! Who a certificate is about.

use rustls::pki_types::CertificateDer;
use std::net::IpAddr;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The names in a certificate that was verified: of the other end of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertifiedNames {
    /// Its subject's common name.
    pub common_name: Option<String>,
    /// Its alternative names, in its order: DNS names, addresses of mail, URIs, addresses.
    pub alternative: Vec<String>,
}

impl CertifiedNames {
    /// `None`: the certificate does not parse, though it was verified.
    pub(super) fn of(der: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let common_name = certificate.subject().iter_common_name().next();
        let common_name = common_name.and_then(|name| name.as_str().ok()).map(str::to_owned);
        let mut alternative = Vec::new();
        if let Ok(Some(extension)) = certificate.subject_alternative_name() {
            alternative.extend(extension.value.general_names.iter().filter_map(text));
        }
        Some(Self { common_name, alternative })
    }

    /// All of them, the common name first.
    pub fn all(&self) -> impl Iterator<Item = &str> {
        self.common_name.iter().chain(&self.alternative).map(String::as_str)
    }

    /// Whether one of them is wanted. A first word `*` stands for any one word.
    #[must_use]
    pub fn are_any_of(&self, wanted: &[String]) -> bool {
        self.all().any(|name| wanted.iter().any(|wanted| is(name, wanted)))
    }
}

fn is(name: &str, wanted: &str) -> bool {
    match (wanted.strip_prefix("*."), name.split_once('.')) {
        (Some(wanted), Some((first, rest))) => !first.is_empty() && rest.eq_ignore_ascii_case(wanted),
        _ => name.eq_ignore_ascii_case(wanted),
    }
}

fn text(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) | GeneralName::RFC822Name(name) | GeneralName::URI(name) => {
            Some((*name).to_owned())
        }
        GeneralName::IPAddress(bytes) => match (<[u8; 4]>::try_from(*bytes), <[u8; 16]>::try_from(*bytes)) {
            (Ok(four), _) => Some(IpAddr::from(four).to_string()),
            (_, Ok(sixteen)) => Some(IpAddr::from(sixteen).to_string()),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_one_word() {
        let names = CertifiedNames {
            common_name: Some("shop".to_owned()),
            alternative: vec!["n1.quorate.internal".to_owned(), "10.0.0.1".to_owned()],
        };
        for wanted in ["shop", "N1.quorate.internal", "*.quorate.internal", "10.0.0.1"] {
            assert!(names.are_any_of(&[wanted.to_owned()]), "{wanted}");
        }
        for wanted in
            ["", "quorate.internal", "*.internal", "*", "n2.quorate.internal", "*.n1.quorate.internal"]
        {
            assert!(!names.are_any_of(&[wanted.to_owned()]), "{wanted}");
        }
    }
}
