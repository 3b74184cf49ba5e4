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
    // Sources that differ from it are no build of that commit.
    let sources = ["smalti", "smalti-data", "smalti-select", "smalti-learn"].map(|name| format!("../{name}/src"));
    sources.iter().for_each(|folder| println!("cargo:rerun-if-changed={folder}"));
    let changed = Command::new("git").args(["status", "--porcelain", "--"]).args(&sources).output();
    let edits =
        if changed.is_ok_and(|out| out.status.success() && !out.stdout.is_empty()) { " with edits" } else { "" };
    println!("cargo:rustc-env=SMALTI_COMMIT={}{edits}", commit.as_deref().map_or("unknown", str::trim));
}
