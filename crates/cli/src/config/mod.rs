//! The configuration of a node: what was typed (flags, then `QUORATE_*` environment, then the TOML file) becomes one
//! validated [`Settings`]. Defaults are those of [`quorate_node::Config`] and of [`Settings`], declared nowhere else.

mod file;
mod settings;
mod typed;

pub(crate) use file::{ConfigFailure, read};
pub(crate) use settings::{LogFormat, LogSettings, Settings};
pub(crate) use typed::Typed;
