//! The metrics page: what the data plane counted, and the node's figures, read when asked. Every name on it is stable, and is in
//! docs/metrics.md.

mod certificates;
mod connections;
mod contents;
mod data;
mod groups;
mod node;
mod page;

use crate::figures::Figures;
use certificates::Certificates;
pub(crate) use certificates::Expiry;
pub(crate) use connections::Connections;
pub(crate) use data::{Counted, DataMetrics};
use page::Shown;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::registry::Registry;
use std::fmt;

/// What is counted while the node runs; the rest is read at each scrape.
pub(crate) struct Metrics {
    counted: Registry,
    /// Handles for the data plane.
    pub(crate) data: DataMetrics,
}

impl Metrics {
    /// `certificates`: those that are shown, by port.
    pub(crate) fn new(certificates: Vec<(&'static str, Expiry)>) -> Self {
        let mut counted = Registry::default();
        let data = DataMetrics::new(&mut counted);
        counted.register_collector(Box::new(Certificates(certificates)));
        Self { counted, data }
    }

    /// The page in OpenMetrics text.
    pub(crate) fn render(&self, figures: Option<Figures>) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode_registry(&mut text, &self.counted)?;
        if let Some(figures) = figures {
            let mut read = Registry::default();
            read.register_collector(Box::new(Shown(figures)));
            encode_registry(&mut text, &read)?;
        }
        encode_eof(&mut text)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests;
