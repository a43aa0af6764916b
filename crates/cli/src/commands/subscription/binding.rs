//! What a binding selects, as it is typed and shown.

use crate::commands::publish::header;
use clap::{Args, ValueEnum};
use quorate_client::{Headers, v1};
use serde_json::{Value, json};
use std::borrow::Cow;

/// Selects every message.
pub(in crate::commands) const EVERYTHING: &str = "#";

#[derive(Args, Debug)]
pub(super) struct Binding {
    /// The subscription.
    pub(super) subscription: String,
    /// The topic.
    pub(super) topic: String,
    /// Where the subject matches.
    #[arg(default_value = EVERYTHING)]
    pub(super) filter: String,
    /// Where a message has this header, too; up to 16. It takes a step longer: somebody has to look.
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = header)]
    headers: Vec<(String, String)>,
    /// How many of the headers a message must have.
    #[arg(long = "match", value_enum, default_value_t = Rule::All, requires = "headers")]
    rule: Rule,
}

/// How many of the wanted headers a message must have.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Rule {
    /// Each of them.
    All,
    /// One of them at least.
    Any,
}

impl Binding {
    pub(super) fn headers(&self) -> Option<Headers> {
        let pairs = self.headers.clone();
        (!pairs.is_empty()).then(|| match self.rule {
            Rule::All => Headers::all(pairs),
            Rule::Any => Headers::any(pairs),
        })
    }

    /// What it selects, as it is typed.
    pub(super) fn text(&self) -> String {
        selected(&self.filter, self.rule, self.headers.iter().map(|(n, v)| format!("{n}={v}")))
    }

    pub(super) fn document(&self) -> Value {
        let headers = self.headers.iter().map(|(name, value)| (name.as_str(), Cow::from(value)));
        document((&self.topic, &self.subscription, &self.filter), self.rule, headers)
    }
}

fn rule_name(rule: Rule) -> &'static str {
    match rule {
        Rule::All => "all",
        Rule::Any => "any",
    }
}

fn selected(filter: &str, rule: Rule, headers: impl Iterator<Item = String>) -> String {
    let headers = headers.collect::<Vec<_>>().join(" ");
    let rule = rule_name(rule);
    if headers.is_empty() { filter.to_owned() } else { format!("{filter} with {rule} of {headers}") }
}

fn document<'a>(
    (topic, subscription, filter): (&str, &str, &str),
    rule: Rule,
    headers: impl Iterator<Item = (&'a str, Cow<'a, str>)>,
) -> Value {
    let headers: Vec<Value> = headers.map(|(name, value)| json!({ "name": name, "value": value })).collect();
    let mut document = json!({ "topic": topic, "subscription": subscription, "filter": filter });
    if !headers.is_empty() {
        document["headers"] = json!({ "match": rule_name(rule), "headers": headers });
    }
    document
}

fn rule_of(binding: &v1::Binding) -> Rule {
    match binding.headers.as_ref().map(v1::HeaderMatch::rule) {
        Some(v1::MatchRule::Any) => Rule::Any,
        Some(v1::MatchRule::All | v1::MatchRule::Unspecified) | None => Rule::All,
    }
}

fn headers_of(binding: &v1::Binding) -> impl Iterator<Item = &v1::Header> {
    binding.headers.iter().flat_map(|wanted| &wanted.headers)
}

/// What a binding selects, as it is typed.
pub(in crate::commands) fn binding_text(binding: &v1::Binding) -> String {
    let header = |h: &v1::Header| format!("{}={}", h.name, h.value.escape_ascii());
    selected(&binding.filter, rule_of(binding), headers_of(binding).map(header))
}

/// Bindings as an array.
pub(in crate::commands) fn bindings_document(bindings: &[v1::Binding]) -> Value {
    let one = |b: &v1::Binding| {
        let headers = headers_of(b).map(|h| (h.name.as_str(), String::from_utf8_lossy(&h.value)));
        document((&b.topic, &b.subscription, &b.filter), rule_of(b), headers)
    };
    bindings.iter().map(one).collect()
}
