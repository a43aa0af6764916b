//! Secrets come from files or from the terminal, never as arguments: those stand in the list of processes and in shells' histories.

use crate::failure::Failure;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use std::io::{BufRead, IsTerminal, Write};
use std::path::Path;

/// A file's secret: all of it but the line's end, which editors add.
pub(crate) fn from_file(path: &Path) -> Result<String, Failure> {
    let text =
        std::fs::read_to_string(path).map_err(|source| Failure::Input { path: path.to_owned(), source })?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// A new password: from the file, else twice from the terminal, which does not show it, else the first line of standard input.
pub(crate) fn new_password(user: &str, file: Option<&Path>) -> Result<String, Failure> {
    if let Some(file) = file {
        return from_file(file);
    }
    if !std::io::stdin().is_terminal() {
        return line();
    }
    let first = ask(&format!("new password of {user}: "))?;
    if ask("again: ")? == first {
        Ok(first)
    } else {
        Err(Failure::Usage("the two passwords are not the same".to_owned()))
    }
}

fn ask(question: &str) -> Result<String, Failure> {
    // Without an answer to this question nobody sees it either.
    let _ = write!(std::io::stderr(), "{question}").and_then(|()| std::io::stderr().flush());
    let _silence = Silence::begin();
    let answer = line();
    let _ = writeln!(std::io::stderr());
    answer
}

fn line() -> Result<String, Failure> {
    let mut text = String::new();
    let input = |source| Failure::Input { path: "standard input".into(), source };
    std::io::stdin().lock().read_line(&mut text).map_err(input)?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// The terminal shows nothing of what is typed until this is dropped.
struct Silence(Option<Termios>);

impl Silence {
    fn begin() -> Self {
        let Ok(before) = tcgetattr(std::io::stdin()) else { return Self(None) };
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        let set = tcsetattr(std::io::stdin(), OptionalActions::Flush, &silent);
        Self(set.ok().map(|()| before))
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            // A terminal that is gone needs nothing.
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Flush, before);
        }
    }
}
