//! The verifier alone, for an officer who has an export and no gateway: it opens no network and no store.

use std::process::ExitCode;

fn main() -> ExitCode {
    medseal::cli::verify_alone(std::env::args_os())
}
