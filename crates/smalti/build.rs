//! Lets the program find libtorch without an environment variable, and records which commit it was built from.

use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if let Some(lib) = std::env::var_os("DEP_TCH_LIBTORCH_LIB").and_then(|lib| PathBuf::from(lib).canonicalize().ok()) {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
    }
    // A results folder names the commit; a build from an archive has none.
    println!("cargo:rerun-if-changed=../../.git/HEAD");
    println!("cargo:rerun-if-changed=../../.git/logs/HEAD");
    let commit = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output();
    let commit = commit.ok().filter(|out| out.status.success()).and_then(|out| String::from_utf8(out.stdout).ok());
    println!("cargo:rustc-env=SMALTI_COMMIT={}", commit.as_deref().map_or("unknown", str::trim));
}
