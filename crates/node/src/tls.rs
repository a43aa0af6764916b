//! Which certificates a node uses, and whether it may listen where it does without them.

use crate::config::{Config, ConfigError};
use quorate_wire::{ClientFiles, KeyFiles, ServerFiles};
use std::net::IpAddr;
use std::path::PathBuf;
use thiserror::Error;

/// Files in PEM. They are read at the start, and again when they change; what is not given is plain text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsConfig {
    /// Shown to clients, with what lies between it and its authority.
    pub client_cert: Option<PathBuf>,
    /// The key of `client_cert`.
    pub client_key: Option<PathBuf>,
    /// Authorities of clients' certificates. A client must have one unless it can prove otherwise who it is.
    pub client_ca: Option<PathBuf>,
    /// Shown to the other nodes, whichever side connects: it must name this node's peer address.
    pub peer_cert: Option<PathBuf>,
    /// The key of `peer_cert`.
    pub peer_key: Option<PathBuf>,
    /// Authorities of the nodes' certificates: who has one of theirs is a node of this cluster.
    pub peer_ca: Option<PathBuf>,
    /// If the authority has other customers: of those who connect only who bears one of these names. `*` may be the first word.
    pub peer_names: Vec<String>,
}

impl TlsConfig {
    /// What the port for clients needs; `None`: it speaks plain text. `others`: whether clients have other ways than a
    /// certificate to prove who they are.
    pub(crate) fn client(&self, others: bool) -> Option<ServerFiles> {
        let own = KeyFiles { cert: self.client_cert.clone()?, key: self.client_key.clone()? };
        Some(ServerFiles { own, ca: self.client_ca.clone(), required: !others, names: Vec::new() })
    }

    /// What is needed to take connections of peers and to connect to them; `None`: plain text.
    pub(crate) fn peer(&self) -> Option<(ServerFiles, ClientFiles)> {
        let own = KeyFiles { cert: self.peer_cert.clone()?, key: self.peer_key.clone()? };
        let ca = self.peer_ca.clone()?;
        let client = ClientFiles { ca: ca.clone(), own: Some(own.clone()) };
        let server = ServerFiles { own, ca: Some(ca), required: true, names: self.peer_names.clone() };
        Some((server, client))
    }

    /// # Errors
    /// [`ConfigError::Together`].
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        let client_cert = ("tls.client_cert", self.client_cert.is_some());
        let client_key = ("tls.client_key", self.client_key.is_some());
        let client_ca = ("tls.client_ca", self.client_ca.is_some());
        let peer_cert = ("tls.peer_cert", self.peer_cert.is_some());
        let peer_key = ("tls.peer_key", self.peer_key.is_some());
        let peer_ca = ("tls.peer_ca", self.peer_ca.is_some());
        let peer_names = ("tls.peer_names", !self.peer_names.is_empty());
        let needs = [
            (client_cert, client_key),
            (client_key, client_cert),
            (client_ca, client_cert),
            (peer_cert, peer_key),
            (peer_cert, peer_ca),
            (peer_key, peer_cert),
            (peer_ca, peer_cert),
            (peer_names, peer_ca),
        ];
        for ((given, is_given), (missing, is_there)) in needs {
            if is_given && !is_there {
                return Err(ConfigError::Together { given, missing });
            }
        }
        Ok(())
    }
}

/// A port that anybody may use who reaches it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ExposureError {
    /// Nothing proves who the clients are.
    #[error(
        "{address} is reached from other machines, and clients need not say who they are: give {how}, listen on 127.0.0.1, or say --insecure"
    )]
    Strangers {
        /// Where clients connect.
        address: String,
        /// What would be right.
        how: &'static str,
    },
    /// What clients send can be read, passwords among it.
    #[error(
        "{address} is reached from other machines, and what clients send there is not encrypted: give tls.client_cert and tls.client_key, listen on 127.0.0.1, or say --insecure"
    )]
    ClientsInPlainText {
        /// Where clients connect.
        address: String,
    },
    /// Whoever reaches the port can be a node.
    #[error(
        "{address} is reached from other machines, and whoever connects there is taken for a node: give tls.peer_cert, tls.peer_key and tls.peer_ca, listen on 127.0.0.1, or say --insecure"
    )]
    Peers {
        /// Where peers connect.
        address: String,
    },
}

impl ExposureError {
    /// Stable, for scripts.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        "INSECURE"
    }
}

impl Config {
    /// Whether this node may listen where it does. The port for HTTP is no part of it: it tells everybody how the node is, and
    /// nothing else.
    ///
    /// # Errors
    /// [`ExposureError`] says what would be right.
    pub fn check_exposure(&self) -> Result<(), ExposureError> {
        if self.insecure {
            return Ok(());
        }
        if !is_loopback(&self.listen.client) {
            let address = self.listen.client.clone();
            if self.tls.client_cert.is_none() {
                return Err(ExposureError::ClientsInPlainText { address });
            }
            if self.tls.client_ca.is_none() && !self.auth.enabled {
                return Err(ExposureError::Strangers {
                    address,
                    how: "auth.enabled = true, or tls.client_ca",
                });
            }
        }
        if !is_loopback(&self.listen.peer) && self.tls.peer_ca.is_none() {
            return Err(ExposureError::Peers { address: self.listen.peer.clone() });
        }
        Ok(())
    }
}

fn is_loopback(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listening(host: &str) -> Config {
        let mut config = Config::default();
        config.listen.client = format!("{host}:7411");
        config.listen.peer = format!("{host}:7421");
        config
    }

    fn path(name: &str) -> Option<PathBuf> {
        Some(PathBuf::from(name))
    }

    #[test]
    fn what_only_this_machine_reaches_needs_no_certificates() {
        for host in ["127.0.0.1", "localhost", "[::1]", "127.0.0.53"] {
            assert_eq!(listening(host).check_exposure(), Ok(()), "{host}");
        }
    }

    #[test]
    fn a_node_that_others_reach_needs_certificates_or_the_word() {
        for host in ["0.0.0.0", "[::]", "10.0.0.1", "quorate-1.internal"] {
            let mut config = listening(host);
            let refused = config.check_exposure().unwrap_err();
            assert!(matches!(refused, ExposureError::ClientsInPlainText { .. }), "{refused}");
            config.tls.client_cert = path("c");
            config.tls.client_key = path("k");
            assert!(matches!(config.check_exposure(), Err(ExposureError::Strangers { .. })));
            config.auth.enabled = true;
            assert!(matches!(config.check_exposure(), Err(ExposureError::Peers { .. })));
            config.auth.enabled = false;
            config.tls.client_ca = path("ca");
            let refused = config.check_exposure().unwrap_err();
            assert!(matches!(refused, ExposureError::Peers { .. }));
            assert!(refused.to_string().contains("--insecure"));
            (config.tls.peer_cert, config.tls.peer_key, config.tls.peer_ca) =
                (path("c"), path("k"), path("ca"));
            assert_eq!(config.check_exposure(), Ok(()));
            assert_eq!(Config { insecure: true, ..listening(host) }.check_exposure(), Ok(()));
        }
    }

    #[test]
    fn half_of_what_belongs_together_is_refused() {
        let refused = |tls: TlsConfig| match tls.validate() {
            Err(ConfigError::Together { given, missing }) => (given, missing),
            other => panic!("{other:?}"),
        };
        let cert = TlsConfig { client_cert: path("c"), ..TlsConfig::default() };
        assert_eq!(refused(cert), ("tls.client_cert", "tls.client_key"));
        let ca = TlsConfig { client_ca: path("c"), ..TlsConfig::default() };
        assert_eq!(refused(ca), ("tls.client_ca", "tls.client_cert"));
        let peer = TlsConfig { peer_key: path("k"), peer_cert: path("c"), ..TlsConfig::default() };
        assert_eq!(refused(peer), ("tls.peer_cert", "tls.peer_ca"));
        let no_ca = TlsConfig { client_cert: path("c"), client_key: path("k"), ..TlsConfig::default() };
        assert_eq!(no_ca.validate(), Ok(()));
    }
}
