//! The `quorate` binary.

fn main() -> std::process::ExitCode {
    quorate_cli::main()
}
