//! Arguments in, exit status out.

use std::process::ExitCode;

/// Whoever keeps a large store in sled leaves glibc's heap in crumbs: with 100,000 patients one decision in a hundred
/// took thirty times as long as the others, nearly all of it spent on looking for free memory.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    medseal::cli::run(std::env::args_os())
}
