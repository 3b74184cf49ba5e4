//! The program. Everything it does is in the library beside it; `pipeline.rs` is the file to read first.

fn main() -> std::process::ExitCode {
    std::process::ExitCode::from(smalti::cli::run())
}
