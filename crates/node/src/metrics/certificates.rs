//! When certificates are over: read at each scrape, because they are replaced while the node runs.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
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

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PortLabel {
    port: &'static str,
}

impl Collector for Certificates {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let expiry = Family::<PortLabel, Gauge>::default();
        for (port, over_at) in &self.0 {
            if let Some(at) = over_at() {
                expiry.get_or_create(&PortLabel { port }).set(at);
            }
        }
        let help = "When the certificate of the port is over, in seconds since 1970";
        let metric = encoder.encode_descriptor(
            "quorate_tls_certificate_expiry_seconds",
            help,
            None,
            expiry.metric_type(),
        )?;
        expiry.encode(metric)
    }
}
