//! What the tests of the program share: small image folders, running the binary, comparing folders.

#![allow(dead_code, reason = "each test file uses its own part")]

use smalti::demo::images::{DemoSpec, write};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Flags of the smallest scoring that is one.
pub const TINY_PROXY: [&str; 8] =
    ["--proxy", "convnet-1/4", "--proxy-epochs", "2", "--proxy-seeds", "2", "--proxy-size", "16"];

/// Three classes of painted images, `train` and `test` above them.
pub fn images(dir: &Path, train_per_class: u32) -> PathBuf {
    let root = dir.join("images");
    let spec = DemoSpec { classes: 3, train_per_class, test_per_class: 4, size: 24, seed: 5 };
    write(&root, &spec, &|_| ()).expect("painted");
    root
}

/// The program with these arguments.
pub fn smalti<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_smalti"));
    // What another test trained must not save this one the work that it checks.
    command.args(args).env("SMALTI_CACHE", "off");
    command
}

/// Runs the program; `status` must be its exit status.
pub fn run<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>, status: i32) -> (String, String) {
    let output = smalti(args).output().expect("it starts");
    check(&output, status)
}

/// Standard output and error of a finished program.
pub fn check(output: &Output, status: i32) -> (String, String) {
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(status), "stdout:\n{out}\nstderr:\n{err}");
    (out, err)
}

/// Every file below a folder with its bytes.
pub fn tree(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![dir.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(dir).expect("inside").to_string_lossy().into_owned();
                found.insert(name, std::fs::read(&path).expect("readable"));
            }
        }
    }
    found
}

/// The Python of the reference tests, if it is set up; `make test` says that it must be.
pub fn python() -> Option<PathBuf> {
    let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.venv");
    if venv.join("full.done").exists() {
        return Some(venv.join("bin/python"));
    }
    assert!(std::env::var_os("SMALTI_REFERENCES").is_none(), "`make test` has set up {}", venv.display());
    eprintln!("skipped: there is no .venv with torchvision and datasets; scripts/setup.sh full makes it");
    None
}

/// Paths as arguments.
pub fn arg(path: &Path) -> &str {
    path.to_str().expect("temporary folders have plain names")
}
