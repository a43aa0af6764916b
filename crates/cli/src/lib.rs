//! The command line of Quorate: one binary that serves, shows, publishes, consumes, measures and proves.
//!
//! One file per command under `commands`. What was typed is read by `args` (and by `config` for `serve`), what comes
//! out goes through `output`, what goes wrong through `failure`, which gives it a code and an exit status.

mod access;
mod args;
mod clients;
mod commands;
mod config;
mod environment;
mod failure;
#[cfg(test)]
mod fuzz;
mod input;
mod line;
mod logging;
mod output;
mod prove;
mod run;
mod secrets;
mod signals;
mod throwaway;

pub use run::main;
