//! The shapes of what is stored and sent: the bytes of an example of each, held against those in `golden.txt`. A shape that changes
//! is noticed here, before a node cannot read its own disk, or nodes with two programs each other.
//!
//! A line of the file is a promise that was made with a version of the machine: it does not change and does not go. What is new
//! is a variant at the end of its enum, or a row of a new kind, since a newer version (`Op::since`). It does not compile before it is
//! listed in `variants`, and fails here until it has an example in `second` and its line in the file, which this adds:
//!
//! ```sh
//! cargo test -p quorate-machine --lib -- --ignored the_shapes_are_written_to_their_file
//! ```
//!
//! Lines that are there stay as they are.

mod first;
mod first_rows;
mod second;
mod variants;

use crate::codec;
use crate::op::Op;
use crate::rows::RowKey;
use quorate_types::Reason;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Debug, Write as _};
use variants::Variants;

const GOLDEN: &str = include_str!("golden.txt");

const HEAD: &str = "\
# What is stored and sent, as bytes: version of the machine since when, kind, name, hexadecimal digits.
# A line here never changes and never goes: mod.rs beside this file says how one is added.
";

/// What is wrong with bytes that should be an example.
type Read = Box<dyn Fn(&[u8]) -> Option<String>>;

/// One example, and what reads it.
struct Shape {
    /// The version of the machine that has it first.
    since: u32,
    kind: &'static str,
    name: String,
    bytes: Vec<u8>,
    read: Read,
}

impl Shape {
    /// A value by itself, as it lies within others.
    fn of<T>(kind: &'static str, since: u32, name: &str, value: T) -> Self
    where
        T: Serialize + DeserializeOwned + PartialEq + Debug + 'static,
    {
        let mut bytes = Vec::new();
        codec::append(&mut bytes, &value);
        let decode = |bytes: &[u8]| {
            let mut rest = bytes;
            codec::take::<T>(&mut rest)
                .filter(|_| rest.is_empty())
                .ok_or_else(|| "they do not decode".to_owned())
        };
        Self::coded((kind, since, name.to_owned()), value, bytes, decode)
    }

    /// A variant of an enum, named after it.
    fn variant<T>(kind: &'static str, value: T) -> Self
    where
        T: Variants + Serialize + DeserializeOwned + PartialEq + Debug + 'static,
    {
        let (since, name) = value.variant();
        Self::of(kind, since, name, value)
    }

    /// A row of that kind, with the key under which it is stored.
    fn row<T: PartialEq + Debug + 'static, E: std::fmt::Display>(
        (key, example): (RowKey, &str),
        value: T,
        bytes: Vec<u8>,
        decode: impl Fn(&[u8]) -> Result<T, E> + 'static,
    ) -> [Self; 2] {
        let (since, name) = key.variant();
        let name = if example.is_empty() { name.to_owned() } else { format!("{name}.{example}") };
        let decode_key = |bytes: &[u8]| RowKey::decode(bytes).ok_or("it is unknown");
        [
            Self::coded(("key", since, name.clone()), key, key.encode(), decode_key),
            Self::coded(("row", since, name), value, bytes, decode),
        ]
    }

    /// Whatever has an encoding of its own.
    fn coded<T: PartialEq + Debug + 'static, E: std::fmt::Display>(
        (kind, since, name): (&'static str, u32, String),
        value: T,
        bytes: Vec<u8>,
        decode: impl Fn(&[u8]) -> Result<T, E> + 'static,
    ) -> Self {
        let read = move |bytes: &[u8]| match decode(bytes) {
            Ok(found) if found == value => None,
            Ok(found) => Some(format!("they are read as {found:?} instead of {value:?}")),
            Err(error) => Some(format!("they cannot be read: {error}")),
        };
        Self { since, kind, name, bytes, read: Box::new(read) }
    }

    fn title(&self) -> String {
        format!("{} {} {}", self.since, self.kind, self.name)
    }
}

fn shapes() -> Vec<Shape> {
    let mut all = first::shapes();
    all.extend(first_rows::shapes());
    all.extend(second::shapes());
    all
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

fn unhex(digits: &str) -> Vec<u8> {
    let digit = |c: u8| u8::try_from(char::from(c).to_digit(16).expect("a hexadecimal digit")).unwrap();
    digits.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

/// Bytes by what they are of.
fn golden() -> BTreeMap<&'static str, Vec<u8>> {
    let lines = GOLDEN.lines().filter(|line| !line.starts_with('#'));
    let entries = lines.map(|line| line.rsplit_once(' ').expect("since, kind, name and digits"));
    let golden: Vec<_> = entries.map(|(title, digits)| (title, unhex(digits))).collect();
    let by_title: BTreeMap<_, _> = golden.iter().cloned().collect();
    assert_eq!(by_title.len(), golden.len(), "golden.txt has two lines of one title");
    by_title
}

#[test]
fn what_is_stored_and_sent_keeps_its_shape() {
    let mut golden = golden();
    let mut wrong = Vec::new();
    for shape in shapes() {
        let title = shape.title();
        let Some(bytes) = golden.remove(title.as_str()) else {
            wrong.push(format!(
                "{title} is new: give it its line in golden.txt, as the top of shapes/mod.rs says"
            ));
            continue;
        };
        let (was, is) = (hex(&bytes), hex(&shape.bytes));
        if was != is {
            wrong.push(format!("{title} is written as\n  {is}\nand was\n  {was}"));
        }
        if let Some(what) = (shape.read)(&bytes) {
            wrong.push(format!("{title}, as it was written: {what}"));
        }
    }
    wrong.extend(
        golden
            .keys()
            .map(|title| format!("{title} has no example any more: nobody knows whether it can be read")),
    );
    assert!(
        wrong.is_empty(),
        "{}\n\nDisks and other nodes have these bytes. A shape that is there stays as it is: add what is new as a variant at the \
         end of its enum, or as a row of a new kind, known since a newer version of the machine (`Op::since`).",
        wrong.join("\n")
    );
}

#[test]
fn everything_that_can_be_stored_or_sent_has_an_example() {
    let shapes = shapes();
    for (kind, variants) in variants::all() {
        let of_kind = shapes.iter().filter(|shape| shape.kind == kind);
        // A row may have several examples, of which each says what is particular about it.
        let named: BTreeSet<(u32, &str)> =
            of_kind.map(|shape| (shape.since, shape.name.split('.').next().unwrap())).collect();
        let missing: Vec<_> = variants.iter().filter(|variant| !named.contains(variant)).collect();
        assert!(missing.is_empty(), "no example of {kind} {missing:?}: add one to shapes/second.rs");
        let is_grown = variants.is_sorted_by_key(|(since, _)| since);
        assert!(is_grown, "{kind}: what is newer comes last, for variants are stored by their place");
    }
    for reason in Reason::ALL {
        let has = shapes.iter().any(|shape| shape.kind == "reason" && shape.name == reason.code());
        assert!(has, "no example of the reason {reason}: add its code to REASONS in shapes/second.rs");
    }
}

#[test]
fn operations_say_since_which_version_they_are_known() {
    let golden = golden();
    let mut seen = 0;
    for (title, bytes) in golden.iter().filter(|(title, _)| title.split(' ').nth(1) == Some("op")) {
        let op: Op = codec::take(&mut bytes.as_slice()).expect("what_is_stored_and_sent_keeps_its_shape");
        assert_eq!(title.split(' ').next(), Some(op.since().to_string().as_str()), "{title}");
        seen += 1;
    }
    assert!(seen >= <Op as Variants>::NAMES.len());
}

#[test]
#[ignore = "writes golden.txt: see the top of this file"]
fn the_shapes_are_written_to_their_file() {
    let golden = golden();
    let line = |shape: &Shape| {
        let title = shape.title();
        let bytes = golden.get(title.as_str()).unwrap_or(&shape.bytes);
        format!("{title} {}\n", hex(bytes))
    };
    let text = shapes().iter().map(line).collect::<String>();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/shapes/golden.txt");
    std::fs::write(path, format!("{HEAD}{text}")).unwrap();
}
