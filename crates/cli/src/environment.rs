//! Environment variables that look like settings and are none.

use crate::args::Cli;
use clap::CommandFactory;
use std::collections::BTreeSet;

const PREFIX: &str = "QUORATE_";

/// Names among `present` that begin like a setting and are none: most likely typos. Not an error, because an orchestrator
/// may put its own there: Kubernetes describes a service called `quorate` by `QUORATE_SERVICE_HOST`, `QUORATE_PORT…`.
pub(crate) fn unknown(present: impl Iterator<Item = String>) -> Vec<String> {
    let known = known(&Cli::command());
    let foreign = |name: &str| {
        name.starts_with("QUORATE_PORT") || name.contains("_SERVICE_") || name.contains("_PORT_")
    };
    let typo = |name: &String| name.starts_with(PREFIX) && !known.contains(name) && !foreign(name);
    present.filter(typo).collect()
}

fn known(command: &clap::Command) -> BTreeSet<String> {
    let own = command.get_arguments().filter_map(|a| a.get_env()).map(|e| e.to_string_lossy().into_owned());
    own.chain(command.get_subcommands().flat_map(known)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typos_are_found_and_settings_of_any_command_and_of_kubernetes_are_not() {
        let names = ["QUORATE_DATADIR", "QUORATE_DATA_DIR", "QUORATE_NODES", "QUORATE_OUTPUT", "PATH"];
        let kubernetes = ["QUORATE_SERVICE_HOST", "QUORATE_PORT", "QUORATE_PORT_7411_TCP_ADDR"];
        let present = names.iter().chain(&kubernetes).map(|&n| n.to_owned());
        assert_eq!(unknown(present), ["QUORATE_DATADIR"]);
    }
}
