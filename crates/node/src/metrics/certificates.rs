//! When certificates are over: read at each scrape, because they are replaced while the node runs.

use super::page::Page;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use std::fmt;

/// When a certificate is over, in seconds since 1970, if it is known.
pub(crate) type Expiry = Box<dyn Fn() -> Option<i64> + Send + Sync>;

/// The certificates that are shown, by port.
pub(crate) struct Certificates(pub(crate) Vec<(&'static str, Expiry)>);

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.iter().map(|(port, _)| port)).finish()
    }
}

impl Collector for Certificates {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "When the certificate of the port is over, in seconds since 1970";
        let known = self.0.iter().filter_map(|(port, over_at)| Some(([("port", *port)], over_at()?)));
        Page(encoder).gauges("quorate_tls_certificate_expiry_seconds", help, known)
    }
}
